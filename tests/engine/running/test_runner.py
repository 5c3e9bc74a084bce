"""Runs: what a cell's failure costs, and what a later run makes good."""

import errno
import os
import signal
import sys

import pytest
import torch
import yaml

import mergebench.running.execution
import mergebench.weights.writing
from mergebench import ModelPool, Needs, merge_method
from mergebench.cli.showing import show_leaderboard
from mergebench.errors import MergebenchError
from mergebench.leaderboard.notes import failure
from mergebench.measuring.results import ResultStore
from mergebench.running.observer import Observer
from mergebench.running.plan import Cell, Plan, RunRequest, make_plan
from mergebench.running.runner import run

pytestmark = pytest.mark.usefixtures("few_images")


@pytest.fixture
def plan(tmp_path, monkeypatch, scored):
    """A plan of average on two tasks, with scores that cost nothing."""

    def evaluate(encoder, states, heads, splits, **options):
        return scored(dict.fromkeys(heads, (1, 2)))

    monkeypatch.setattr(mergebench.running.execution, "evaluate", evaluate)
    suite = tmp_path / "suite.yaml"
    suite.write_text(yaml.safe_dump({"title": "t", "zoo": "tiny", "merge": ["digits", "signs"]}))
    return make_plan(RunRequest(["average"], str(suite)))


def with_function(plan, method, function):
    """The plan with another function in place of a method's."""
    cells = [Cell(**vars(c) | {"function": function}) if c.card.name == method else c for c in plan.cells]
    return Plan(plan.bench, cells, plan.device)


def test_imports_are_no_part_of_what_an_evaluation_takes(plan, tmp_path, monkeypatch):
    steps, real = [], mergebench.running.execution.measure

    def measured(device):
        steps.append("measured")
        return real(device)

    monkeypatch.setattr(mergebench.running.execution, "measure", measured)
    monkeypatch.setattr(mergebench.running.execution, "import_all", lambda: steps.append("imported"))
    run(plan, ResultStore(tmp_path / "out"))
    merge_and_evaluate = ["measured", "imported", "measured"]
    assert steps == 2 * merge_and_evaluate


def test_experts_that_failed_once_are_not_missed_for_ever(plan, tmp_path):
    def fails(pool):
        raise OSError("disk full")

    store = ResultStore(tmp_path / "out")
    ceiling, average = run(with_function(plan, "finetuned", fails), store).results
    assert (ceiling.status, average.status, average.average_relative) == ("failed", "ok", None)
    summary = run(plan, store)
    assert summary.reused == 1 and [r.average_relative for r in summary.results] == [1.0, 1.0]
    assert {r.method: r.average_relative for r in store.all()} == {"finetuned": 1.0, "average": 1.0}


def test_a_reused_cell_is_the_newest_again_and_stands_where_it_stands_now(tmp_path, plan, write):
    def study(*alphas):
        file = write("study", title="t", suite=str(tmp_path / "suite.yaml"), methods=["regmean"],
                     hyperparameters={"regmean": {"samples": 2}}, vary={"alpha": list(alphas)})  # fmt: skip
        return make_plan(RunRequest(study=file))

    store = ResultStore(tmp_path / "out")
    first = {r.variant: r for r in run(study(0.1, 0.5), store).results}
    second = run(study(0.05, 0.1, 0.3, 0.5), store)
    assert second.reused == 3 and [r.position for r in second.results if r.method == "regmean"] == [0, 1, 2, 3]
    kept = {r.variant: r for r in store.all()}
    assert [kept[f"alpha={a}"].position for a in (0.05, 0.1, 0.3, 0.5)] == [0, 1, 2, 3]
    for name, before in first.items():
        assert kept[name].started == before.started and kept[name].last_asked > before.last_asked


