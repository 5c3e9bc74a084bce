"""`mergebench tune`: search a method's hyper-parameters on the validation split, then measure what was chosen."""

from jsonargparse import ArgumentParser, Namespace
from jsonargparse.typing import NonNegativeInt, PositiveFloat, PositiveInt

from mergebench.cli.options import (
    DEFAULT_SUITE,
    TIMEOUT_HELP,
    add_device_options,
    add_suite_options,
    add_trust_option,
    wanted_variants,
)
from mergebench.cli.saying import say


def add_arguments(parser: ArgumentParser) -> None:
    """What `tune` takes."""
    parser.add_argument("method", type=str, help="a method's name, or FILE.py:FUNCTION")
    add_suite_options(parser)
    parser.add_argument(
        "--space",
        nargs="+",
        type=str,
        default=[],
        help="NAME=LOW:HIGH or NAME=A,B,C: what to search, in place of the method's own ranges or beside them",
    )
    parser.add_argument("--set", nargs="+", type=str, default=[], help="NAME=VALUE: not searched")
    parser.add_argument("--trials", type=PositiveInt, default=20, help="settings to try, the default one first (20)")
    parser.add_argument("--seed", type=NonNegativeInt, default=0, help="of the search and of everything random in it")
    parser.add_argument("--timeout", type=PositiveFloat | None, default=None, help=TIMEOUT_HELP)
    parser.add_argument("--out", type=str, default="runs", help="folder of results, leaderboard and trials")
    add_trust_option(parser)
    add_device_options(parser)


def execute(config: Namespace) -> int:
    """Search, run what was chosen, show the leaderboard; 1 if the chosen cell or the experts failed."""
    from mergebench.cli.search_progress import SearchProgress
    from mergebench.cli.showing import show_leaderboard
    from mergebench.leaderboard.notes import failure
    from mergebench.measuring.measure import set_threads
    from mergebench.measuring.results import ResultStore
    from mergebench.merging.hyperparameters import parse_assignments
    from mergebench.tuning.space import parse_space
    from mergebench.tuning.tuning import TuneRequest, tune

    store = ResultStore(config.out)
    set_threads(config.threads)
    request = TuneRequest(
        method=config.method,
        suite=config.suite or DEFAULT_SUITE,
        space=parse_space(config.space),
        fixed=parse_assignments(config.set),
        trials=config.trials,
        seed=config.seed,
        zoo=config.zoo,
        zoo_root=config.zoo_root,
        only=wanted_variants(config.only),
        device=config.device,
        timeout=config.timeout,
        allow_code=config.allow_code,
        allow_duplicates=config.allow_duplicates,
    )
    with SearchProgress() as observer:
        summary = tune(request, store, observer)
    show_leaderboard(store, only={r.suite for r in summary.results})
    for result in summary.failed:
        say(failure(result))
    return 1 if summary.failed else 0
