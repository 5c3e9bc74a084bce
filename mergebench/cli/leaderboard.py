"""`mergebench leaderboard`: the tables and the page of stored results."""

from jsonargparse import ArgumentParser, Namespace


def add_arguments(parser: ArgumentParser) -> None:
    """What `leaderboard` takes."""
    parser.add_argument(
        "--out",
        nargs="+",
        type=str,
        default=["runs"],
        help="folders of results; the page of all is written to the first",
    )
    parser.add_argument("--suite", nargs="+", type=str, default=[], help="only these suites' tables")
    parser.add_argument("--study", nargs="+", type=str, default=[], help="only these studies' tables")


def execute(config: Namespace) -> int:
    """Show."""
    from mergebench.cli.showing import show_leaderboard
    from mergebench.measuring.results import ResultStore

    store, *others = map(ResultStore, config.out)
    show_leaderboard(store, only=[*config.suite, *config.study], others=others)
    return 0
