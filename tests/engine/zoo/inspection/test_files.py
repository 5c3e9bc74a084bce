"""The CSV files of an inspection hold what was found, and the picture is one."""

import csv
import os

import pytest
from PIL import Image

from mergebench.errors import MergebenchError
from mergebench.merging.layout import Layout
from mergebench.weights.projection import Projection
from mergebench.zoo.inspection.files import write_files
from mergebench.zoo.inspection.spectra import look_at_spectra
from mergebench.zoo.inspection.vectors import look_at_vectors


def looked_at(mini, experts, merged=None):
    base = mini.encoder()
    layout, start = Layout(base), base.state_dict()
    return look_at_vectors(layout, start, experts, merged), *look_at_spectra(layout, start, experts)


def rows(path):
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_files_hold_what_was_found(mini, tmp_path):
    base = mini.encoder()
    found = looked_at(mini, mini.experts(base), mini.expert(base, 8))
    files = write_files(tmp_path / "deep" / "folder", *found)
    assert [f.name for f in files] == ["cosines.csv", "depth.csv", "matrices.csv", "overlap.csv", "inspect.png"]
    assert sorted(os.listdir(tmp_path / "deep/folder")) == sorted(f.name for f in files)
    vectors, spectra, overlaps = found
    cosines, depth, matrices, shares = map(rows, files[:4])
    pairs = len(vectors.names) * (len(vectors.names) - 1) // 2
    assert len(cosines) == pairs * len(vectors.parts) and len(depth) == len(vectors.names) * len(vectors.parts)
    last = next(r for r in cosines if (r["part"], r["one"], r["other"]) == ("all", "merged", vectors.names[0]))
    assert float(last["cosine"]) == pytest.approx(vectors.parts["all"].cosines[-1, 0].item(), rel=1e-4)
    assert [float(r["effective_rank"]) for r in matrices] == pytest.approx([s.effective for s in spectra], rel=1e-4)
    assert len(shares) == len(overlaps) * vectors.tasks * (vectors.tasks - 1) // 2
    with Image.open(files[-1]) as picture:
        assert picture.width > 1000


def test_one_expert_that_did_not_move_leaves_fields_empty_and_a_picture(mini, tmp_path):
    same = mini.encoder().state_dict()
    files = write_files(tmp_path, *looked_at(mini, {"a": same}))
    assert rows(files[0]) == [] and rows(files[3]) == []
    assert {r["effective_rank"] for r in rows(files[2])} == {""}
    assert {r["sign_conflicts"] for r in rows(files[1])} == {""}


def test_a_place_that_cannot_be_written_is_told(mini, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(MergebenchError, match="file"):
        write_files(tmp_path / "file", *looked_at(mini, {"a": mini.expert(mini.encoder(), 0)}))


def test_a_projection_of_the_encoders_own_is_a_part_and_a_matrix(mini, tmp_path):
    base = mini.encoder()
    base.head = Projection(base.embed_dim, 12)
    layout, start = Layout(base), {n: t.clone() for n, t in base.state_dict().items()}
    experts = {t: mini.expert(base, i) for i, t in enumerate("ab")}
    vectors = look_at_vectors(layout, start, experts)
    assert list(vectors.parts)[-2:] == ["projection", "all"]
    assert vectors.parts["projection"].entries == 12 * base.embed_dim
    files = write_files(tmp_path, vectors, *look_at_spectra(layout, start, experts))
    assert rows(files[2])[-1]["matrix"] == "head.weight"
