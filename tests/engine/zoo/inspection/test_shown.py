"""Pictures of an inspection one by one: for light pages and dark ones, with words of what is seen."""

import json

import numpy as np
from PIL import Image

from mergebench.leaderboard.site.inspections import inspection_view, read_inspections
from mergebench.merging.layout import Layout
from mergebench.zoo.inspection.panels import panels
from mergebench.zoo.inspection.shown import THEMES, shown_in, write_shown
from mergebench.zoo.inspection.spectra import look_at_spectra
from mergebench.zoo.inspection.vectors import look_at_vectors


def looked_at(mini, count, merged=None):
    base = mini.encoder()
    layout, start = Layout(base), base.state_dict()
    experts = {task: mini.expert(base, place) for place, task in enumerate("abcdef"[:count])}
    return look_at_vectors(layout, start, experts, merged), *look_at_spectra(layout, start, experts)


def test_the_page_reads_what_is_written(mini, tmp_path):
    found = looked_at(mini, 3, mini.expert(mini.encoder(), 8))
    seen = panels(*found)
    facts = {"zoo": "my/zoo $x$", "title": "Mine", "tasks": list("abc"), "merged": "m.safetensors"}
    folder = shown_in(tmp_path, facts["zoo"])
    files = write_shown(folder, seen, facts, [("task", "overlap"), *((t, "0.5") for t in "abc")])
    assert folder.parent == tmp_path / "inspect" and len(files) == 2 * len(seen) + 1 and len(seen) == 6
    for panel in seen:
        corners = {}
        for ending, (paper, _) in THEMES.items():
            with Image.open(folder / f"{panel.name}{ending}.png") as picture:
                pixels = np.array(picture.convert("RGB"))
            corners[ending] = "#{:02x}{:02x}{:02x}".format(*pixels[0, 0])
            assert corners[ending] == paper and pixels.std() > 5, "there is something on it"
    (one,), told = read_inspections([tmp_path])
    view, pictures = inspection_view(one)
    assert told == [] and len(pictures) == 12 and view["title"] == "task vectors of my/zoo $x$"
    assert "3 task vectors, and a merged model (m.safetensors)" in view["summary"]
    told = json.loads((folder / "inspect.json").read_text())
    assert [p["name"] for p in told["pictures"]] == ["angles", "sizes", "signs", "overlap", "ranks", "spectra"]


def test_words_say_what_was_found(mini):
    vectors, spectra, overlaps = looked_at(mini, 3)
    told = {panel.name: panel.alt for panel in panels(vectors, spectra, overlaps)}
    cosines = vectors.parts["all"].cosines
    pairs = {
        f"{cosines[i, j]:.2f} ({'abc'[j]} and {'abc'[i]})": cosines[i, j].item() for i in range(3) for j in range(i)
    }
    assert f"from {min(pairs, key=pairs.get)} to {max(pairs, key=pairs.get)}" in told["angles"]
    largest = max(part.norms.max().item() / part.base**0.5 for name, part in vectors.parts.items() if name != "all")
    assert f"{largest:.3g} of the base's norm" in told["sizes"]


def test_one_task_that_did_not_move_has_words_too(mini, tmp_path):
    same = mini.encoder().state_dict()
    layout = Layout(mini.encoder())
    found = look_at_vectors(layout, same, {"a": same}), *look_at_spectra(layout, same, {"a": same})
    seen = panels(*found)
    assert "none of which has a value" in seen[0].alt and "without a value" in seen[2].alt
    assert len(write_shown(tmp_path, seen, {"zoo": "z", "tasks": ["a"]}, [("task",), ("a",)])) == 13
