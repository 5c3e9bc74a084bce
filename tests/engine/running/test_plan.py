"""Plans: in which order cells come, and what makes a cell another one."""

from pathlib import Path

import pytest

import mergebench.tasks.tiny as tiny
from mergebench.catalogue.yaml_files import read_zoo
from mergebench.errors import HyperparameterError, MergebenchError
from mergebench.running.plan import RunRequest, make_plan

CORRUPTIONS = {"kinds": ["contrast"], "severities": [1, 5]}
WEIGHTS = Path(tiny.__file__).parent / "weights"
MINE = '''
from mergebench import ModelPool, Needs, merge_method


@merge_method("mine", title="Mine", needs=Needs())
def mine(pool: ModelPool, *, weight: float = 0.5):
    """mean"""
    return pool.map_experts(lambda experts: experts.mean(0))
'''


@pytest.fixture
def suite(write):
    return write("suite", title="t", zoo="tiny", merge=["digits", "signs"])


def keys(plan, method):
    return [c.key.digest for c in plan.cells if c.card.name == method]


def test_a_request_names_a_suite_or_a_study():
    with pytest.raises(MergebenchError, match="say what to run: a suite or a study"):
        make_plan(RunRequest(["average"]))


def test_a_studys_arms_come_one_after_the_other_so_that_a_suites_variants_share_their_merge(write):
    suite = write("suite", title="t", zoo="tiny", merge=["digits", "signs"], corruptions=CORRUPTIONS)
    study = write("study", title="t", suite=suite, methods=["regmean"], vary={"alpha": [0.5, 0.9]})
    cells = [c for c in make_plan(RunRequest(study=study)).cells if c.card.name == "regmean"]
    assert [c.variant.point["alpha"] for c in cells] == [0.5] * 3 + [0.9] * 3
    assert [c.variant.corruption for c in cells] == [None, ("contrast", 1), ("contrast", 5)] * 2


def test_normalisation_and_encoder_are_part_of_a_cells_identity(write, suite, tmp_path, monkeypatch):
    shipped = read_zoo("tiny").model_dump() | {"weights": str(WEIGHTS)}

    def key(**changes):
        zoo = write("zoo", **shipped | changes)
        (_, cell) = make_plan(RunRequest(["average"], suite, zoo=zoo)).cells
        return cell.key.digest

    factory = tmp_path / "factory_of_mine.py"
    factory.write_text("from mergebench.tasks.tiny.model import create_encoder\n")
    monkeypatch.syspath_prepend(tmp_path)
    mine = {"encoder": "factory_of_mine:create_encoder"}
    found = [key(), key(), key(mean=[0.4, 0.43, 0.42]), key(**mine)]
    factory.write_text("from mergebench.tasks.tiny.model import create_encoder  # said\n")
    assert key(**mine) == found[-1]
    factory.write_text("from mergebench.tasks.tiny.model import create_encoder\n\ncreate_encoder.scale = 2\n")
    found.append(key(**mine))
    assert found[0] == found[1] and len(set(found)) == 4


def test_a_studys_suite_is_looked_for_beside_the_study(write, suite, tmp_path, monkeypatch):
    study = write("study", title="t", suite="./suite.yaml", methods=["average"], vary={"calibration.source": ["own"]})
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert make_plan(RunRequest(study=study)).bench.name == "suite"


def test_a_point_that_names_a_method_is_told_how_to_write_it(write, suite):
    points = {"a": {"hyperparameters": {"regmean": {"alpha": 0.5}}}}
    study = write("study", title="t", suite=suite, methods=["regmean"], points=points)
    with pytest.raises(HyperparameterError, match="a point sets 'regmean', a method; write the hyper-parameter's own"):
        make_plan(RunRequest(study=study))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"held_out": [["mnist"], ["digits"]]}, "two variants are the same: held_out=digits"),
        ({"calibration": {"corrupted": True}}, "calibration.corrupted: suite 'bad' has no corruptions"),
    ],
)
def test_a_suite_that_would_not_do_what_it_says_is_refused(fields, message, write):
    with pytest.raises(MergebenchError, match=message):
        make_plan(RunRequest(["average"], write("bad", title="t", zoo="tiny", merge=["digits", "signs"], **fields)))


@pytest.mark.long
def test_tasks_are_found_however_their_clip_names_are_spelt(write):
    suite = write(
        "suite", title="t", zoo="tiny", merge=["MNIST", "Stanford Cars", "oxford-flowers102", "rendered_sst2"]
    )
    (cell, *_) = make_plan(RunRequest(["average"], suite)).cells
    assert cell.variant.merge == ("digits", "vehicles", "flowers", "reviews")


def test_a_suite_may_set_what_a_method_of_ones_own_takes(write, tmp_path):
    (tmp_path / "mine.py").write_text(MINE)
    suite = write("suite", title="t", zoo="tiny", merge=["digits"], hyperparameters={"mine": {"weight": 0.25}})
    plan = make_plan(RunRequest([str(tmp_path / "mine.py")], suite))
    (cell,) = [c for c in plan.cells if c.card.name == "mine"]
    assert cell.hyperparameters == {"weight": 0.25}


def test_a_method_that_adapts_on_images_of_tasks_not_evaluated_depends_on_them(write):
    suite = write("suite", title="t", zoo="tiny", merge=["digits", "signs"], evaluate=["digits"])
    (cell, *_) = make_plan(RunRequest(["adamerging"], suite)).cells
    assert set(cell.key.data) == {f"{t}/{s}" for t in ("digits", "signs") for s in ("test", "calibration")}


def test_images_that_are_not_there_are_refused_or_a_default_is_lowered_and_told(write, suite):
    for given in ({"samples": 10**6}, {"samples": 10**6, "alpha": 0.5}):
        with pytest.raises(
            HyperparameterError, match=r"'regmean' is to draw samples=1000000 images, but task '.*' has "
        ):
            make_plan(RunRequest(["regmean"], suite, hyperparameters={"regmean": given}))
    few = write("few", title="t", zoo="tiny", merge=["digits", "signs"], calibration={"classes": [0]})
    plan = make_plan(RunRequest(["regmean", "average"], few))
    (cell,) = [c for c in plan.cells if c.card.name == "regmean"]
    task, fewest = plan.bench.fewest_calibration(cell.variant)
    assert 0 < fewest < 256 and cell.hyperparameters["samples"] == fewest == cell.key.hyperparameters["samples"]
    assert plan.left_out == (
        f"regmean takes samples={fewest}, for task {task!r} has no more calibration images (it would take 256)",
    )
    source = plan.bench.pool(cell.card, cell.needs, 0, "cpu", cell.variant)[0]
    assert sum(len(batch) for batch in source.calibration(task, fewest)) == fewest
