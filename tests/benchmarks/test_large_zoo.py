"""The benchmark of real size: what is run for each method, which runs are done, and an end to what takes too much."""

import json
import re
import sys
import time
from pathlib import Path

import psutil
import pytest

from mergebench.catalogue import registry

FOLDER = Path(__file__).parents[2] / "benchmarks/large_zoo"
MODULES = ("make", "plan", "watch", "page", "draw")


@pytest.fixture
def scripts(monkeypatch):
    """The folder's modules, as its scripts import them."""
    monkeypatch.syspath_prepend(str(FOLDER))
    import draw
    import page
    import plan
    import watch

    yield {"draw": draw, "page": page, "plan": plan, "watch": watch}
    for name in MODULES:
        sys.modules.pop(name, None)


def found(**changed):
    return {
        "seconds": 2.0,
        "processor_seconds": 3.0,
        "peak_gb": 1.0,
        "others": 0.0,
        "ended": "",
        "models": 1.5,
    } | changed


def test_every_method_gets_what_merge_takes_for_it(scripts, tmp_path):
    plan = scripts["plan"]
    assert set(plan.methods()) == {name for name, card in registry.methods().items() if card.role == "method"}
    for name in plan.methods():
        needs, run = registry.method(name).needs, plan.run_of("vit_tiny_patch16_224", name, 2, 8)
        if needs.labels:
            assert plan.refused(run).startswith("needs labels")
            continue
        assert plan.refused(run) == ""
        command = plan.command(run, tmp_path, 10)
        assert ("--heads" in command) == needs.heads
        assert ("--calibration" in command) == (needs.calibration or needs.test_inputs)
        assert set(run.settings) <= set(registry.method(name).hyperparameters)
    assert plan.run_of("e", "adarank", 2, 8).settings == {"steps": 3, "batch_size": 8}
    assert plan.run_of("e", "doge_am", 2, 64).settings == {"steps": 3, "shift_steps": 10, "batch_size": 16}
    assert plan.refused(plan.run_of("e", "slerp", 8, 8)) == "slerp merges 2 experts, not 8"


def test_a_run_is_kept_at_once_and_is_not_made_again(scripts, tmp_path):
    plan, path = scripts["plan"], tmp_path / "runs.json"
    run, other = plan.run_of("e", "ties", 2, 8), plan.run_of("e", "ties", 8, 8)
    plan.Record(path).keep(run, found())
    again = plan.Record(path)
    assert again.done(run, 10, 8, 1) and not again.done(other, 10, 8, 1)
    assert json.loads(path.read_text())["runs"] == [{
        "encoder": "e", "method": "ties", "experts": 2, "images": 0, "settings": {}, **found()
    }]  # fmt: skip
    again.keep(run, found(peak_gb=2.0))
    assert [kept["peak_gb"] for kept in plan.Record(path).runs] == [2.0]


@pytest.mark.parametrize(
    ("kept", "done"),
    [
        ({"ended": "over 240 s"}, True),
        ({"ended": "over 100 s"}, False),
        ({"ended": "over 6.5 GB"}, False),
        ({"ended": "over 16 GB"}, True),
        ({"ended": "failed: no space"}, False),
        ({"ended": "slerp merges 2 experts, not 8"}, True),
        ({"others": 0.4}, False),
    ],
)
def test_what_was_ended_is_made_again_where_it_may_take_more(scripts, tmp_path, kept, done):
    plan = scripts["plan"]
    record, run = plan.Record(tmp_path / "runs.json"), plan.run_of("e", "ties", 2, 8)
    record.keep(run, found(**kept))
    assert record.done(run, limit=240, memory=8, others=0.2) == done


SLEEPER = """
import subprocess, sys, time
import numpy
held = numpy.ones(int(sys.argv[2]))
other = subprocess.Popen([sys.executable, "-c", "while True: pass"])
open(sys.argv[1], "w").write(str(other.pid))
while True: held += 1
"""


@pytest.mark.parametrize(
    ("limit", "memory", "size", "ended"), [(1, 50, 1, "over 1 s"), (500, 0.5, 10**8, "over 0.5 GB")]
)
def test_what_takes_too_much_is_ended_with_all_that_it_started(
    scripts, monkeypatch, tmp_path, limit, memory, size, ended
):
    monkeypatch.setattr(scripts["watch"], "CHILD", SLEEPER)
    noted = tmp_path / "other"
    told = scripts["watch"].measured([str(noted), str(size)], limit=limit, memory=memory)
    assert told["ended"] == ended and told["processor_seconds"] > 0
    assert told["peak_gb"] > memory or limit == 1
    if noted.exists():  # it may have been ended before it had started another
        patience = time.monotonic() + 20
        while psutil.pid_exists(int(noted.read_text())) and time.monotonic() < patience:
            time.sleep(0.1)
        gone = not psutil.pid_exists(int(noted.read_text()))
        assert gone or psutil.Process(int(noted.read_text())).status() == psutil.STATUS_ZOMBIE


def test_what_fails_tells_why(scripts, monkeypatch):
    monkeypatch.setattr(scripts["watch"], "CHILD", "import sys; print('no space', file=sys.stderr); sys.exit(2)")
    assert scripts["watch"].measured([])["ended"] == "failed: no space"


def test_the_page_has_every_run_and_why_some_have_no_numbers(scripts, monkeypatch, tmp_path):
    plan, page = scripts["plan"], scripts["page"]
    record = plan.Record(tmp_path / "runs.json")
    encoder = "vit_base_patch32_clip_quickgelu_224"
    for name in plan.methods():
        for experts, images in ((2, 8), (8, 8), (2, 32)):
            run = plan.run_of(encoder, name, experts, images)
            refused = plan.refused(run)
            record.keep(run, {"ended": refused} if refused else found(models=experts + 0.25))
    record.keep(plan.run_of(encoder, "adarank", 8, 8), found(models=30.0, ended="over 8 GB"))
    (tmp_path / "real-size.md").write_text(
        "".join(
            f"<!-- vit-b-32 by {along} -->\nold\n<!-- /vit-b-32 by {along} -->\n" for along in ("experts", "images")
        )
    )
    monkeypatch.setattr("sys.argv", ["page.py", "--json", str(tmp_path / "runs.json"), "--docs", str(tmp_path)])
    page.main()
    text = (tmp_path / "real-size.md").read_text()
    assert "old" not in text and "slerp: slerp merges 2 experts, not 8." in text
    card = r"\| [\d.]+, [\d.]+ \|"
    assert re.search(rf"\| adarank \| 2.2, > 30.0 {card} 3, > 3 \| 3 steps, 8 images a step \|", text)
    assert re.search(rf"\| fisher \| 2.2, 8.2 {card} 3, 3 \| 8 images \|", text)
    # Its card says 1 model and 2 T + 2 tensors; the result lies there in float32, and in float16 on its way to a file.
    assert "| ties | 2.2, 8.2 | 2.7, 3.0 | 3, 3 |  |" in text
    assert re.search(rf"\| fisher \| 2.2, 2.2 {card} 3, 3 \|  \|", text.partition("by images")[2])
    for along in ("experts", "images"):
        drawn = (tmp_path / f"real-size-vit-b-32-{along}.svg").read_text()
        assert ("ties" in drawn) == (along == "experts") and "fisher" in drawn
