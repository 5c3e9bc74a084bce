"""What a series looks like: tables, Markdown, CSV, picture and page, each held to the results it was made from."""

import csv
import io
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser

import pytest

from mergebench.leaderboard.plot import draw, inline_svg
from mergebench.leaderboard.series import make_series
from mergebench.leaderboard.series_files import write_series
from mergebench.leaderboard.series_table import interval_note, long_csv, markdown, print_series, tables
from mergebench.leaderboard.site.write import write_site
from mergebench.leaderboard.statistics import average_interval, paired_difference

HOSTILE = ["<script>alert(1)</script>", "Ties [ours]", "closing [/bold]", "a | b", "cost $\\unknown$", 'x" onload="y']


def one(results):
    (series,) = make_series(results)
    return series


def note(series):
    return interval_note(series, tables(series))


def table(series, beginning):
    (found,) = [t for t in tables(series) if t.title.startswith(beginning)]
    return {row[0]: dict(zip(found.header[1:], row[1:], strict=True)) for row in found.rows}


@pytest.fixture
def scaling(at):
    """A suite of three points, with a reference, on one seed."""
    told = [("finetuned", "ceiling", 90), ("m", "method", 50), ("n", "method", 20)]
    points = enumerate((2, 4, 8))
    return [at(m, (c - 5 * i, c + i), {"tasks": n}, role=r, position=i) for i, n in points for m, r, c in told]


@pytest.fixture
def crossed(at):
    """A suite of clean images and two corruptions at two severities."""
    points = [("clean", 0), *((k, s) for k in ("contrast", "spatter") for s in (1, 5))]
    return [at("m", (10 * i, 20 * i), {"corruption": k, "severity": s}, position=i) for i, (k, s) in enumerate(points)]


@pytest.fixture
def study(at, counts):
    """A study of two points and three seeds, chosen on the validation split."""
    told = {("m", 0.1): (60, 40), ("m", 0.9): (50, 70), ("n", 0.1): (30, 30), ("n", 0.9): (20, 10)}
    return [
        at(m, (t + s * (m == "m"), t + 2 * s), {"alpha": a}, study="s", seed=s, validation=counts(a=v, b=v),
           hyperparameters={"alpha": a}, varied=["alpha"], position=int(a > 0.5))
        for (m, a), (t, v) in told.items() for s in range(3)
    ]  # fmt: skip


def test_a_cell_is_the_mean_with_half_its_interval(scaling):
    low, high = average_interval([45, 51], [100, 100])
    shown = table(one(scaling), "Average accuracy by tasks")
    assert shown["M"]["4"] == f"48.0 ± {50 * (high - low):.1f}"
    assert list(shown["M"]) == ["2", "4", "8"] and list(shown) == ["Finetuned", "M", "N"]


def test_a_point_that_a_method_lacks_is_a_dash(scaling):
    shown = table(one(scaling[:-1]), "Average accuracy by tasks")
    assert shown["N"]["8"] == "-" and shown["M"]["8"] != "-"


def test_what_all_were_merged_under_stands_beside_the_tables_and_what_varies_does_not(at, tmp_path, capsys):
    told = {"calibration": {"source": "shuffled"}, "restrict": {"blocks": "late"}}
    results = [at("m", (40, 50), {"tasks": n}, conditions=told) for n in (1, 2)]
    results.append(at("p", (90, 90), {"tasks": 1}, role="floor", conditions={"calibration": {}, "restrict": {}}))
    series = one(results)
    assert series.notes == ("All merged with calibration.source=shuffled, restrict.blocks=late.",)
    print_series(series)
    page = write_site([], tmp_path / "site", [series]).read_text()
    assert all(series.notes[0] in text for text in (capsys.readouterr().out, markdown(series), page))
    varied = [
        at("m", (40, 50), {"restrict.blocks": b}, study="s", conditions={"restrict": {"blocks": b}})
        for b in ("early", "late")
    ]
    assert one(varied).notes == one(varied[:1]).notes == ()


