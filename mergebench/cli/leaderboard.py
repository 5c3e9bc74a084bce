"""`mergebench leaderboard`: the tables and the page of stored results, and of submissions beside them."""

from pathlib import Path

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
    parser.add_argument(
        "--submissions",
        type=str | None,
        default=None,
        help="folder of submissions to show too, with or without results; those that come with mergebench, if not "
        "given, beside results of the same suite and zoo; none: no submissions",
    )


def shipped() -> Path:
    """The folder of the submissions that come with mergebench."""
    import mergebench.leaderboard

    return Path(mergebench.leaderboard.__file__).parent / "submissions"


def execute(config: Namespace) -> int:
    """Show."""
    from mergebench.cli.saying import say
    from mergebench.cli.showing import show_leaderboard
    from mergebench.cli.stores import store_of
    from mergebench.submissions.accepted import listed

    store, *others = map(store_of, config.out)
    given = config.submissions
    submitted, told = ([], []) if given == "none" else listed(Path(given) if given else shipped())
    for sentence in told:
        say(sentence)
    show_leaderboard(store, [*config.suite, *config.study], others, submitted, alone=bool(given))
    return 0
