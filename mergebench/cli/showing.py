"""The leaderboard as every verb shows it: a table here, the page in the run's folder."""

from collections.abc import Collection

from mergebench.errors import MergebenchError
from mergebench.results import ResultStore


def show_leaderboard(store: ResultStore, only: Collection[str] = ()) -> None:
    """Print the tables of these suites (all, if none is named), write the page of all, and say where it is.

    Raises:
        MergebenchError: there are no results.
    """
    from mergebench.leaderboard.board import make_boards
    from mergebench.leaderboard.page import write_page
    from mergebench.leaderboard.table import print_board

    boards = make_boards(store.all())
    if not boards:
        raise MergebenchError(f"no results in {store.out}; make some: mergebench run --methods all --out {store.out}")
    for board in boards:
        if not only or board.suite in only:
            print_board(board)
    page = write_page(boards, store.out / "leaderboard.html")
    print(f"leaderboard page: {page.resolve()}")
