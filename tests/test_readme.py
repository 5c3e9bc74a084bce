"""What README and CONTRIBUTING promise."""

import csv
import re
import shlex
from pathlib import Path

import pytest

from mergebench.catalogue import registry
from mergebench.catalogue.yaml_files import read_suite
from mergebench.cli.command import VERBS, make_parser

ROOT = Path(__file__).parent.parent
TEXTS = {name: (ROOT / name).read_text() for name in ("README.md", "CONTRIBUTING.md")}


def blocks(language):
    return [
        pytest.param(block, id=f"{name}-{i}")
        for name, text in TEXTS.items()
        for i, block in enumerate(re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL))
    ]


def commands():
    lines = [line for param in blocks("sh") for line in param.values[0].splitlines()]
    return [shlex.split(line, comments=True) for line in lines if line.startswith("mergebench")]


@pytest.mark.parametrize("block", blocks("python"))
def test_python_examples_run(block):
    exec(compile(block, "README", "exec"), {"__name__": "readme"})


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_commands_are_understood(words):
    verb, *rest = words[1:]
    assert make_parser(verb).parse_args([verb, *rest])


def test_the_suites_and_studies_of_the_protocols_are_valid(tmp_path):
    from mergebench.suites.bench import Bench

    text = (ROOT / "docs/protocols.md").read_text()
    blocks = re.findall(r"```yaml\n(?:# (\S+\.yaml)[^\n]*\n)?(.*?)```", text, re.DOTALL)
    files = [tmp_path / (name or f"{i}.yaml") for i, (name, _) in enumerate(blocks)]
    for file, (_, block) in zip(files, blocks, strict=True):
        file.write_text(block)
        for other in re.findall(r"^# ((?:corruptions|orders): .*)", block, re.MULTILINE):
            (tmp_path / f"other-{len(list(tmp_path.iterdir()))}.yaml").write_text(
                re.sub(r"(?m)^held_out:.*$", other, block)
            )
    for file in tmp_path.iterdir():
        what = {"study": str(file)} if "suite:" in file.read_text() else {}
        assert len(Bench(None if what else str(file), **what).variants) > 1
    assert len(list(tmp_path.iterdir())) == len(blocks) + 2 == 6


def test_the_results_page_has_tables_of_every_suite_and_study():
    text = (ROOT / "docs/results.md").read_text()
    measured = {name for name in registry.config_files("suites") if read_suite(name).zoo in ("tiny", "tiny-lora")}
    names = {*measured, *registry.config_files("studies")} - {"tiny-8", "dependency"}
    parts = dict(re.findall(r"<!-- ([\w-]+) -->\n(.*?)<!-- /\1 -->", text, re.DOTALL))
    assert parts.keys() == names
    assert parts.pop("experts").count("| scenes | ") >= 1
    assert all(part.count("\n| RegMean++ | ") + part.count(" | RegMean++ | ") >= 1 for part in parts.values())


def test_the_suites_table_tells_what_there_is():
    table = re.search(r"<!-- suites -->(.*?)<!-- /suites -->", TEXTS["README.md"], re.DOTALL)[1]
    first = [cell.strip() for cell in re.findall(r"^\| ([^|]+) \|", table, re.MULTILINE)]
    named = {name for cell in first for name in cell.split("; ")} - {"suite", "study"}
    assert named == {*registry.config_files("suites"), *registry.config_files("studies")}


def test_every_verb_is_shown():
    assert {words[1] for words in commands()} == set(VERBS)


def test_make_targets_exist():
    targets = re.findall(r"^make (\w+)", TEXTS["README.md"] + TEXTS["CONTRIBUTING.md"], re.MULTILINE)
    makefile = (ROOT / "Makefile").read_text()
    assert targets and all(re.search(rf"^{t}:", makefile, re.MULTILINE) for t in targets)


def test_every_method_is_in_the_table():
    rows = re.findall(r"^\| `([^`]+)` \|", TEXTS["README.md"], re.MULTILINE)
    assert rows == list(registry.methods())


def test_links_lead_to_files():
    for name, text in TEXTS.items():
        for target in re.findall(r"\]\(([^)#]+)\)", text):
            assert (ROOT / name).parent.joinpath(target).exists(), target


def test_the_pasted_leaderboard_is_what_is_measured(tmp_path):
    """Two data-free rows are measured again. Other processors round differently: half a point is allowed."""
    from mergebench.measuring.results import ResultStore
    from mergebench.running.plan import RunRequest, make_plan
    from mergebench.running.runner import run

    table = re.search(r"<!-- leaderboard -->(.*?)<!-- /leaderboard -->", TEXTS["README.md"], re.DOTALL)[1]
    pasted = dict(re.findall(r"^ *(?:\d+|-)  +(?:\d+ to \d+|\d+|-)  (\S.*?)  +\S+ +(\d+\.\d) ", table, re.MULTILINE))
    summary = run(make_plan(RunRequest(methods=["pretrained", "average"], suite="tiny-8")), ResultStore(tmp_path))
    for result in summary.results:
        assert 100 * result.average == pytest.approx(float(pasted[result.title]), abs=0.5)