def test_failed_cells_are_told_with_their_reason_until_they_succeed(at, tmp_path):
    point = {"tasks": 2}
    failed = at("n", (0, 0), point, status="failed", error="too few <images>", tasks={}, started="2026-01-02")
    series = one([at("m", (40, 50), point), failed])
    assert series.notes == ("failed: n (tasks=2, seed 0): too few <images>",)
    assert "too few &lt;images&gt;" in write_site([], tmp_path / "site", [series]).read_text()
    assert one([at("m", (40, 50), point), failed, at("n", (1, 1), point, started="2026-01-03")]).notes == ()


def test_held_out_tasks_have_a_table_of_their_own(at):
    series = one([at("m", (80, 20), {"held_out": "b"}, merged=["a"])])
    assert table(series, "Average over the tasks not merged")["M"]["b"].startswith("20.0")
    assert table(series, "Average over the tasks merged")["M"]["b"].startswith("80.0")


def test_several_axes_are_averaged_one_by_one(crossed):
    shown = table(one(crossed), "Average accuracy by corruption")["M"]
    assert shown == {"clean": "0.0", "contrast": "22.5", "spatter": "52.5"}  # 1.5 times 10 i: 15, 30 and 45, 60
    assert table(one(crossed), "Average accuracy by severity")["M"] == {"0": "0.0", "1": "30.0", "5": "45.0"}


@pytest.mark.parametrize("points", [1, 2])
def test_however_few_points_are_left_there_is_a_table_of_accuracies(crossed, points):
    # As after `--only corruption=contrast severity=1`: two axes, one value each.
    shown = [cell for t in tables(one(crossed[1 : 1 + points])) for row in t.rows for cell in row[1:]]
    assert any(cell.startswith("15.0") for cell in shown)


def test_columns_stand_in_the_points_order_even_where_the_first_line_lacks_one(at):
    points = [(0.1, 1), (0.5, 1), (0.9, 1), (0.1, 2), (0.5, 2), (0.9, 2)]
    best = [at("best", (90, 90), {"alpha": a, "n": n}, position=i) for i, (a, n) in enumerate(points) if a != 0.1]
    rest = [at("rest", (10, 10), {"alpha": a, "n": n}, position=i) for i, (a, n) in enumerate(points)]
    assert list(table(one(best + rest), "Average accuracy by alpha")["Best"]) == ["0.1", "0.5", "0.9"]


def test_lines_of_one_method_are_told_apart_by_what_differs(at):
    results = [at("m", (1, 1), {"arm": "x"}, hyperparameters={"alpha": a, "n": 3}) for a in (0.1, 0.9)]
    assert set(one(results).labels) == {"M (alpha=0.1)", "M (alpha=0.9)"}


def test_the_chosen_point_is_validations_and_its_number_the_tests(study):
    shown = table(one(study), "Each method's best point")
    assert shown["M"]["chosen"] == "alpha=0.9" and shown["M"]["validation"] == "70.0"
    assert shown["M"]["test, there"].startswith("51.5 ±")
    assert shown["N"]["chosen"] == "alpha=0.1" and shown["N"]["test, there"].startswith("31.0 ±")
    # Both chosen points on the same seeds: 31.0 - 51.5
    told = paired_difference({s: 0.3 + s / 100 for s in range(3)}, {s: 0.5 + 1.5 * s / 100 for s in range(3)})
    assert float(shown["N"]["against the first"]) == pytest.approx(100 * told.mean, abs=0.05)


def test_arms_are_held_against_the_first_by_seed(study):
    shown = table(one(study), "Difference from M, 0.1")
    assert set(shown) == {"M, 0.9", "N, 0.1", "N, 0.9"}
    assert float(shown["M, 0.9"]["difference"]) == pytest.approx(-10)
    told = paired_difference({s: 0.3 + s / 100 for s in range(3)}, {s: 0.6 + 1.5 * s / 100 for s in range(3)})
    low, high = (f"{100 * end:+.2f}" for end in told.interval)
    assert shown["N, 0.1"] == {
        "seeds": "3",
        "difference": f"{100 * told.mean:+.2f}",
        "95 % t interval": f"{low} to {high}",
        "p": f"{told.p:.2g}",
    }


