"""What README and CONTRIBUTING promise."""

import re
import shlex
from pathlib import Path

import pytest

from mergebench import registry
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
    from mergebench.bench import Bench

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
    from mergebench.plan import RunRequest, make_plan
    from mergebench.results import ResultStore
    from mergebench.runner import run

    pasted = dict(re.findall(r"^ *(?:\d+|-)  (\S.*?)  +\S+ +(\d+\.\d) ", TEXTS["README.md"], re.MULTILINE))
    summary = run(make_plan(RunRequest(methods=["pretrained", "average"], suite="tiny-8")), ResultStore(tmp_path))
    for result in summary.results:
        assert 100 * result.average == pytest.approx(float(pasted[result.title]), abs=0.5)


def test_the_pasted_study_is_what_is_measured(tmp_path):
    """One arm on one draw, where five are pasted; they spread by less than the half point allowed to processors."""
    from mergebench.plan import RunRequest, make_plan
    from mergebench.results import ResultStore
    from mergebench.runner import run

    pasted = dict(re.findall(r"^ (RegMean(?:\+\+)?) +(\d+\.\d) ± ", TEXTS["README.md"], re.MULTILINE))
    request = RunRequest(study="dependency", only={"arm": ["block"]}, seeds=[0])
    averages = {r.title: 100 * r.average for r in run(make_plan(request), ResultStore(tmp_path)).results}
    for title, value in pasted.items():
        assert averages[title] == pytest.approx(float(value), abs=0.5)
    assert averages["RegMean++"] > averages["RegMean"], "what README says of the two"
