"""What the page on RegMean++ says of the dependency study are its numbers, and these are what is measured."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/dependency.md").read_text()


def pasted_study():
    """What the page shows of the dependency study: method -> arm -> accuracy, and arm -> difference."""
    block = re.search(r"<!-- dependency -->(.*?)<!-- /dependency -->", PAGE, re.DOTALL)[1]
    header = re.search(r"^ method +(.*)$", block, re.MULTILINE)[1]
    arms = re.split(r" {2,}", header.strip())
    rows = re.findall(r"^ (RegMean(?:\+\+)?) {2,}(.*)$", block, re.MULTILINE)
    averages = {title: dict(zip(arms, map(float, re.findall(r"([\d.]+) ±", row)), strict=True)) for title, row in rows}
    told = re.findall(r"^ (RegMean.*?) +5 +([+-][\d.]+) ", block, re.MULTILINE)
    return averages, {arm: float(difference) for arm, difference in told}


@pytest.mark.long
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
    assert found["RegMean++", "block"] > found["RegMean", "block"], "what the page says of the two"


def test_the_words_about_the_study_are_its_numbers():
    text, (averages, differences) = " ".join(PAGE.split()), pasted_study()
    told = re.search(
        r"across blocks is worth (\S+) points, the one within blocks (\S+) to RegMean and (\S+) to RegMean\+\+, "
        r"both together (\S+)\. ",
        text,
    ).groups()
    across, both = differences["RegMean++, block"], differences["RegMean++, linear"]
    assert told == tuple(f"{d:.1f}" for d in (across, differences["RegMean, linear"], both - across, both))
    average = float(re.search(r"plain averaging\s+\((\S+) %\)", text)[1])
    shuffled = [value for row in averages.values() for arm, value in row.items() if "shuffled" in arm]
    assert len(shuffled) == 4 and all(abs(value - average) <= 0.5 for value in shuffled), "within half a point"