def test_where_seeds_change_nothing_no_chance_is_told(at):
    results = [
        at("m", (c, c), {"alpha": a}, study="s", seed=s, position=i)
        for i, (a, c) in enumerate([(0.1, 30), (0.9, 40)])
        for s in range(3)
    ]
    shown = table(one(results), "Difference from M, 0.1")["M, 0.9"]
    assert shown == {"seeds": "3", "difference": "+10.00", "95 % t interval": "-", "p": "-"}


def test_arms_are_held_against_one_under_the_same_of_the_suites_variants(at):
    told = {(2, 0.1): 80, (2, 0.9): 70, (4, 0.1): 30, (4, 0.9): 35}
    results = [
        at("m", (c + s * (a > 0.5), c), {"tasks": n, "alpha": a}, study="s", seed=s, position=i)
        for i, ((n, a), c) in enumerate(told.items())
        for s in range(3)
    ]
    shown = table(one(results), "Differences, in points")
    assert {arm: (row["from"], float(row["difference"])) for arm, row in shown.items()} == {
        "M, tasks=2,alpha=0.9": ("M, tasks=2,alpha=0.1", pytest.approx(-9.5)),
        "M, tasks=4,alpha=0.9": ("M, tasks=4,alpha=0.1", pytest.approx(5.5)),
    }


def test_one_seed_allows_no_difference_table(study):
    assert not [t for t in tables(one(r for r in study if r.seed == 0)) if t.title.startswith("Difference")]


def test_the_note_says_what_the_intervals_are_over(study, scaling):
    assert "3 seeds" in note(one(study)) and "over test images; it" in note(one(scaling))
    mixed = note(one(r for r in study if r.method == "m" or r.seed == 0))
    assert "over 3 seeds" in mixed and "Where there is one seed, or seeds change nothing: over test images." in mixed


def test_means_over_points_stand_without_interval_and_the_note_says_so(at):
    kinds = [{"corruption": "contrast", "severity": s} for s in range(1, 14)]
    text = markdown(one(at("m", (5 * i, i), point, position=i) for i, point in enumerate(kinds)))
    assert "±" not in text and "Means over several points stand without interval" in text


def test_the_sequence_table_shows_its_three_figures(at):
    rows = [((80, 10), ["a"]), ((60, 50), ["a", "b"])]
    results = [
        at("m", c, {"order": 0, "step": n}, merged=m, position=n, steps=2) for n, (c, m) in enumerate(rows, start=1)
    ]
    shown = table(one(results), "After the last step")["M"]
    assert shown == {"after the last step": "55.0", "backward transfer": "-20.0", "forgetting": "20.0"}


def test_every_count_is_in_the_csv_once(study, scaling):
    for results in (study, scaling):
        rows = list(csv.DictReader(io.StringIO(long_csv(one(results)))))
        for split in ("test", "validation"):
            own = [s for r in results for s in (r.tasks if split == "test" else r.validation).values()]
            mine = [r for r in rows if r["split"] == split]
            assert len(mine) == len(own)
            for field in ("correct", "total"):
                assert sum(int(r[field]) for r in mine) == sum(getattr(s, field) for s in own)
    (row,) = [r for r in rows if (r["method"], r["tasks"], r["task"]) == ("n", "8", "b")]
    assert (row["correct"], row["total"], row["merged"], row["seed"]) == ("22", "100", "True", "0")


@pytest.mark.parametrize("title", ["Plain", *HOSTILE])
def test_every_row_of_a_markdown_table_has_the_headers_cells(at, title):
    text = markdown(one([at("m", (1, 2), {"tasks": n}, title=title) for n in (1, 2)]))
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert rows and {line.replace("\\|", "").count("|") for line in rows} == {4}