def test_relative_accuracies_are_relative_to_the_built_in_experts_whatever_the_order(
    tmp_path, plan, monkeypatch, scored
):
    mine = tmp_path / "mine.py"
    mine.write_text(
        "from mergebench import Needs, merge_method\n\n"
        "@merge_method('mine', title='Mine', role='ceiling', needs=Needs(base=True))\n"
        "def mine(pool):\n    return dict(pool.base)\n"
    )
    scores = iter([8, 4, 2])  # of the experts, of the other ceiling, of averaging

    def evaluate(encoder, states, heads, splits, **options):
        return scored(dict.fromkeys(heads, (next(scores), 9)))

    monkeypatch.setattr(mergebench.running.execution, "evaluate", evaluate)
    asked = make_plan(RunRequest([f"{mine}:mine", "average"], str(tmp_path / "suite.yaml")))
    results = run(asked, ResultStore(tmp_path / "out")).results
    assert [(r.method, r.average_relative) for r in results] == [("finetuned", 1), ("mine", 0.5), ("average", 0.25)]

    def fails(pool):
        raise OSError("disk full")

    scores = iter([4, 2])
    again = run(with_function(asked, "finetuned", fails), ResultStore(tmp_path / "other"))
    assert [r.status for r in again.results] == ["failed", "ok", "ok"]
    assert again.results[2].average_relative is None


def test_a_method_that_reports_what_cannot_be_stored_costs_its_own_cell(plan, tmp_path):
    @merge_method("odd", title="Odd", needs=Needs())
    def odd(pool: ModelPool, *, weights: None = None):
        pool.report(model=object())

    ceiling, average = run(with_function(plan, "average", odd), ResultStore(tmp_path)).results
    assert (ceiling.status, average.status) == ("ok", "failed")
    assert average.error == "report(model=...): a result cannot hold a object; report numbers or texts"
    assert len(list(tmp_path.glob("cells/*/*.json"))) == 2


def test_a_result_says_its_conditions_in_full(plan, tmp_path):
    _, average = run(plan, ResultStore(tmp_path)).results
    assert {"merge", "calibration", "restrict", "evaluate", "zoo"} <= set(average.conditions)
    assert average.conditions["zoo"]["encoder"] == "mergebench.tasks.tiny.model:create_encoder"
    (stored,) = [r for r in ResultStore(tmp_path).all() if r.method == "average"]
    assert stored.conditions == average.conditions  # what is read back is held against what was written


def test_a_result_that_was_changed_is_told_measured_again_and_kept(plan, tmp_path):
    class Told(Observer):
        said: list[str] = []

        def tell(self, sentence):
            self.said.append(sentence)

    store, observer = ResultStore(tmp_path), Told()
    average = plan.cells[-1]
    before = run(plan, store, observer).results
    assert not observer.said
    path = store.path(average.key)
    changed = path.read_text().replace('"correct": 1,', '"correct": 2,', 1)
    path.write_text(changed)
    summary = run(plan, store, observer)
    assert summary.reused == 1 and summary.results[-1].tasks == before[-1].tasks
    assert len(observer.said) == 1 and "it was changed after it was stored" in observer.said[0]
    (kept,) = tmp_path.glob("set-aside/*/*.json")
    assert kept.read_text() == changed and kept.with_suffix(".npz").exists()
    assert run(plan, store, observer).reused == 2 and len(observer.said) == 1


class Leaving(BaseException):
    """What `except Exception` lets through."""


class Unspeakable(Exception):
    """One whose text raises."""

    def __str__(self):
        raise Leaving("no text")


ODD_ERRORS = {
    "surrogate": (ValueError("bad \udc80"), "ValueError: bad \\udc80"),
    "unspeakable": (Unspeakable(), "Unspeakable: (its text cannot be told: Leaving)"),
    "base": (Leaving("out"), "Leaving: out"),
    "generator": (GeneratorExit("end"), "GeneratorExit: end"),
    "leaves": (SystemExit(3), "SystemExit: 3"),
}


