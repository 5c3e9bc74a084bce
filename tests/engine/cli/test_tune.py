"""`mergebench tune`: the whole way on real images, going on where it was, and what is refused."""

import html
import re
import shlex

import pytest

from mergebench.measuring.results import ResultStore

pytestmark = pytest.mark.usefixtures("few_images")

TOWARD = '''
from mergebench import ModelPool, Needs, merge_method


@merge_method("toward", title="Toward", needs=Needs(base=True), ranges={"share": (0.0, 1.0)})
def toward(pool: ModelPool, *, share: float = 0.0, kind: str = "x"):
    """From the base towards the expert on signs."""
    if kind == "odd":
        raise OSError("jammed")
    return pool.map_names(lambda n: pool.base[n] + share * (pool.experts["signs"][n] - pool.base[n]))
'''


@pytest.fixture
def toward(tmp_path, write):
    """What follows `tune` for a method that is best, on signs, at share=1: method and suite."""
    (tmp_path / "toward.py").write_text(TOWARD)
    suite = write("signs", title="t", zoo="tiny", merge=["digits", "signs"], evaluate=["signs"])
    return f"{tmp_path / 'toward.py'}:toward", "--suite", suite


def trial_lines(out):
    return [line.split() for line in out.splitlines() if re.match(r" +\d+  share=", line)]


def test_what_holds_several_values_is_not_searched(refused, tmp_path):
    words = ["tune", "average", "--space", "weights=[1]", "--out", tmp_path / "out"]
    assert "'average': weights: only texts and numbers can be searched, not [1.0]; fix it, as --set" in refused(*words)
    assert not (tmp_path / "out").exists()


@pytest.mark.long
def test_what_is_best_on_validation_is_measured_and_shown_beside_the_default(toward, command, tmp_path, monkeypatch):
    out = tmp_path / "out"
    ran = command("run", "--methods", toward[0], *toward[1:], "--out", out)
    assert ran.status == 0
    done = command("tune", *toward, "--space", "share=0,0.4,1", "--trials", 7, "--out", out)
    assert done.status == 0 and "7 trials (0 stored), validation split of 1 tasks, on cpu" in done.out
    lines = trial_lines(done.out)
    assert [line[0] for line in lines] == list("012") and lines[0][1] == "share=0.0"
    assert "ends after 3 of 7 trials: its space holds no other settings" in done.out
    assert lines[0][-3:] == ["best", "so", "far"]
    values = [float(line[2]) for line in lines]
    best = max(values)
    assert values[0] < 60 < 90 < best
    assert f"toward: chosen on validation: share=1.0 (trial {values.index(best)})" in done.out
    assert "Toward (tuned: share=1.0)" in done.out and "Toward (share=0.0)" in done.out
    assert f"with 3 trials ({best:.1f} % there, the default {values[0]:.1f} %)." in " ".join(done.out.split())
    results = {r.hyperparameters.get("share"): r for r in ResultStore(out).all()}
    assert results[0.0].tuned == {} and results[1.0].tuned["best"] == pytest.approx(best / 100, abs=1e-4)
    assert results[1.0].tasks["signs"].correct == results[None].tasks["signs"].correct, "it is the expert"
    gain = 100 * (results[1.0].average - results[0.0].average)
    assert f"Tuning gave, in points on the test split against the default: Toward {gain:+.1f}." in " ".join(
        done.out.split()
    )
    page = (out / "site" / "index.html").read_text()
    assert "Toward (tuned: share=1.0)" in page and "with 3 trials" in page

    again = command("tune", *toward, "--space", "share=0,0.4,1", "--trials", 7, "--out", out)
    assert "7 trials (3 stored)" in again.out and "reused" in again.out
    assert [(*line[:3],) for line in trial_lines(again.out)] == [(*line[:3],) for line in lines]

    written = out / "settings" / "signs-tiny.yaml"
    assert f"mergebench run --settings {written}" in done.out
    curve = (out / "tuning" / "signs-tiny-best-of-n.csv").read_text().splitlines()
    assert curve[0] == "method,seed,trials,best" and len(curve) == 4 and curve[-1].startswith("toward,0,3,")
    assert (out / "tuning" / "signs-tiny-best-of-n.svg").read_text().startswith("<svg")
    both = ("run", "--methods", toward[0], *toward[1:], "--settings", "published", written)
    fresh = command(*both, "--out", tmp_path / "fresh")
    assert fresh.status == 0 and "toward (tuned, seed 0)" in fresh.out and "toward (seed 0)" in fresh.out
    assert "3 cells computed" in fresh.out and "Toward (tuned: share=1.0)" in fresh.out
    assert "0 cells computed, 3 reused" in command(*both, "--out", tmp_path / "fresh").out

    page = (tmp_path / "fresh/site/methods/toward.html").read_text()
    shown = [html.unescape(text) for text in re.findall(r'<pre tabindex="0">(.*?)</pre>', page, re.DOTALL)]
    lines = [text for text in shown if text.startswith("mergebench run ")]
    assert [("--settings settings.yaml" in line, "--settings published" in line) for line in lines] == [
        (False, True),
        (True, False),
    ]
    (tmp_path / "settings.yaml").write_text(next(text for text in shown if text.startswith("suite: ")))
    monkeypatch.chdir(tmp_path)
    for line in lines:  # which do not know where the method and the suite lie
        words = shlex.split(line)[1:]
        given = [*words[:2], toward[0], *toward[1:], *words[words.index("--settings") :]]
        assert "0 cells computed, 2 reused" in command(*given, "--out", tmp_path / "fresh").out


