"""`mergebench table`: the tables of stored results as papers print them, on standard output."""

import importlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from jsonargparse import ArgumentParser, Namespace
from jsonargparse.typing import NonNegativeInt

from mergebench.errors import MergebenchError, tell

if TYPE_CHECKING:
    from mergebench.leaderboard.board import Board
    from mergebench.leaderboard.series import Series
    from mergebench.leaderboard.tables.grid import Grid

# format -> the writer's name in the module of the same name
WRITERS = {"latex": "latex", "markdown": "markdown", "csv": "csv_file", "typst": "typst"}


def add_arguments(parser: ArgumentParser) -> None:
    """What `table` takes."""
    parser.add_argument("--out", nargs="+", type=str, default=["runs"], help="folders of results, shown together")
    parser.add_argument("--suite", nargs="+", type=str, default=[], help="only these suites' tables")
    parser.add_argument("--study", nargs="+", type=str, default=[], help="only these studies' tables")
    parser.add_argument("--zoo", nargs="+", type=str, default=[], help="only results of these zoos")
    parser.add_argument("--submissions", type=str | None, default=None, help="folder of submissions to show too")
    parser.add_argument(
        "--format", type=Literal["latex", "markdown", "csv", "typst"], default="markdown", help="what is printed"
    )
    parser.add_argument(
        "--layout",
        type=Literal["tasks", "backbones", "scale", "unseen", "corruptions", "sequential", "experts", "points"] | None,
        default=None,
        help="in place of the one that fits: methods by tasks, by zoos, by a suite's variants, or by any points",
    )
    parser.add_argument(
        "--rows",
        nargs="+",
        type=str,
        default=["all"],
        help="only these: names of methods, wildcards, families; or methods, references",
    )
    parser.add_argument(
        "--columns",
        nargs="+",
        type=str,
        default=[],
        help="names; or tasks, points, average, relative, rank, ranks, track, needs, seconds, peak, reported, "
        "difference",
    )
    parser.add_argument("--digits", type=NonNegativeInt, default=1, help="decimals of accuracies, 6 at most")
    parser.add_argument(
        "--order",
        type=Literal["average", "name", "given", "year"],
        default="average",
        help="of rows; given: as --rows names them; year: of the paper",
    )
    parser.add_argument(
        "--track", type=Literal["published", "tuned", "given", "all"], default="all", help="with whose settings"
    )
    parser.add_argument(
        "--spread", type=Literal["average", "all", "none"], default="average", help="where standard deviations stand"
    )


def execute(config: Namespace) -> int:
    """Print."""
    from mergebench.cli.saying import say
    from mergebench.cli.showing import survey
    from mergebench.cli.spellings import Spellings
    from mergebench.cli.stores import store_of
    from mergebench.leaderboard.tables.choosing import KINDS, Wishes
    from mergebench.leaderboard.tables.layouts import make_grids
    from mergebench.submissions.accepted import listed

    if config.digits > 6:
        raise MergebenchError(f"--digits {config.digits}: at most 6; counts of images have no more to tell")
    wanted = [*config.suite, *config.study]
    submitted, faults = listed(Path(config.submissions)) if config.submissions else ([], [])
    stores = [store_of(out) for out in config.out]
    boards, series, told = survey(stores, wanted, config.zoo, submitted, bool(submitted), rest=False)
    for sentence in [*faults, *told]:
        tell(sentence)
    _check_track(config.track, boards, series)
    there = [(row.method, row.title) for board in boards for row in board.rows]
    there += [(line.method, line.title) for one in series for line in one.lines]
    spelt = Spellings([*there, *((name,) for name in KINDS)])
    rows = tuple(spelt.meant(name) or name for name in config.rows)
    wishes = Wishes(rows, tuple(config.columns), config.order, config.track, config.digits, config.spread)
    grids = make_grids(boards, series, wishes, config.layout)
    if config.format == "csv":
        _check_one(grids)
        for note in grids[0].notes:
            tell(note)
    write = _writer(config.format)
    for line in "\n".join(map(write, grids)).rstrip("\n").split("\n"):
        say(line)
    return 0


def _check_track(track: str, boards: "Sequence[Board]", series: "Sequence[Series]") -> None:
    """Refuses a track in which there is nothing, of which a table would hold references alone."""
    from mergebench.measuring.facts import GIVEN, PUBLISHED, TUNED

    there = {row.track for board in boards for row in board.rows if row.role == "method"}
    lines = [line for one in series for line in one.lines if line.role == "method"]
    there |= {GIVEN if line.given else TUNED if line.tuned else PUBLISHED for line in lines}
    remedies = {
        PUBLISHED: "nothing was measured with published settings here; do: mergebench run --settings published",
        TUNED: "no search has chosen settings here; make some: mergebench tune METHOD",
        GIVEN: "nothing was measured with settings given by hand; those that run's --set gives are",
    }
    if track in remedies and track not in there:
        raise MergebenchError(f"--track {track}: {remedies[track]}")


def _writer(name: str) -> "Callable[[Grid], str]":
    module = importlib.import_module(f"mergebench.leaderboard.tables.{WRITERS[name]}")
    write: Callable[[Grid], str] = getattr(module, WRITERS[name])
    return write


def _check_one(grids: "list[Grid]") -> None:
    if len(grids) > 1:
        names = ", ".join(grid.name for grid in grids)
        raise MergebenchError(f"{len(grids)} tables are no one CSV file ({names}): choose by --suite, --study or --zoo")