@pytest.mark.parametrize(("raised", "told"), ODD_ERRORS.values(), ids=ODD_ERRORS)
def test_whatever_a_method_raises_costs_its_own_cell(plan, tmp_path, raised, told):
    def raising(pool, **settings):
        raise raised

    raising.card = plan.cells[-1].function.card
    results = run(with_function(plan, "average", raising), ResultStore(tmp_path)).results
    assert [(r.status, r.error) for r in results] == [("ok", None), ("failed", told)]
    (stored,) = [r for r in ResultStore(tmp_path).all() if r.status == "failed"]
    assert stored.error == told and "in raising" in stored.traceback and stored.where == ""


def test_a_failed_cell_names_the_line_of_the_method_s_own_file(plan, tmp_path):
    mine = tmp_path / "mine.py"
    mine.write_text(
        "import torch\nfrom mergebench import Needs, merge_method\n\n"
        "def joined(a, b):\n    return a @ b\n\n"
        "@merge_method('mine', title='Mine', needs=Needs())\n"
        "def mine(pool):\n    return joined(torch.ones(2, 3), torch.ones(2, 3))\n"
    )
    asked = make_plan(RunRequest([f"{mine}:mine"], str(tmp_path / "suite.yaml")))
    _, failed = run(asked, ResultStore(tmp_path / "out")).results
    assert failed.where == "mine.py:5" and failed.failure.endswith("(at mine.py:5)")
    assert failed.error.startswith("RuntimeError: ") and f'"{mine}", line 9, in mine' in failed.traceback
    assert failure(failed).endswith("(at mine.py:5)")


def test_what_a_file_cannot_hold_costs_the_cell_that_reported_it(plan, tmp_path):
    def odd(pool, **settings):
        deep = []
        for _ in range(300):
            deep = [deep]
        pool.report(deep=deep)
        return pool.map_experts(lambda experts: experts.mean(0))

    odd.card = plan.cells[-1].function.card
    for function in (odd, lambda pool, **settings: pool.report(text="\udc80")):
        function.card = odd.card
        results = run(with_function(plan, "average", function), ResultStore(tmp_path)).results
        assert [r.status for r in results] == ["ok", "failed"]
        assert len(list(ResultStore(tmp_path).all())) == 2


def test_a_method_leaves_the_process_as_it_was(plan, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    out, threads = sys.stdout, torch.get_num_threads()

    def moving(pool, **settings):
        os.chdir("/")
        os.environ["MERGEBENCH_CACHE"] = "/elsewhere"
        sys.stdout = None
        torch.set_num_threads(threads + 1)
        torch.set_default_dtype(torch.float64)
        torch.set_grad_enabled(False)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise ValueError("moved")

    before, handler = dict(os.environ), signal.getsignal(signal.SIGTERM)
    moving.card = plan.cells[-1].function.card
    run(with_function(plan, "average", moving), ResultStore("out"))
    assert os.getcwd() == str(tmp_path) and dict(os.environ) == before and sys.stdout is out
    assert (torch.get_num_threads(), torch.get_default_dtype()) == (threads, torch.float32)
    assert torch.is_grad_enabled() and signal.getsignal(signal.SIGTERM) is handler
    assert len(list((tmp_path / "out").glob("cells/*/*.json"))) == 2


def test_where_all_is_done_a_folder_that_may_only_be_read_is_no_failure(plan, tmp_path, monkeypatch, capsys):
    class Told(Observer):
        said: list[str] = []

        def tell(self, sentence):
            self.said.append(sentence)

    def refused(**options):
        raise PermissionError(errno.EACCES, "Permission denied")

    store, observer = ResultStore(tmp_path / "out"), Told()
    run(plan, store, observer)
    monkeypatch.setattr(mergebench.weights.writing.tempfile, "mkstemp", refused)
    summary = run(plan, store, observer)
    assert summary.reused == 2 and not summary.failed
    assert len(observer.said) == 1 and "Permission denied" in observer.said[0]
    show_leaderboard(store)
    out = capsys.readouterr().out
    assert "not written: cannot write" in out and "digits" in out
    with pytest.raises(MergebenchError, match="cannot write"):
        run(plan, ResultStore(tmp_path / "other"), observer)