def test_trials_that_fail_are_told_and_all_failing_is_an_error(toward, command, refused, tmp_path):
    space = ("--space", "kind=x,odd", "--set", "share=0.5")
    done = command("tune", *toward, *space, "--trials", 6, "--out", tmp_path / "out")
    assert done.status == 0 and "failed: OSError: jammed" in done.out
    line = refused("tune", *toward, "--set", "kind=odd", "--trials", 2, "--out", tmp_path / "other")
    assert "all 2 trials failed" in line and "OSError: jammed" in line


def test_an_interrupt_keeps_what_is_done(toward, command, tmp_path, monkeypatch):
    import mergebench.tuning.search

    run = ("tune", *toward, "--trials", 2, "--out", tmp_path)
    real = mergebench.tuning.search._try

    def pressed(search, *arguments):
        if len(search.trials) == 1:
            raise KeyboardInterrupt
        return real(search, *arguments)

    monkeypatch.setattr(mergebench.tuning.search, "_try", pressed)
    stopped = command(*run)
    assert stopped.status == 130 and "finished trials are kept, run again to go on" in stopped.err
    monkeypatch.setattr(mergebench.tuning.search, "_try", real)
    assert "2 trials (1 stored)" in command(*run).out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("tiess", "unknown method 'tiess'; did you mean 'ties'"),
        ("model_stock", "method 'model_stock' has no ranges to search: it has none left"),
        ("slerp", "nothing to tune: slerp merges 2 experts, not 8"),
        ("fisher", "method 'fisher' has no ranges to search: say what, as --space NAME=LOW:HIGH, with NAME of"),
        ("finetuned", "no ranges to search"),
        ("ties --space densty=0.1:0.2", "no hyper-parameter 'densty'; did you mean 'density'"),
        ("ties --space density=0.1:1.5", "density=1.5 is not a number from 0 to 1"),
        ("ties --space density=0.5:0.1", "density: the low end 0.5 is above the high end 0.1"),
        ("ties --space combine=sum,max", "combine='max' is not sum or"),
        ("ties --space density", "write NAME=LOW:HIGH"),
        ("ties --space density=0.1:0.2 --set density=0.1", "density is both set and searched"),
        ("ties --set scaling=much", "scaling='much' is not a number"),
        ("ties --suite scale", "suite 'scale': 8 variants left; choose one, as --only tasks=2"),
        ("ties --suite tinny-8", "'tiny-8'"),
        ("ties --only tasks=8", "unknown axis"),
        ("ties --trials 0", "--trials: expected a whole number from 1, not 0"),
        ("ties --device cuda:99", "no device 'cuda:99'"),
        ("--trials 3", "methods: required, but not given"),
        ("ties dare --space scaling=0.1:0.5", "--space is for one method, not for 2; tune that one by itself"),
        ("ties dare --set scaling=0.5", "--set is for one method, not for 2; tune that one by itself"),
        ("ties --studies 0", "--studies: expected a whole number from 1, not 0"),
        ("model_stock fisher", "nothing to tune: model_stock has no ranges; fisher has no ranges"),
        ("references", "no ranges to search"),
    ],
)
def test_what_is_wrong_is_refused_before_anything_runs(refused, tmp_path, arguments, told):
    assert told in refused("tune", *arguments.split(), "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_out_that_cannot_be_written_is_refused_first(refused, toward, tmp_path):
    (tmp_path / "file").write_text("in the way")
    assert "cannot write" in refused("tune", *toward, "--out", tmp_path / "file")
