"""The pasted board: README's best ten, both tracks in full, their CSV files and the table for papers are one run's."""

import csv
import re

import pytest
from docs_texts import ROOT, TEXTS

from mergebench.catalogue import registry
from mergebench.measuring.results import ResultStore
from mergebench.running.plan import RunRequest, make_plan
from mergebench.running.runner import run

TRACKS = ("tuned", "published")


def stored(track, suite="tiny-8"):
    """Method -> row, of what `mergebench table` printed of the run that is pasted."""
    with (ROOT / f"docs/{suite}-{track}.csv").open(encoding="utf-8") as file:
        return {row["method"]: row for row in csv.DictReader(file)}


def table(page, mark):
    """The rows of a pasted Markdown table, by its heads."""
    text = re.search(rf"<!-- {mark} -->(.*?)<!-- /{mark} -->", TEXTS[page], re.DOTALL)[1]
    header, _, *rows = [[cell.strip() for cell in line[1:-1].split(" | ")] for line in text.split("\n") if "|" in line]
    return [dict(zip(header, row, strict=True)) for row in rows]


def title(row):
    """A method's title, without what a search chose."""
    return re.sub(r" \(.*", "", row["title"])


@pytest.mark.parametrize("track", TRACKS)
def test_a_pasted_track_is_the_stored_one(track):
    rows, found = table("docs/board.md", track), {title(row): row for row in stored(track).values()}
    assert [row["method"] for row in rows if row["#"] != "-"] == [t for t, row in found.items() if row["rank"]]
    assert {row["method"] for row in rows} >= set(found)
    for row in rows:
        if row["method"] in found:  # the joint model is no track's
            kept = found[row["method"]]
            assert (row["#"], row["average"].split(" ")[0]) == (kept["rank"] or "-", kept["average"])
            assert {name: row[name] for name in ("relative", "scenes", "textures")}.items() <= kept.items()


def test_the_pasted_table_of_twenty_tasks_is_the_stored_one():
    chosen, published = ({title(row): row for row in stored(track, "tiny-20").values()} for track in TRACKS)
    rows = table("docs/board-20.md", "both")
    assert [row["method"] for row in rows if row["#"] != "-"] == [t for t, row in chosen.items() if row["rank"]]
    for row in rows:
        kept = chosen[row["method"]]
        assert (row["#"], row["chosen"], row["relative"]) == (kept["rank"] or "-", kept["average"], kept["relative"])
        if row["#"] != "-":
            assert row["published"] == published[row["method"]]["average"]


def test_every_method_stands_on_both_boards():
    cards = [card for card in registry.methods().values() if card.role == "method"]
    titles = {card.title for card in cards if not card.experts}  # but those that merge two experts alone
    for suite in ("tiny-8", "tiny-20"):
        for track in TRACKS:
            assert {title(row) for row in stored(track, suite).values() if row["rank"]} == titles, (suite, track)


def test_readme_s_best_ten_are_the_board_s():
    tuned, published = ({title(row): row for row in stored(track).values()} for track in TRACKS)
    rows = table("README.md", "top")
    assert [row["method"] for row in rows] == [t for t, row in tuned.items() if row["rank"]][:10]
    for row in rows:
        assert row["tuned"].split(" ")[0] == tuned[row["method"]]["average"]
        assert row["published"] == published[row["method"]]["average"]


@pytest.mark.long
@pytest.mark.parametrize("track", TRACKS)
def test_the_pasted_rows_are_what_is_measured(track, tmp_path):
    """Data-free rows are measured again. Other processors round differently: half a point is allowed."""
    request = RunRequest(methods=["average", "task_arithmetic"], suite="tiny-8", settings=[track])
    rows = stored(track)
    for result in run(make_plan(request), ResultStore(tmp_path)).results:
        assert 100 * result.average == pytest.approx(float(rows[result.method]["average"]), abs=0.5)


def test_the_table_for_papers_on_the_results_page_is_the_stored_one():
    found = {title(row): row for row in stored("tuned").values()}
    block = re.search(r"```latex\n(.*?)```", TEXTS["docs/results.md"], re.DOTALL)[1]
    rows = [
        re.sub(r"\\textbf|\\underline|\\rlap\{\$\^\{\\dagger\}\$\}|[{}]|\\\\", "", line) for line in block.splitlines()
    ]
    header, *shown = [[cell.strip() for cell in row.split("&")] for row in rows if "&" in row]
    assert len(shown) >= 4
    for name, *values in shown:
        kept, told = found[re.sub(r" \(.*", "", name)], dict(zip(header[1:], values, strict=True))
        assert all(re.match(r"[\d.]+", told[column])[0] == kept[column] for column in ("average", "relative"))
