"""Results as every verb shows them: tables here, the page and the files of suites with variants in the run's folder."""

from collections.abc import Collection

from mergebench.cli.saying import say
from mergebench.errors import MergebenchError, UnknownNameError
from mergebench.measuring.results import ResultStore


def show_leaderboard(store: ResultStore, only: Collection[str] = ()) -> None:
    """Print the tables of these suites and studies (all, if none is named), write the page of all, say where it is.

    A suite with variants, and a study, is a series: its tables, picture and counts are written to `series/`.

    Raises:
        MergebenchError: there are no results, or none of a suite or study that is named.
    """
    from mergebench.leaderboard.board import make_boards
    from mergebench.leaderboard.page import write_page
    from mergebench.leaderboard.series import make_series
    from mergebench.leaderboard.series_files import write_series
    from mergebench.leaderboard.series_table import print_series
    from mergebench.leaderboard.table import print_board

    results = list(store.all())
    boards = make_boards(r for r in results if not (r.point or r.study))
    series = make_series(results)
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
            files = write_series(one, store.out / "series")
            print_series(one)
            say(f"tables, picture and counts: {', '.join(str(f) for f in files)}")
    page = write_page(boards, store.out / "leaderboard.html", series)
    say(f"leaderboard page: {page.resolve()}")
