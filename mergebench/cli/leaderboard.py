"""`mergebench leaderboard`: the tables and the page of stored results."""

from jsonargparse import ArgumentParser, Namespace


def add_arguments(parser: ArgumentParser) -> None:
    """What `leaderboard` takes."""
    parser.add_argument("--out", type=str, default="runs", help="folder of results")
    parser.add_argument("--suite", nargs="+", type=str, default=[], help="only these suites' and studies' tables")


def execute(config: Namespace) -> int:
    """Show.

    Raises:
        UnknownNameError: there are no results of a suite that is named.
    """
    from mergebench.cli.showing import show_leaderboard
    from mergebench.errors import UnknownNameError
    from mergebench.results import ResultStore

    store = ResultStore(config.out)
    there = {r.study or r.suite for r in store.all()}
    for name in config.suite:
        if there and name not in there:
            raise UnknownNameError(f"suite or study in {store.out}:", name, there)
    show_leaderboard(store, only=config.suite)
    return 0
