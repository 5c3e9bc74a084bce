"""`mergebench tune`: search methods' hyper-parameters on the validation split, then measure what was chosen."""

from jsonargparse import ArgumentParser, Namespace
from jsonargparse.typing import NonNegativeInt, PositiveFloat, PositiveInt

from mergebench.cli.options import (
    DEFAULT_SUITE,
    TIMEOUT_HELP,
    add_device_options,
    add_quiet_option,
    add_suite_options,
    add_trust_option,
    wanted_variants,
)
from mergebench.cli.saying import say
from mergebench.errors import MergebenchError


def add_arguments(parser: ArgumentParser) -> None:
    """What `tune` takes."""
    parser.add_argument(
        "methods",
        nargs="+",
        type=str,
        help="all, names, wildcards, families, or FILE.py[:FUNCTION]; one budget for all",
    )
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
    parser.add_argument(
        "--studies", type=PositiveInt, default=1, help="searches of so many trials, under seeds of their own; the one "
        "with the median best value chooses (1)"
    )  # fmt: skip
    parser.add_argument("--seed", type=NonNegativeInt, default=0, help="of the search and of everything random in it")
    parser.add_argument(
        "--write", type=str | None, default=None, help="file of what was chosen, for run --settings "
        "(settings/SUITE-ZOO.yaml in the --out folder)"
    )  # fmt: skip
    parser.add_argument("--timeout", type=PositiveFloat | None, default=None, help=TIMEOUT_HELP)
    parser.add_argument("--out", type=str, default="runs", help="folder of results, leaderboard and trials")
    add_trust_option(parser)
    add_device_options(parser)
    add_quiet_option(parser)


def execute(config: Namespace) -> int:
    """Search, run what was chosen, show the leaderboard; 1 if a search found nothing, or a cell failed."""
    from mergebench.cli.best_of_n import write_best_of_n
    from mergebench.cli.search_progress import SearchProgress
    from mergebench.cli.showing import show_leaderboard
    from mergebench.cli.stores import store_of
    from mergebench.leaderboard.notes import failure
    from mergebench.measuring.measure import set_threads
    from mergebench.merging.hyperparameters import parse_assignments
    from mergebench.tuning.search import TuneRequest
    from mergebench.tuning.space import parse_space
    from mergebench.tuning.tuning import plan_searches, tune_all

    store = store_of(config.out)
    set_threads(config.threads)
    request = TuneRequest(
        method="",
        suite=config.suite or DEFAULT_SUITE,
        space=parse_space(config.space),
        fixed=parse_assignments(config.set),
        trials=config.trials,
        studies=config.studies,
        seed=config.seed,
        zoo=config.zoo,
        zoo_root=config.zoo_root,
        only=wanted_variants(config.only),
        device=config.device,
        timeout=config.timeout,
        allow_code=config.allow_code,
        allow_duplicates=config.allow_duplicates,
    )
    with SearchProgress(quiet=config.quiet) as observer:
        programme = plan_searches(request, config.methods, store, config.write)
        outcome = tune_all(programme, store, observer)
    if not outcome.chosen:
        raise MergebenchError("; ".join(outcome.failed))
    show_leaderboard(store, only={r.suite for r in outcome.summary.results})
    for file in write_best_of_n(programme, store.out / "tuning"):
        say(f"best of n trials: {file}")
    say(f"chosen settings: {outcome.place}; to use them: mergebench run --settings {outcome.place}")
    for line in (*outcome.failed, *map(failure, outcome.summary.failed)):
        say(line)
    return 1 if outcome.failed or outcome.summary.failed else 0