@pytest.mark.parametrize("title", HOSTILE)
def test_the_terminal_shows_a_title_as_it_is(at, title, capsys):
    print_series(one([at("m", (40, 50), {"tasks": n}, title=title) for n in (1, 2)]))
    assert title in capsys.readouterr().out


def test_a_picture_has_a_line_for_every_method_and_reference(scaling):
    series = one(scaling)
    (panel,) = draw(series).axes
    drawn = {x.get_label(): (x.get_xdata().tolist(), x.get_ydata().tolist()) for x in panel.get_lines()}
    assert drawn["M"] == ([2, 4, 8], pytest.approx([50, 48, 46]))
    assert set(drawn) == {"Finetuned", "M", "N"}


def test_a_reference_far_from_the_methods_is_told_and_not_drawn(at):
    experts = at("finetuned", (90, 91), {"x": 1}, role="ceiling"), at("finetuned", (90, 92), {"x": 2}, role="ceiling")
    methods = [at("m", (c, c), {"x": x}, position=x) for x, c in ((1, 50), (2, 54))]
    (panel,) = draw(one([*experts, *methods])).axes
    lines = {x.get_label(): x.get_ydata().tolist() for x in panel.get_lines()}
    assert lines.pop("Finetuned: 90.5 to 91.0 (above)") == []
    assert list(lines) == ["M"] and panel.get_ylim()[1] < 70
    (panel,) = draw(one([*experts, *methods, at("n", (70, 70), {"x": 1}), at("n", (72, 72), {"x": 2})])).axes
    assert "Finetuned" in {x.get_label() for x in panel.get_lines()} and panel.get_ylim()[1] > 90


def test_a_reference_near_the_methods_in_one_panel_is_drawn_in_both(at):
    points = ({"held_out": "b"}, {"held_out": "a"})
    results = [at("pretrained", (10, 52), points[0], role="floor", merged=["a"])]
    results += [at("pretrained", (52, 10), points[1], role="floor", merged=["b"])]
    results += [at("m", (60, 50), points[0], merged=["a"]), at("m", (52, 62), points[1], merged=["b"])]
    figure = draw(one(results))
    assert [x.get_text() for x in figure.legends[0].get_texts()] == ["Pretrained", "M"]
    assert len(figure.axes) == 2 and all(len(panel.collections) > 1 for panel in figure.axes)


def test_two_methods_of_one_title_are_both_drawn(at):
    (panel,) = draw(one(at(m, (c, c), {"x": x}, title="M") for m, c in (("m", 40), ("n", 60)) for x in (1, 2))).axes
    assert [x.get_ydata().tolist() for x in panel.get_lines()] == [pytest.approx([60, 60]), pytest.approx([40, 40])]


def test_a_wide_axis_of_numbers_keeps_room_for_each_and_a_place_for_zero(at):
    ridges = [0.0, 0.0001, 0.001, 0.01, 0.1, 1.0]
    (panel,) = draw(one([at("m", (50, 50), {"ridge": r}, position=i) for i, r in enumerate(ridges)])).axes
    places = panel.transData.transform([(r, 0.5) for r in ridges])[:, 0]
    gaps = [b - a for a, b in zip(places, places[1:], strict=False)]
    assert min(gaps) > 0.5 * max(gaps)
    assert [t.get_text() for t in panel.get_xticklabels()] == ["0", "0.0001", "0.001", "0.01", "0.1", "1"]


def test_a_picture_draws_numbers_in_rising_order_whatever_the_files(at):
    series = one(
        [at("m", (c, c), {"alpha": a}, position=i) for i, (a, c) in enumerate([(0.9, 50), (0.1, 10), (0.5, 30)])]
    )
    (drawn,) = [x for x in draw(series).axes[0].get_lines() if x.get_label() == "M"]
    assert (drawn.get_xdata().tolist(), drawn.get_ydata().tolist()) == ([0.1, 0.5, 0.9], pytest.approx([10, 30, 50]))