def test_the_pasted_leaderboard_is_the_stored_table():
    """Of the run whose output README shows, docs/tiny-8.csv is what the command prints that docs/results.md names."""
    with (ROOT / "docs/tiny-8.csv").open(encoding="utf-8") as file:
        stored = {row.pop("title"): row for row in csv.DictReader(file)}
    block = re.search(r"<!-- leaderboard -->(.*?)<!-- /leaderboard -->", TEXTS["README.md"], re.DOTALL)[1]
    lines = [re.split(r" {2,}", line.strip()) for line in block.partition("test images\n")[2].splitlines()]
    header = next(line for line in lines if "method" in line)
    rows = [dict(zip(header, line, strict=True)) for line in lines if len(line) == len(header) and line != header]
    assert {row["method"] for row in rows} == set(stored)
    for row in rows:
        told = {"#" if name == "rank" else name: value or "-" for name, value in stored[row["method"]].items()}
        columns = set(told) & set(header) - {"method"}
        assert columns >= {"#", "average", "relative", "scenes", "textures"}
        assert {name: told[name] for name in columns} == {name: row[name] for name in columns}


def test_the_table_for_papers_on_the_results_page_is_the_stored_one():
    text = (ROOT / "docs/results.md").read_text()
    with (ROOT / "docs/tiny-8.csv").open(encoding="utf-8") as file:
        stored = {row["title"]: row for row in csv.DictReader(file)}
    block = re.search(r"```latex\n(.*?)```", text, re.DOTALL)[1]
    rows = [
        re.sub(r"\\textbf|\\underline|\\rlap\{\$\^\{\\dagger\}\$\}|[{}]|\\\\", "", line) for line in block.splitlines()
    ]
    shown = [[cell.strip() for cell in row.split("&")] for row in rows if "&" in row]
    header, *shown = shown
    assert len(shown) >= 4
    for row in shown:
        found = dict(zip(header[1:], row[1:], strict=True))
        assert all(found[name] == stored[row[0]][name] for name in ("average", "relative"))


def pasted_study():
    """What README shows of the dependency study: method -> arm -> accuracy, and arm -> difference."""
    block = re.search(r"<!-- dependency -->(.*?)<!-- /dependency -->", TEXTS["README.md"], re.DOTALL)[1]
    header = re.search(r"^ method +(.*)$", block, re.MULTILINE)[1]
    arms = re.split(r" {2,}", header.strip())
    rows = re.findall(r"^ (RegMean(?:\+\+)?) {2,}(.*)$", block, re.MULTILINE)
    averages = {title: dict(zip(arms, map(float, re.findall(r"([\d.]+) ±", row)), strict=True)) for title, row in rows}
    told = re.findall(r"^ (RegMean.*?) +5 +([+-][\d.]+) ", block, re.MULTILINE)
    return averages, {arm: float(difference) for arm, difference in told}


def test_the_pasted_study_is_what_is_measured(tmp_path):
    """Two arms on one draw, where five are pasted; they spread by less than the half point allowed to processors."""
    from mergebench.measuring.results import ResultStore
    from mergebench.running.plan import RunRequest, make_plan
    from mergebench.running.runner import run

    pasted, _ = pasted_study()
    assert set(pasted) == {"RegMean", "RegMean++"}
    arms = ["block", "linear with shuffled images"]
    plan = make_plan(RunRequest(study="dependency", only={"arm": arms}, seeds=[0]))
    results = [r for r in run(plan, ResultStore(tmp_path)).results if r.role == "method"]
    found = {(r.title, r.point["arm"]): 100 * r.average for r in results}
    assert set(found) == {(title, arm) for title in pasted for arm in arms}
    for (title, arm), average in found.items():
        assert average == pytest.approx(pasted[title][arm], abs=0.5)
    assert found["RegMean++", "block"] > found["RegMean", "block"], "what README says of the two"


def test_what_readme_says_of_the_study_are_its_numbers():
    text, (averages, differences) = " ".join(TEXTS["README.md"].split()), pasted_study()
    told = re.search(
        r"across blocks is worth (\S+) points, the one within blocks (\S+) to RegMean and (\S+) to RegMean\+\+, "
        r"both together (\S+)\. ",
        text,
    ).groups()
    across, both = differences["RegMean++, block"], differences["RegMean++, linear"]
    assert told == tuple(f"{d:.1f}" for d in (across, differences["RegMean, linear"], both - across, both))
    average = float(re.search(r"^ *\d+  +\d+ to \d+  Simple Averaging +- +(\S+) ", TEXTS["README.md"], re.MULTILINE)[1])
    shuffled = [value for row in averages.values() for arm, value in row.items() if "shuffled" in arm]
    assert len(shuffled) == 4 and all(abs(value - average) <= 0.5 for value in shuffled), "within half a point"
