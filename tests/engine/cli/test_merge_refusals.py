"""`merge` with options that do not go together: one line with the option and the remedy, before anything is read."""

import pytest

from mergebench.zoo.zoo import Zoo


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ([], "--base: name what is to be merged into it, --experts FILE FILE"),
        (["--experts", "a.safetensors", "--allow-duplicates"], "--allow-duplicates goes with a suite, whose tasks"),
        (
            ["--experts", "one/a.safetensors", "two/a.safetensors"],
            "two experts are named 'a': one/a.safetensors and two/a.safetensors; write NAME=FILE",
        ),
        (["--experts", "a=one.pt", "a=two.pt"], "two experts are named 'a': one.pt and two.pt; write NAME=FILE"),
    ],
)
def test_options_that_do_not_go_together(options, told, refused, tmp_path, monkeypatch):
    monkeypatch.setattr("mergebench.running.own_merge.OwnModels.__init__", lambda *_: pytest.fail("it was read"))
    output = tmp_path / "merged.safetensors"
    assert told in refused("merge", "--method", "average", "--base", "b", *options, "--output", output)
    assert not output.exists()


def test_a_step_of_a_sequence_is_not_adjusted(refused, write, tmp_path, monkeypatch):
    monkeypatch.setattr("mergebench.running.execution.Executor.merge", lambda *_: pytest.fail("it was merged"))
    orders = {0: [["landcover"], ["digits"]]}
    suite = write("steps", title="t", zoo="tiny", merge=["landcover", "digits"], orders=orders)
    words = ["merge", "--method", "average", "--suite", suite, "--only", "step=2", "--recentre"]
    line = refused(*words, "--output", tmp_path / "merged.safetensors")
    assert "--recentre: a step of a sequence starts from the step before; leave it out" in line


@pytest.mark.parametrize(
    ("method", "options", "told"),
    [
        ("fisher", ["--calibration", "a", "b"], "method 'fisher' needs heads: give --heads, a checkpoint for every"),
        ("regmean", [], "method 'regmean' needs images: give --calibration, a folder for every expert"),
        ("finetuned", [], "method 'finetuned' is a reference of one model per task: nothing to write as one"),
        ("average", ["--memory", "1MB"], "average would take about "),
    ],
)
def test_what_a_method_lacks_is_told_before_the_work(method, options, told, refused, tmp_path):
    files = [Zoo("tiny").files.root / f"experts/{task}.safetensors" for task in ("digits", "signs")]
    output = tmp_path / "merged.safetensors"
    line = refused("merge", "--method", method, "--base", "tiny", "--experts", *files, *options, "--output", output)
    assert told in line and not output.exists()