@pytest.mark.parametrize("name", ["scaling", "crossed", "study"])
def test_a_picture_is_whole_xml_and_the_same_bits_twice(name, request):
    series = one(request.getfixturevalue(name))
    first, second = draw(series), draw(series)
    text = inline_svg(first)
    assert ElementTree.fromstring(text).tag == "{http://www.w3.org/2000/svg}svg"
    assert text == inline_svg(second)


def test_a_study_of_which_only_the_reference_is_there_yet_can_be_shown(make_result, tmp_path):
    # As after an interruption in the first method, or where every method failed.
    floor = make_result("finetuned", (80, 90), role="ceiling", study="s", merged=["a", "b"])
    series = make_series([floor, make_result("m", (0, 0), study="s", status="failed", tasks={})])
    paths = [write_series(one, tmp_path) for one in series]
    assert all(len(written) == 3 for written in paths)
    assert write_site([], tmp_path / "site", series).read_text().rstrip().endswith("</html>")


def test_a_series_none_of_whose_merged_tasks_is_evaluated_can_be_shown(at, tmp_path, capsys):
    series = one([at("m", (10, 30), {"corruption": k}, merged=["c"]) for k in ("clean", "spatter")])
    print_series(series)
    assert "20.0" in capsys.readouterr().out
    write_site([], tmp_path / "site", [series])


def test_a_series_writes_three_whole_files(study, tmp_path):
    series = one(study)
    paths = write_series(series, tmp_path / "series")
    assert [p.name for p in paths] == ["s-two-z.md", "s-two-z.png", "s-two-z.csv"]
    assert sorted(tmp_path.glob("series/*")) == sorted(paths)
    assert paths[0].read_text() == markdown(series) and paths[2].read_text() == long_csv(series)
    assert paths[1].read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


class _Page(HTMLParser):
    """Collects tags, cells, and whatever a page would load from elsewhere."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.loaded, self.handlers, self.cells = [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.loaded += [v for k, v in attributes if k in ("src", "href", "xlink:href", "srcset", "data")]
        self.handlers += [k for k, _ in attributes if k.startswith("on")]
        if tag in ("td", "th", "text"):
            self.cells.append("")

    def handle_data(self, data):
        if self.cells:
            self.cells[-1] += data.strip()


@pytest.mark.parametrize("title", ["Plain", *HOSTILE])
def test_a_page_shows_a_title_as_text_and_loads_nothing(at, title, tmp_path):
    series = one([at("m", (40, 50), {"tasks": n}, title=title) for n in (1, 2)])
    index = write_site([], tmp_path / "site", [series])
    text = index.read_text()
    page = _Page(text)
    (picture,) = (tmp_path / "site" / "pictures").iterdir()
    assert title in page.cells and title in _Page(picture.read_text()).cells
    assert not {"iframe", "object", "embed", "base"} & set(page.tags)
    assert all(a.startswith("#") or (index.parent / a).is_file() for a in page.loaded) and page.handlers == []
    assert "@import" not in text and "url(http" not in text and "url(//" not in text


def test_with_as_many_methods_as_there_are_the_legend_is_whole_and_points_stay_at_their_names(at):
    titles = [f"method-{i:02}" for i in range(28)]
    made = [at(t, (i, i + 1), {"held_out": h}) for i, t in enumerate(titles) for h in ("x", "y", "z")]
    (series,) = make_series(made)
    figure = draw(series)
    figure.canvas.draw()
    box, frame = figure.legends[0].get_window_extent(), figure.bbox
    assert frame.y0 <= box.y0 and box.y1 <= frame.y1
    places = [x for line in figure.axes[0].lines for x in line.get_xdata()]
    assert max(abs(x - round(x)) for x in places) < 0.45
