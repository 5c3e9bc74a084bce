"""The tables of methods, suites and studies name what there is."""

import json
import re
from statistics import median

from docs_texts import ROOT, TEXTS

from mergebench.catalogue import registry
from mergebench.catalogue.yaml_files import read_suite
from mergebench.suites.bench import Bench


def test_every_method_is_in_the_table():
    rows = re.findall(r"^\| `([^`]+)` \|", TEXTS["docs/methods.md"], re.MULTILINE)
    assert rows == list(registry.methods())


def test_the_suites_table_tells_what_there_is():
    table = re.search(r"<!-- suites -->(.*?)<!-- /suites -->", TEXTS["docs/suites.md"], re.DOTALL)[1]
    first = [cell.strip() for cell in re.findall(r"^\| ([^|]+) \|", table, re.MULTILINE)]
    named = {name for cell in first for name in cell.split("; ")} - {"suite", "study"}
    assert named == {*registry.config_files("suites"), *registry.config_files("studies")}


def test_the_suites_and_studies_of_the_protocols_are_valid(tmp_path):
    text = TEXTS["docs/protocols.md"]
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


def test_readme_s_times_beside_another_project_s_are_the_measured_ones():
    measured = json.loads((ROOT / "docs/benchmark-peer.json").read_text())["methods"]
    rows = re.findall(r"^\| (\S+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|$", TEXTS["README.md"], re.MULTILINE)
    assert [name for name, *_ in rows] == ["regmean", "regmean++", "wudi"]
    for name, *shown in rows:
        runs = measured[name]
        ours, theirs = (median(run["seconds"] for run in runs[whose]) for whose in ("ours", "theirs"))
        assert shown == [f"{ours:.1f}", f"{theirs:.1f}", f"{median(runs['ratios']):.2f}"]


def test_the_results_page_has_tables_of_every_suite_and_study():
    measured = {name for name in registry.config_files("suites") if read_suite(name).zoo in ("tiny", "tiny-lora")}
    names = {*measured, *registry.config_files("studies")} - {"tiny-8", "dependency"} | {"latex"}
    parts = dict(re.findall(r"<!-- ([\w-]+) -->\n(.*?)<!-- /\1 -->", TEXTS["docs/results.md"], re.DOTALL))
    assert parts.keys() == names
    assert parts.pop("experts").count("| scenes | ") >= 1 and parts.pop("latex").count("RegMean++") == 1
    assert all(part.count("\n| RegMean++ | ") + part.count(" | RegMean++ | ") >= 1 for part in parts.values())


def test_words_of_the_page_are_words_of_the_design():
    """A term that the concepts explain is one that the design uses in the same sense: both name it."""
    terms = re.findall(r"\*\*([A-Z][a-z]+)\.\*\*", TEXTS["docs/concepts.md"])
    design = (ROOT / "docs/design.md").read_text().lower()
    assert len(terms) >= 10 and all(term.lower() in design for term in terms)
