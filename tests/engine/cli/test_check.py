"""`check`: a line per property, a verdict, and the status."""

import re

import pytest

from mergebench.conformance.properties import PROPERTIES

GOOD = """
from mergebench import ModelPool, StateDict, merge_method

print("imported")


@merge_method("mine", title="My own")
def mine(pool: ModelPool, *, weight: float = 1.0) -> StateDict:
    print("merging")
    if weight > 1:
        raise ValueError("too heavy")
    return pool.map_experts(lambda experts: experts.mean(0))


@merge_method("half_mine", title="Half")
def half_mine(pool: ModelPool) -> StateDict:
    return pool.map_experts(lambda experts: experts.mean(0) / 2)
"""


@pytest.fixture
def plugin(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(GOOD)
    return path


def test_a_built_in_method_conforms(command):
    done = command("check", "average")
    first, *lines, verdict = done.out.splitlines()
    assert (done.status, done.err, first) == (0, "", "average: Simple Averaging")
    assert [line[8:].partition(": ")[0] for line in lines] == [p.title for p in PROPERTIES]
    assert {line[:8] for line in lines} == {"  ok    ", "  -     "}
    assert re.fullmatch(r"average conforms: \d+ ok, \d+ not applicable \(\d+\.\d s\)", verdict)


def test_a_method_that_does_not_gives_status_1_and_says_what_is_wrong(command, plugin):
    done = command("check", f"{plugin}:half_mine")
    failed, last = [line for line in done.out.splitlines() if line.startswith("  FAIL")]
    assert failed.startswith("  FAIL  experts that are all the base give the base: 'cls_token'[")
    assert last.startswith("  FAIL  what no expert changed stays the base's: blocks.0.attn.qkv.weight frozen: 'blo")
    assert (done.status, done.err) == (1, "")
    assert re.search(r"^half_mine does not conform: \d+ ok, 2 failed, \d+ not applicable \(", done.out, re.MULTILINE)


def test_several_methods_are_summed_up_each_with_what_it_printed(command, plugin):
    done = command("check", plugin, "pretrained")
    assert done.status == 1
    mine, half = done.out.split("half_mine: Half")
    assert [line for line in mine.splitlines() if "printed" in line] == ["  printed: imported", "  printed: merging"]
    assert "printed" not in half  # the file is imported once, and this one says nothing
    assert re.fullmatch(r"2 of 3 methods conform; not half_mine \(\d+\.\d s\)", done.out.splitlines()[-1])
    done = command("check", f"{plugin}:mine", "pre*", "finetuned", "--seed", 3)
    assert done.status == 0
    assert re.fullmatch(r"all 3 methods conform \(\d+\.\d s\)", done.out.splitlines()[-1])


def test_of_a_method_that_prints_much_the_first_lines_are_shown(command, plugin):
    plugin.write_text(GOOD.replace('print("merging")', '[print(f"step {i}\\x1b[31m") for i in range(50)]'))
    done = command("check", f"{plugin}:mine")
    assert done.status == 0 and done.out.count("  printed: ") == 21 and "\x1b" not in done.out
    assert "  printed: step 18\\x1b[31m\n  printed: 31 more lines\n" in done.out


def test_what_is_set_is_what_is_checked_and_one_complaint_is_told_once(command, plugin):
    for setting, names in (("weight=2", [f"{plugin}:mine"]), ("mine.weight=2", [plugin])):
        done = command("check", *names, "--set", setting)
        assert done.status == 1
        told = [line for line in done.out.partition("mine does not conform")[0].splitlines() if "FAIL" in line]
        assert told[0].endswith(": ValueError: too heavy (line 11)") and told[1].endswith(": as above")


def test_what_was_asked_for_wrongly_is_refused_before_anything_is_checked(refused, plugin, tmp_path):
    assert "did you mean 'ties'" in refused("check", "average", "tiess")
    assert "no function 'nothing'" in refused("check", f"{plugin}:nothing")
    assert "cannot read" in refused("check", tmp_path / "none.py")
    assert "has no hyper-parameter 'weigth'; did you mean 'weight'?" in refused(
        "check", f"{plugin}:mine", "--set", "weigth=1"
    )
    assert "'ties' is not checked; there are: average" in refused("check", "average", "--set", "ties.density=1")
    assert "write NAME=VALUE" in refused("check", "ties", "--set", "density")
    assert "required" in refused("check")
    broken = tmp_path / "broken.py"
    broken.write_text("def f(:\n")
    assert "not valid Python" in refused("check", "average", broken)
    broken.write_text(GOOD + "\n1 / 0\n")
    assert "importing" in refused("check", "average", f"{broken}:mine")
