"""Results as every verb shows them: tables here, the page and the files of suites with variants in the run's folder."""

from collections.abc import Callable, Collection, Sequence
from typing import TypeVar

from mergebench.cli.saying import say
from mergebench.errors import MergebenchError, UnknownNameError
from mergebench.measuring.results import Result, ResultStore

Files = TypeVar("Files")


def show_leaderboard(store: ResultStore, only: Collection[str] = ()) -> None:
    """Print the tables of these suites and studies (all, if none is named), write the page of all, say where it is.

    A suite with variants, and a study, is a series: its tables, picture and counts are written to `series/`. Files that
    are no results, or of which no table can be made, are told and left out.

    Raises:
        MergebenchError: there are no results, or none of a suite or study that is named.
    """
    from mergebench.leaderboard.board import make_boards
    from mergebench.leaderboard.page import write_page
    from mergebench.leaderboard.series import make_series
    from mergebench.leaderboard.series_files import write_series
    from mergebench.leaderboard.series_table import markdown, print_series
    from mergebench.leaderboard.sound import sound
    from mergebench.leaderboard.table import print_board

    def made(some: Sequence[Result]) -> tuple[list, list]:
        series = make_series(some)
        for one in series:
            if not one.axes:
                raise ValueError("it stands at no point of its study")
            markdown(one)  # what stands in its tables is computed only there
        return make_boards(r for r in some if not (r.point or r.study)), series

    results, told = store.survey()
    (boards, series), left_out = sound(results, made)
    for sentence in (*told, *left_out):
        say(sentence)
    if not results:
        raise MergebenchError(f"no results in {store.out}; make some: mergebench run --methods all --out {store.out}")
    there = {r.study or r.suite for r in results}
    for name in only:
        if name not in there:
            raise UnknownNameError(f"suite or study in {store.out}:", name, there)
    for board in boards:
        if not only or board.suite in only:
            print_board(board)
    for one in series:
        if not only or one.name in only:
            files = _written(lambda one=one: write_series(one, store.out / "series"))
            print_series(one)
            if files:
                say(f"tables, picture and counts: {', '.join(str(f) for f in files)}")
    page = _written(lambda: write_page(boards, store.out / "leaderboard.html", series))
    if page:
        say(f"leaderboard page: {page.resolve()}")


def _written(write: Callable[[], Files]) -> Files | None:
    """What was written; None, and told, where a folder may only be read: the tables are here all the same."""
    try:
        return write()
    except MergebenchError as error:
        say(f"not written: {error}")
        return None
