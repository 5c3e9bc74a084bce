"""`--json FILE`: what a verb found, for a script; a place that cannot be written is refused before anything is done."""

import json

import pytest


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def test_what_check_finds(command, tmp_path):
    (tmp_path / "mine.py").write_text(
        "from mergebench import ModelPool, StateDict, merge_method\n\n\n"
        "@merge_method('grows', title='Grows')\n"
        "def grows(pool: ModelPool) -> StateDict:\n"
        "    return pool.map_experts(lambda experts: experts.sum(0))\n"
    )
    done = command("check", "average", tmp_path / "mine.py", "--json", tmp_path / "found.json")
    good, bad = read(tmp_path / "found.json")["methods"]
    assert done.status == 1 and (good["method"], good["conforms"], bad["conforms"]) == ("average", True, False)
    failed = [told for told in bad["findings"] if told["status"] == "FAIL"]
    assert failed and all(f"FAIL  {told['title']}" in done.out and told["detail"] for told in failed)
    assert {told["status"] for told in good["findings"]} <= {"ok", "-"}


def test_what_compare_finds(command, mini_suite, tmp_path):
    out, file = tmp_path / "out", tmp_path / "found.json"
    assert command("run", "--methods", "average", "ties", "--suite", mini_suite, "--out", out).status == 0
    done = command("compare", "average", "ties", "--out", out, "--json", file)
    found = read(file)
    assert done.status == 0 and (found["ours"], found["theirs"]) == ("Simple Averaging", "TIES-Merging")
    average = found["average"]
    assert average["difference"] == pytest.approx(average["ours"] - average["theirs"])
    tasks = found["tasks"].values()
    assert average["ours"] == pytest.approx(sum(task["ours"] for task in tasks) / len(tasks))
    assert all(low <= task["difference"] <= high for task in tasks for low, high in [task["interval"]])


def test_what_a_verb_wrote_is_written_again_under_any_name(command, tmp_path):
    place = tmp_path / "found.txt"
    place.write_text('{"methods": []}')
    assert command("check", "average", "--json", place).status == 0 and read(place)["methods"]


@pytest.mark.parametrize("words", [("check", "average"), ("compare", "average", "ties"), ("runs", "check")])
def test_a_place_that_cannot_be_written_is_refused_at_once(words, command, tmp_path):
    (tmp_path / "file").write_text("")
    done = command(*words, "--json", tmp_path / "file" / "found.json")
    assert done.status == 2 and "file" in done.err and "ok " not in done.out
