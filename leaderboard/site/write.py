"""Writing the site: every file appears whole, those that are as they were are left, those of nothing any more go."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from mergebench.leaderboard.board import Board
from mergebench.leaderboard.media import for_page
from mergebench.leaderboard.series import Series
from mergebench.leaderboard.site.inspections import Inspection, inspection_view
from mergebench.leaderboard.site.known import Known, sheet_path, task_path
from mergebench.leaderboard.site.method_page import method_pages
from mergebench.leaderboard.site.pictures import series_picture
from mergebench.leaderboard.site.ranking import ranking_script
from mergebench.leaderboard.site.scripts import as_script
from mergebench.leaderboard.site.task_page import task_pages
from mergebench.leaderboard.site.views import board_view, series_view
from mergebench.weights.writing import writing

# Rows that stand in the first page as HTML, for readers without scripts; tables beyond these are loaded when opened.
PLAIN_ROWS = 400
# Folders of which every file is made here, so that what is not made any more may go.
OWN = ("data", "methods", "tasks", "pictures")
ENDINGS = (".html", ".js", ".svg", ".webp", ".png")
STATIC = ("site.css", "site.js", "table.js", "export.js", "charts.js")
VENDOR = ("datatables-3.1.5.min.js", "datatables-licence.txt")


def write_site(
    boards: Sequence[Board],
    folder: str | Path,
    series: Sequence[Series] = (),
    known: Known | None = None,
    inspections: Sequence[Inspection] = (),
    tell: Callable[[str, int, int], None] | None = None,
) -> Path:
    """Write the pages of all boards and series.

    Args:
        boards: in the order to be shown.
        folder: where to; other files in it are left alone.
        series: suites with variants, and studies.
        known: what there is to tell of methods and tasks beyond their results.
        inspections: of zoos' task vectors.
        tell: told how many of how many boards and pages are made.

    Returns:
        The first page.

    Raises:
        MergebenchError: the folder cannot be written.
    """
    folder, known = Path(folder), known or Known()
    tell = tell or (lambda what, done, total: None)
    environment = Environment(
        loader=PackageLoader("mergebench.leaderboard.site", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=for_page,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    content: dict[str, str | bytes] = {}
    views = []
    for number, board in enumerate(boards):
        tell("boards", number, len(boards))
        view = board_view(board, known)
        name = f"{view['id']}--ranks"
        content[f"data/{name}.js"] = ranking_script(board, name, kept(folder / "data" / f"{name}.js"))
        views.append(view)
    for one in series:
        view = series_view(one, "")
        view["picture"] = f"pictures/{view['id']}.svg"
        content[view["picture"]] = series_picture(one, kept(folder / view["picture"]))
        views.append(view)
    for inspection in inspections:
        view, pictures = inspection_view(inspection)
        content |= pictures
        views.append(view)
    for view in views:
        content[f"data/{view['id']}.js"] = as_script(view["id"], view)
    pages = {**method_pages(boards, series, known), **task_pages(boards, known)}
    for number, (path, (template, facts)) in enumerate(pages.items()):
        tell("pages", number, len(pages))
        content[path] = environment.get_template(template).render(root="../", **facts)
    for name, task in known.tasks.items():
        if task.sheet and task_path(name) in pages:
            content[sheet_path(name, task.edition)] = task.sheet
    when = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    facts = {"views": views, "plain": _plain(views), "when": when, "root": ""}
    static = files("mergebench.leaderboard.site").joinpath("static")
    content |= {f"static/{name}": static.joinpath(name).read_bytes() for name in STATIC}
    content |= {f"static/{name}": static.joinpath("vendor", name).read_bytes() for name in VENDOR}
    content["index.html"] = environment.get_template("index.html").render(**facts)
    for path, text in content.items():
        _put(folder / path, text)
    _clear(folder, content)
    return folder / "index.html"


def _plain(views: Sequence[Mapping[str, Any]]) -> set[str]:
    """The views whose tables stand in the first page."""
    left, found = PLAIN_ROWS, {view["id"] for view in views if view["kind"] == "inspection"}
    for view in (view for view in views if view["id"] not in found):
        rows = sum(len(table["rows"]) for table in view["tables"])
        if rows <= left:
            found.add(view["id"])
            left -= rows
    return found


def kept(path: Path) -> bytes:
    """What a file holds; nothing of one that is not there or cannot be read."""
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _put(path: Path, content: str | bytes) -> None:
    data = content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content
    if kept(path) == data:
        return
    with writing(path) as temporary:
        temporary.write_bytes(data)


def _clear(folder: Path, content: Mapping[str, object]) -> None:
    """Remove pages, data and pictures of what is no longer among the results: a link to them would show old numbers."""
    for part in OWN:
        for path in (folder / part).glob("*"):
            if path.suffix in ENDINGS and f"{part}/{path.name}" not in content:
                with suppress(OSError):
                    path.unlink()
