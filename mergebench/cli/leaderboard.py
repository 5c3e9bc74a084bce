"""`mergebench leaderboard`: the tables and the page of stored results."""

from jsonargparse import ArgumentParser, Namespace


def add_arguments(parser: ArgumentParser) -> None:
    """What `leaderboard` takes."""
    parser.add_argument("--out", type=str, default="runs", help="folder of results")
    parser.add_argument("--suite", nargs="+", type=str, default=[], help="only these suites' tables")
    parser.add_argument("--study", nargs="+", type=str, default=[], help="only these studies' tables")


def execute(config: Namespace) -> int:
    """Show."""
    from mergebench.cli.showing import show_leaderboard
    from mergebench.measuring.results import ResultStore

    show_leaderboard(ResultStore(config.out), only=[*config.suite, *config.study])
    return 0
