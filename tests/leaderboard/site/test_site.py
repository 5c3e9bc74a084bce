"""The files of the site: what stands in them, which are left alone, and which go."""

import json
import re
import subprocess
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from mergebench.errors import MergebenchError
from mergebench.leaderboard.board import make_boards
from mergebench.leaderboard.reported_numbers import Reported
from mergebench.leaderboard.site import views, write
from mergebench.leaderboard.site.known import Known, TaskFacts, address
from mergebench.leaderboard.site.method_page import command
from mergebench.leaderboard.site.scripts import as_script
from mergebench.leaderboard.site.views import board_view
from mergebench.leaderboard.site.write import write_site
from mergebench.merging.hyperparameters import parse_assignments

HOSTILE = "<img src=x onerror=alert(1)></script><script>alert(2)</script>"


class _Page(HTMLParser):
    """Collects tags, addresses and event handlers."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.addresses, self.handlers, self.heads = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.addresses += [v for k, v in attributes if k in ("src", "href")]
        self.handlers += [k for k, _ in attributes if k.startswith("on")]
        if tag == "th":
            self.heads.append(dict(attributes).get("scope"))


def test_every_page_leads_to_files_that_are_there_and_to_nothing_else(site):
    pages = sorted(site.parent.rglob("*.html"))
    assert {"methods", "tasks"} <= {page.parent.name for page in pages}
    for path in pages:
        page = _Page(path.read_text())
        for there in page.addresses:
            target = path.parent / there.partition("#")[0]
            assert there.startswith("#") or target.is_file(), (path, there)
        assert page.handlers == [] and page.tags.count("h1") == 1
        assert set(page.heads) <= {"col", "row"}
        assert "img" not in page.tags or "onerror=alert(1)>" not in path.read_text()


def test_texts_are_escaped_on_every_page_and_in_every_script(site):
    for path in site.parent.rglob("*"):
        if path.suffix in (".html", ".svg", ".js") and path.parent.name != "static":
            assert "<img src=x" not in path.read_text() and "<script>alert" not in path.read_text(), path


def test_data_are_scripts_that_only_put_data_under_a_name():
    text = as_script("x", {"a": "</script>\u2028\u2029&<!--\ud800"})
    assert not set("<>&\u2028\u2029") & set(text.removeprefix('mergebench.data["x"] = '))
    assert json.loads(text.removeprefix('mergebench.data["x"] = ').removesuffix(";\n"))["a"].startswith(
        "</script>\u2028"
    )
    assert text.isascii()


def test_what_is_as_it_was_is_not_written_again_and_what_is_gone_goes(site, results, known):
    folder = site.parent
    stamps = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file() and path != site}
    (folder / "notes.txt").write_text("mine")
    fewer = [r for r in results if not r.point and r.method != "middle"]
    write_site(make_boards(fewer), folder, (), known)
    assert not (folder / "methods" / "middle.html").exists() and not list((folder / "pictures").iterdir())
    assert (folder / "notes.txt").read_text() == "mine"
    static = [path for path in stamps if path.parent.name == "static"]
    assert static and all(path.stat().st_mtime_ns == stamps[path] for path in static)


def test_ranks_over_tasks_are_computed_when_accuracies_change_and_only_then(results, tmp_path, monkeypatch):
    boards = make_boards(r for r in results if not r.point)
    asked = []

    def counted(*inputs):
        asked.append(inputs)
        return rank_test(*inputs)

    from mergebench.leaderboard.site import ranking

    rank_test = ranking.rank_test
    monkeypatch.setattr(ranking, "rank_test", counted)
    for _ in range(2):
        write_site(boards, tmp_path / "site")
    assert len(asked) == 1
    held = (tmp_path / "site" / "data" / "two--z--ranks.js").read_text()
    assert re.match(r"// [0-9a-f]{64}\n", held) and '"distance"' in held
    write_site(make_boards(r for r in results if not r.point and r.method != "least"), tmp_path / "site")
    assert len(asked) == 2


def test_settings_given_by_hand_have_no_part_in_the_ranks_over_tasks(results, tmp_path):
    least = next(r for r in results if r.method == "least")
    by_hand = least.model_copy(update={"hyperparameters": {"scale": 0.9}, "given": {"scale": 0.3}})
    for name, extra in (("plain", []), ("more", [by_hand])):
        write_site(make_boards([r for r in results if not r.point] + extra), tmp_path / name)
    plain, more = ((tmp_path / name / "data" / "two--z--ranks.js").read_text() for name in ("plain", "more"))
    assert '"ranks"' in plain and more.replace("Least (scale=0.3)", "Least").splitlines()[1:] == plain.splitlines()[1:]


def test_a_board_says_of_each_row_what_it_can_be_filtered_by(results, known):
    (board,) = make_boards(r for r in results if not r.point)
    rows = {row["label"]: row for row in board_view(board, known)["tables"][0]["rows"]}
    best = rows["Best"]
    facts = ("family", "fidelity", "year", "track", "needs")
    assert [best[fact] for fact in facts] == ["calibration", "paper", 2023, "published", ["base", "calibration"]]
    assert best["point"]["images"] == 64 and rows["Middle"]["point"]["images"] == 0
    assert rows["Experts"]["family"] == "references" and rows["Broken"]["point"] is None


def test_links_to_rows_do_not_depend_on_the_other_rows(results, known):
    def ids(some):
        (board,) = make_boards(some)
        return {row["label"]: row["id"] for row in board_view(board, known)["tables"][0]["rows"]}

    plain = [r for r in results if not r.point]
    assert ids(plain[:2]).items() <= ids(plain).items()


def test_names_become_addresses_that_stay_apart():
    names = ["regmean++", "a/b", "a b", "a_b", "", "../x", "x" * 300, "é", "#?&"]
    found = [address(name) for name in names]
    assert found[0] == "regmean++" and len(set(found)) == len(names)
    assert all(re.fullmatch(r"[A-Za-z0-9+_-]+", one) and len(one) < 80 for one in found)


def test_the_command_says_every_setting_and_is_one_that_a_shell_reads(make_result):
    settings = {
        "scale": 1e-5,
        "names": ["a b", "c"],
        "how": "it's",
        "none": None,
        "on": True,
        "word": "no",
        "w": {"a": 1e-6},
    }
    (board,) = make_boards([make_result("m", (1, 2), hyperparameters=settings, seed=1)])
    line = command(board, board.rows[0])
    words = subprocess.run(["sh", "-c", f"printf '%s\\n' {line}"], capture_output=True, text=True).stdout.splitlines()
    assert " ".join(words[:13]) == "mergebench run --methods m --suite two --zoo z --seeds 1 --settings published --set"
    assert parse_assignments(words[13:]) == {f"m.{name}": value for name, value in settings.items()}


def test_an_equation_as_text_keeps_its_lines(results, known, tmp_path):
    text = "Does it.\n\n    tau   = a - b\n    theta = tau < 0\n\nSource: a paper."
    known = replace(known, methods={"best": replace(known.methods["best"], text=text)})
    site = write_site(make_boards(r for r in results if not r.point), tmp_path / "site", (), known)
    assert "<pre>tau   = a - b\ntheta = tau &lt; 0\n</pre>" in (site.parent / "methods" / "best.html").read_text()


def test_tables_beyond_the_first_rows_are_left_to_their_data(results, known, tmp_path, monkeypatch):
    monkeypatch.setattr(write, "PLAIN_ROWS", 3)
    index = write_site(make_boards(r for r in results if not r.point), tmp_path / "site", (), known)
    assert "Middle" not in index.read_text() and "data/two--z.js" in index.read_text()
    assert "Middle" in (index.parent / "data" / "two--z.js").read_text()


def test_a_task_s_pictures_stand_on_its_page(results, tmp_path):
    known = Known({}, {"a": TaskFacts("A", {}, ("x",), b"RIFF", "1", "The first images.")})
    site = write_site(make_boards(r for r in results if not r.point), tmp_path / "site", (), known)
    (picture,) = (site.parent / "pictures").iterdir()
    assert picture.read_bytes() == b"RIFF" and picture.name in (site.parent / "tasks" / "a.html").read_text()


def test_a_file_in_the_way_is_told_in_one_line(results, tmp_path):
    (tmp_path / "site").write_text("mine")
    with pytest.raises(MergebenchError, match="cannot write .*site"):
        write_site(make_boards(r for r in results if not r.point), tmp_path / "site")
    assert (tmp_path / "site").read_text() == "mine"


def test_tiers_and_reported_averages_stand_where_there_are_such(results, known, monkeypatch):
    (board,) = make_boards(r for r in results if not r.point)
    heads = [column["key"] for column in board_view(board, known)["tables"][0]["columns"]]
    assert "reported" not in heads
    rows = tuple(replace(row, tier="self-reported" if row.method == "middle" else "") for row in board.rows)
    published = Reported("x", 2, "y", {"best": 80.0}, ["a", "b"])
    monkeypatch.setattr(views, "reported_of", lambda board: published)
    table = board_view(replace(board, rows=rows), known)["tables"][0]
    shown = {row["label"]: row for row in table["rows"]}
    place = [column["key"] for column in table["columns"]].index("reported")
    best = next(row for row in board.rows if row.method == "best")
    assert shown["Best"]["cells"][place : place + 2] == ["80.0", f"{100 * best.average - 80:+.1f}"]
    assert shown["Middle [self-reported]"]["tier"] == "self-reported" and shown["Least"]["cells"][place] == "-"


def test_what_stands_in_both_tracks_is_one_point_of_the_picture(make_result):
    record = {"trials": 3, "trial": 0, "default": 0.5, "best": 0.5, "space": {"x": [0, 1]}}
    tuned = make_result("a", (50, 50), hyperparameters={"x": 0}, tuned=record)
    (board,) = make_boards([tuned, make_result("b", (40, 40))])
    rows = board_view(board, Known())["tables"][0]["rows"]
    assert [(row["track"], row["point"] is None) for row in rows] == [
        ("published", False), ("published", False), ("tuned", True),
    ]  # fmt: skip


def test_a_method_that_is_not_registered_is_run_by_its_file(results, known, tmp_path):
    site = write_site(make_boards(r for r in results if not r.point), tmp_path / "site", (), known)
    strangers = {r.method for r in results if r.role == "method"} - set(known.methods)
    pages = [(site.parent / "methods" / f"{address(name)}.html").read_text() for name in strangers]
    assert pages and all("--methods FILE.py" in page and "FILE.py is the method" in page for page in pages)
    assert "FILE.py" not in (site.parent / "methods" / "best.html").read_text()
