"""`mergebench table`: real results in every format, from several folders, and what is refused."""

import csv
import io
import json
import shutil

import pytest

from mergebench.cli import main

METHODS = ("average", "task_arithmetic", "ties")


@pytest.fixture(scope="module")
def folder(mini_suite, tmp_path_factory):
    """The folder of a run of three methods and the references on two tasks."""
    out = tmp_path_factory.mktemp("table")
    assert main(["run", "--methods", *METHODS, "pretrained", "--suite", str(mini_suite), "--out", str(out)]) == 0
    return out


@pytest.fixture
def other_zoo(folder, tmp_path):
    """Another folder, as if the same methods had been measured on another zoo, with the zoo's checkpoints stated."""
    from mergebench.measuring.results import ResultStore

    out = tmp_path / "other"
    for number, result in enumerate(ResultStore(folder).all()):
        facts = {"zoo": "grown", "checksum": "", "cell": "", "checkpoints": {"backbone": "Grown", "family": "ours"}}
        path = out / "cells" / "mini" / f"{number}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(result.model_copy(update=facts).model_dump_json())
    return out


def test_standard_output_is_the_table_and_nothing_else(command, folder):
    done = command("table", "--out", folder, "--suite", "mini")
    lines = done.out.splitlines()
    assert done.status == 0 and done.err == ""
    assert lines[2:4] == ["| method | landcover | digits | average |", "| --- | ---: | ---: | ---: |"]
    assert [line.split(" | ")[0] for line in lines[4:6]] == ["| Pre-trained", "| Fine-tuned experts"]
    assert len([line for line in lines if line.startswith("| ")]) == 2 + 5


def test_numbers_are_those_of_the_results(command, folder):
    from mergebench.measuring.results import ResultStore

    out = command("table", "--out", folder, "--format", "csv", "--digits", 4).out
    rows = {row["method"]: row for row in csv.DictReader(io.StringIO(out))}
    for result in ResultStore(folder).all():
        assert float(rows[result.method]["average"]) == pytest.approx(100 * result.average, abs=1e-4)
        for task, score in result.tasks.items():
            assert float(rows[result.method][task]) == pytest.approx(100 * score.accuracy, abs=1e-4)


@pytest.mark.parametrize(
    ("format_", "begins", "holds"),
    [
        ("latex", "% Needs \\usepackage{booktabs}", "\\textbf{"),
        ("typst", "#figure(", "strong("),
        ("csv", "method,title", ""),
    ],
)
def test_every_format_is_written(command, folder, format_, begins, holds):
    done = command("table", "--out", folder, "--format", format_, "--rows", "methods", "--columns", "average", "digits")
    assert done.status == 0 and done.out.startswith(begins) and holds in done.out


def test_folders_of_several_zoos_stand_side_by_side_in_tables_and_leaderboard(command, folder, other_zoo):
    for places, header in (
        ((folder, other_zoo), "few: average | Grown"),
        ((other_zoo, folder), "Grown: average | few"),
    ):
        assert command("table", "--out", *places).out.splitlines()[2] == f"| method | {header}: average |"
    one = command("table", "--out", folder, other_zoo, "--zoo", "grown", "--format", "csv")
    assert one.out.splitlines()[0] == "method,title,landcover,digits,average"
    page = shutil.copytree(folder, other_zoo.parent / "copy") / "site" / "index.html"
    shown = command("leaderboard", "--out", page.parent.parent, other_zoo).out
    assert "mini on zoo few" in shown and "mini on zoo grown" in shown and f"leaderboard page: {page}" in shown
    assert not (other_zoo / "site").exists()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--rows", "tie"], "unknown row 'tie'; did you mean 'ties'?"),
        (["--columns", "digit"], "unknown column 'digit'; did you mean 'digits'?"),
        (["--suite", "min"], "no results of suite or study 'min' in "),
        (["--zoo", "feww"], "; did you mean 'few'?"),
        (["--format", "html"], "--format"),
        (["--layout", "scale"], "--layout scale: shows none of what there is; there are: mini on few (tasks)"),
        (["--digits", "7"], "--digits 7: at most 6"),
        (["--columns", "reported"], "column 'reported': no published averages of the same checkpoints are known"),
    ],
)
def test_what_cannot_be_shown_is_refused_in_a_line(refused, folder, arguments, told):
    assert told in refused("table", "--out", folder, *arguments)


def test_a_folder_without_results_and_several_tables_in_one_csv_are_refused(refused, folder, other_zoo, tmp_path):
    assert "no results in " in refused("table", "--out", folder, tmp_path / "none")
    several = ["--format", "csv", "--layout", "tasks"]
    assert "2 tables are no one CSV file (mini-few, mini-grown): " in refused(
        "table", "--out", folder, other_zoo, *several
    )


def test_what_is_no_result_is_told_beside_the_table(command, folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "copy")
    (copy / "cells" / "mini" / "broken.json").write_text("{")
    done = command("table", "--out", copy)
    assert done.status == 0 and "broken.json is set aside" in done.err and done.out.startswith("**mini on few")


def test_results_say_of_which_family_their_zoo_states_to_be_and_are_held_against_its_numbers(
    command, options, rezoo, tmp_path, monkeypatch
):
    """A made-up zoo that states its family; the statement is no part of a cell, and may be corrected."""
    from mergebench.leaderboard.reported_numbers import Reported

    def cells(out):
        return [json.loads(path.read_text()) for path in sorted((out / "cells").glob("*/*.json"))]

    out = tmp_path / "out"
    run = ["run", "--methods", "average", *options, "--out", out]
    rezoo(lambda fields: fields.update(backbone="Mini", family="made-up"))
    assert command(*run).status == 0
    assert {repr(cell["checkpoints"]) for cell in cells(out)} == {repr({"backbone": "Mini", "family": "made-up"})}
    published = [Reported("Mini", 2, "made-up", {"average": 12.5}, ("eurosat", "mnist"))]
    monkeypatch.setattr("mergebench.leaderboard.reported_numbers.read_reported", lambda: published)
    columns = ["--columns", "average", "reported", "difference"]
    table = command("table", "--out", out, "--format", "csv", *columns).out
    (row,) = [row for row in csv.DictReader(io.StringIO(table)) if row["method"] == "average"]
    assert row["reported"] == "12.5"
    assert float(row["difference"]) == pytest.approx(float(row["average"]) - 12.5, abs=0.06)
    assert "family   made-up" in command("describe", options[3]).out
    rezoo(lambda fields: fields.update(family=""))
    again = command(*run)
    assert "0 cells computed, 2 reused" in again.out and "reported" not in again.out
    assert {repr(cell["checkpoints"]) for cell in cells(out)} == {repr({"backbone": "Mini"})}


def test_a_track_in_which_nothing_stands_is_refused(refused, folder):
    told = refused("table", "--out", folder, "--track", "tuned")
    assert "--track tuned: no search has chosen settings here; make some: mergebench tune METHOD" in told


def test_submissions_are_shown_where_they_are_asked_for(refused, folder, tmp_path):
    assert "no folder of submissions" in refused("table", "--out", folder, "--submissions", tmp_path / "none")
