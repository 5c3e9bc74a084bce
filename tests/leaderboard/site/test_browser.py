"""The site in a real browser: sorting, filters, tabs, links, exports, pictures, and other people's texts as texts."""

import csv
import json
from pathlib import Path

import pytest

from mergebench.leaderboard.board import make_boards
from mergebench.leaderboard.site import write
from mergebench.leaderboard.site.write import write_site

HOSTILE = "<img src=x onerror=alert(1)></script><script>alert(2)</script>"
VIEW = "two--z"
LINES = f"#{VIEW} [data-part='0'] tbody tr"


def labels(page):
    """The methods of the rows that are shown, in their order."""
    return page.eval_on_selector_all(f"{LINES} th a:first-child", "links => links.map(a => a.textContent)")


def test_rows_sort_by_any_column_by_mouse_and_by_key(site, opened):
    page = opened(site)
    head = page.locator(f"#{VIEW} thead th", has_text="average").first
    head.click()
    falling = labels(page)
    assert head.get_attribute("aria-sort") == "descending" and falling[0] == "Experts"
    head.locator("[role=button]").focus()
    page.keyboard.press("Enter")
    page.wait_for_selector(f"#{VIEW} thead th[aria-sort=ascending]")
    numbered = [name for name in labels(page) if name != "Broken"]
    assert numbered == [name for name in reversed(falling) if name != "Broken"]


def test_filters_leave_the_rows_that_fit_and_stand_in_the_address(site, opened):
    page = opened(site)
    page.select_option(f"#{VIEW} select[name=family]", "calibration")
    assert labels(page) == ["Best"]
    assert "family=calibration" in page.url
    assert page.locator(f"#{VIEW} [data-part='0'] p[role=status]").text_content() == "1 of 6 rows"
    page.select_option(f"#{VIEW} select[name=family]", "")
    page.fill(f"#{VIEW} input[name=q]", "midd")
    assert labels(page) == ["Middle"]


def test_an_address_opens_its_tab_filter_order_and_row(site, opened):
    page = opened(site, f"#{VIEW}?family=data-free&sort=average:asc")
    names = labels(page)
    assert "Best" not in names and names.index("Least") < names.index("Middle")
    link = page.locator(f"#{VIEW} a.link[aria-label='link to the row Middle']").first.get_attribute("href")
    page = opened(site, link)
    assert page.locator("tr.picked").count() == 1 and "Middle" in page.locator("tr.picked").text_content()


def test_tabs_show_one_board_each_and_go_by_arrow_keys(site, opened):
    page = opened(site)
    first, second = page.locator("[role=tab]").all()
    assert first.get_attribute("aria-selected") == "true" and page.locator(f"#{VIEW}").is_visible()
    first.focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_selector("#series--scale--z", state="visible")
    assert second.get_attribute("aria-selected") == "true" and not page.locator(f"#{VIEW}").is_visible()
    assert page.locator("#series--scale--z figure img").evaluate("image => image.complete && image.naturalWidth > 0")


@pytest.mark.parametrize("kind", ["CSV", "JSON", "Markdown", "LaTeX"])
def test_what_is_shown_can_be_taken_along(site, opened, kind):
    page = opened(site, f"#{VIEW}?q=hostile")
    page.fill(f"#{VIEW} input[name=q]", "")
    with page.expect_download() as found:
        page.locator(f"#{VIEW} [data-part='0'] .exports button", has_text=kind).click()
    text = Path(found.value.path()).read_text(encoding="utf-8")
    if kind == "CSV":
        rows = list(csv.DictReader(text.splitlines()))
        assert len(rows) == 6 and rows[1]["method"] == "Best" and rows[1]["#"] == "1"
    elif kind == "JSON":
        rows = json.loads(text)["rows"]
        assert rows[1]["method"] == "Best" and isinstance(rows[1]["average"], float)
    elif kind == "Markdown":
        assert text.splitlines()[1].startswith("| ---: |") and "<img" not in text
    else:
        assert "\\toprule" in text and "\\textless{}img" in text
        assert text.count(" \\\\\n") == 7


def test_pictures_stand_with_names_and_can_be_focused(site, opened):
    page = opened(site)
    points = page.locator(f"#{VIEW} .chart").first.locator("svg a")
    assert points.count() == 4  # methods; the ceiling is no merge
    assert page.locator(f"#{VIEW} .chart svg path.step").count() == 1
    points.first.focus()
    assert "%" in page.locator(f"#{VIEW} .chart p.told").first.text_content()
    page.select_option(f"#{VIEW} .chart select", "images")
    assert "images" in page.locator(f"#{VIEW} .chart svg").first.get_attribute("aria-label")
    ranking = page.locator(f"#{VIEW} .chart", has_text="mean rank")
    assert ranking.locator("svg path.leader").count() == 4


def test_a_title_with_markup_is_a_text_wherever_it_stands(site, opened):
    page = opened(site)
    assert HOSTILE in labels(page)
    assert page.locator("main img[src=x]").count() == 0 and page.locator("main script").count() == 0


def test_boards_beyond_the_first_rows_are_made_when_they_are_opened(results, tmp_path, opened, monkeypatch):
    monkeypatch.setattr(write, "PLAIN_ROWS", 0)
    index = write_site(make_boards(r for r in results if not r.point), tmp_path / "site")
    assert "Middle" not in index.read_text()
    page = opened(index)
    assert {"Best", "Middle", HOSTILE} <= set(labels(page)) and page.locator("main img[src=x]").count() == 0
    assert page.locator(f"#{VIEW} thead th[scope=col]").count() == page.locator(f"#{VIEW} thead th").count() > 8


def test_pages_of_methods_and_tasks_open(site, opened, browser):
    page = opened(site)
    page.locator(f"#{VIEW} tbody th a", has_text="Best").first.click()
    page.wait_for_selector("math")
    assert "θ" in page.locator("math").first.text_content()
    page.locator("main h3 a").first.click()
    page.wait_for_selector("tr.picked")
    assert "Best" in page.locator("tr.picked").text_content()


@pytest.mark.parametrize("width", [1440, 390])
def test_the_page_itself_does_not_scroll_sideways(site, opened, width):
    page = opened(site)
    page.set_viewport_size({"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
