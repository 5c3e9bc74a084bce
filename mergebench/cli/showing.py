"""Results as every verb shows them: tables here, the page and the files of suites with variants in the run's folder."""

from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from mergebench.catalogue.yaml_files import short_name
from mergebench.cli.saying import say
from mergebench.cli.site_facts import known_of
from mergebench.cli.spellings import meant
from mergebench.cli.steps import Steps
from mergebench.errors import MergebenchError, nearest, tell
from mergebench.measuring.results import Result, ResultStore

if TYPE_CHECKING:
    from mergebench.leaderboard.board import Board
    from mergebench.leaderboard.series import Series

Files = TypeVar("Files")


def read(store: ResultStore, needed: bool = True) -> tuple[list[Result], list[str]]:
    """The results of a folder, and a sentence for every file that is none.

    Args:
        store: the folder.
        needed: whether there must be any.

    Raises:
        MergebenchError: there are none, and must be; the sentences are told.
    """
    with Steps("reading") as steps:
        found, faults = store.survey(steps)
    if needed and not found:
        for fault in faults:
            tell(fault)
        place = store.out if store.out.is_absolute() else f"{store.out} ({store.out.absolute()})"
        raise MergebenchError(f"no results in {place}; make some: mergebench run --methods all --out {store.out}")
    return found, faults


def survey(
    stores: Sequence[ResultStore],
    only: Collection[str] = (),
    zoos: Collection[str] = (),
    submitted: Sequence[Result] = (),
    alone: bool = False,
    rest: bool = True,
) -> "tuple[list[Board], list[Series], list[str]]":
    """The boards and series of all results in some folders.

    Files that are no results, or of which no table can be made, are left out.

    Args:
        stores: the folders; of what several have, the newest counts.
        only: suites and studies of which there must be results.
        zoos: leave out the results of all others.
        submitted: what others submitted, shown beside results of the same suite and zoo.
        alone: whether it is shown without any, too.
        rest: whether boards and series are made of other suites and studies than those in `only`, too.

    Returns:
        Boards (those of the zoos of the first folder first), series, and a sentence for every file that is left out.

    Raises:
        MergebenchError: there are no results, or none of a suite, a study or a zoo that is named.
    """
    from mergebench.leaderboard.shown import unshown_submissions
    from mergebench.leaderboard.sound import sound

    results, told = [], []
    folder_of: dict[str, int] = {}
    for place, store in enumerate(stores):
        found, faults = read(store, needed=not (alone and submitted))
        results += found
        told += faults
        folder_of = {result.zoo: place for result in found} | folder_of
    there = {(r.suite, r.zoo) for r in results if not (r.point or r.study)}
    results += [r for r in submitted if alone or (r.suite, r.zoo) in there]
    where = ", ".join(str(store.out) for store in stores)
    zoos = those_meant(zoos, {r.zoo for r in results}, "zoo", where)
    results = [r for r in results if not zoos or r.zoo in zoos]
    only = those_meant(only, {r.study or r.suite for r in results}, "suite or study", where)
    results = [r for r in results if rest or not only or (r.study or r.suite) in only]
    (boards, series), left_out = sound(results, made)
    boards.sort(key=lambda board: folder_of.get(board.zoo, len(stores)))
    return boards, series, [*told, *left_out, *unshown_submissions(results)]


def made(some: Sequence[Result]) -> "tuple[list[Board], list[Series]]":
    """The boards and series of some results; fails, with whatever error, where one of them cannot be shown."""
    from mergebench.leaderboard.board import make_boards
    from mergebench.leaderboard.series import make_series
    from mergebench.leaderboard.series_table import markdown

    series = make_series(some)
    for one in series:
        if not one.axes:
            raise ValueError("it stands at no point of its study")
        markdown(one)  # what stands in its tables is computed only there
    return make_boards(r for r in some if not (r.point or r.study)), series


def those_meant(names: Collection[str], there: Collection[str], kind: str, where: str) -> list[str]:
    """The stored names that are meant: in any spelling, or by the file of a suite, a study or a zoo.

    Args:
        names: as typed.
        there: the names that results have.
        kind, where: what they are of, and the folders of results, for the message.

    Raises:
        MergebenchError: a name that no result has.
    """
    found = [meant(short_name(name), there) for name in names]
    for name in found:
        if name not in there:
            raise MergebenchError(f"no results of {kind} {name!r} in {where}; {nearest(name, sorted(there))}")
    return found


def show_leaderboard(
    store: ResultStore,
    only: Collection[str] = (),
    others: Sequence[ResultStore] = (),
    submitted: Sequence[Result] = (),
    alone: bool = False,
) -> None:
    """Print the tables of these suites and studies (all, if none is named), write the page of all, say where it is.

    A suite with variants, and a study, is a series: its tables, picture and counts are written to `series/`. Files that
    are no results, or of which no table can be made, are told and left out.

    Args:
        store: of results; what is written is written there.
        only: suites and studies.
        others: more results, to be shown together.
        submitted, alone: as `survey` has them.

    Raises:
        MergebenchError: there are no results, or none of a suite or study that is named.
    """
    from mergebench.leaderboard.series_files import write_series
    from mergebench.leaderboard.series_table import print_series
    from mergebench.leaderboard.site.inspections import read_inspections
    from mergebench.leaderboard.site.write import write_site
    from mergebench.leaderboard.table import print_board

    boards, series, told = survey([store, *others], only, submitted=submitted, alone=alone)
    for sentence in told:
        say(sentence)
    for board in boards:
        if not only or board.suite in only:
            print_board(board)
    for one in series:
        if not only or one.name in only:
            files = _written(partial(write_series, one, store.out / "series"))
            print_series(one)
            if files:
                say(f"tables, picture and counts: {', '.join(str(f) for f in files)}")
    folder = store.out / "site"
    inspections, told = read_inspections([place.out for place in (store, *others)])
    for sentence in told:
        say(sentence)
    with Steps("pages") as steps:
        page = _written(
            lambda: write_site(boards, folder, series, known_of(boards, series, folder), inspections, steps)
        )
    if page:
        say(f"leaderboard page: {page.resolve()}")


def _written(write: Callable[[], Files]) -> Files | None:
    """What was written; None, and told, where a folder may only be read: the tables are here all the same."""
    try:
        return write()
    except MergebenchError as error:
        say(f"not written: {error}")
        return None
