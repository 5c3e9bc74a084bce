"""`mergebench run`: plan, run what is not done, show and write the leaderboard."""

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Literal

from jsonargparse import ArgumentParser, Namespace
from jsonargparse.typing import NonNegativeInt, PositiveFloat, PositiveInt

from mergebench.cli.options import (
    DEFAULT_SUITE,
    TIMEOUT_HELP,
    add_device_options,
    add_evaluation_options,
    add_memory_option,
    add_quiet_option,
    add_suite_options,
    add_trust_option,
    add_verbose_option,
    memory_of,
    wanted_variants,
)
from mergebench.cli.saying import say
from mergebench.errors import HyperparameterError, MergebenchError, counted

if TYPE_CHECKING:
    from mergebench.running.engines.cluster import Cluster
    from mergebench.running.engines.processes import Processes
    from mergebench.running.planned import Plan, RunRequest
    from mergebench.running.runner import Found


def add_arguments(parser: ArgumentParser) -> None:
    """What `run` takes."""
    parser.add_argument("--config", type=str, help="YAML file with any of these options, as suite: tiny-8")
    parser.add_argument(
        "--methods", nargs="+", type=str, default=[], help="all, names, wildcards, families, or FILE.py[:FUNCTION]"
    )
    add_suite_options(parser)
    parser.add_argument("--study", type=str | None, default=None, help="a study or a YAML file of one")
    parser.add_argument(
        "--seeds", nargs="+", type=NonNegativeInt, default=[], help="one cell of every method for each (0)"
    )
    parser.add_argument("--set", nargs="+", type=str, default=[], help="hyper-parameters, as METHOD.NAME=VALUE")
    parser.add_argument(
        "--settings", nargs="+", type=str, default=[], help="published (the cards' defaults), tuned (installed choices "
        "of that suite and zoo), or FILE.yaml that `tune` wrote; several: cells of each (tuned where there are choices)"
    )  # fmt: skip
    parser.add_argument(
        "--hyperparameters", type=dict[str, dict[str, Any]], default={}, help="the same as --set, for --config"
    )
    parser.add_argument("--out", type=str, default="runs", help="folder of results and leaderboard")
    parser.add_argument("--timeout", type=PositiveFloat | None, default=None, help=TIMEOUT_HELP)
    parser.add_argument(
        "--engine",
        type=Literal["local", "ray"],
        default="local",
        help="what computes: this machine, or a Ray cluster (needs the extra: pip install 'mergebench[ray]')",
    )
    parser.add_argument(
        "--workers", type=PositiveInt, default=1, help="processes of this machine that share the cells (1: this one)"
    )
    parser.add_argument("--shard", type=str | None, default=None, help="I/N: only the I-th of N parts of the cells")
    parser.add_argument("--dry-run", action="store_true", help="check what is asked for, and tell what would be run")
    add_trust_option(parser)
    add_device_options(parser)
    add_quiet_option(parser)
    add_verbose_option(parser)
    add_memory_option(parser)
    add_evaluation_options(parser)


def hyperparameters(config: Namespace) -> dict[str, dict[str, Any]]:
    """`--hyperparameters` and `--set` together; the latter wins.

    Raises:
        HyperparameterError: an item that does not name its method.
    """
    from mergebench.merging.hyperparameters import parse_assignments

    given = {m: dict(values) for m, values in config.hyperparameters.items()}
    for key, value in parse_assignments(config.set).items():
        method, dot, name = key.partition(".")
        if not dot:
            raise HyperparameterError(f"--set {key}: say whose it is, METHOD.{key}=VALUE")
        given.setdefault(method, {})[name] = value
    return given


def execute(config: Namespace) -> int:
    """Run; 1 if a cell failed."""
    from mergebench.cli.dry_run import show_plan
    from mergebench.cli.progress import ProgressObserver
    from mergebench.cli.showing import show_leaderboard
    from mergebench.cli.stores import store_of
    from mergebench.data.content import nothing_kept
    from mergebench.leaderboard.notes import failure
    from mergebench.running.groups import part_named, shard
    from mergebench.running.planned import RunRequest
    from mergebench.running.remembered import recalled
    from mergebench.running.runner import look, run

    if not (config.methods or config.study):
        raise MergebenchError("--methods: say which, as --methods all; only a study brings its own")
    store = store_of(config.out)
    request = RunRequest(
        methods=config.methods,
        suite=config.suite or (None if config.study else DEFAULT_SUITE),
        study=config.study,
        only=wanted_variants(config.only),
        seeds=config.seeds,
        zoo=config.zoo,
        zoo_root=config.zoo_root,
        hyperparameters=hyperparameters(config),
        device=config.device,
        precision=config.precision,
        devices=config.devices,
        download=not config.dry_run,
        allow_code=config.allow_code,
        allow_duplicates=config.allow_duplicates,
        memory=memory_of(config),
        settings=config.settings,
    )
    part = part_named(config.shard) if config.shard else None
    engine = None if config.dry_run else engine_of(request, config)
    request = engine.request if engine else request
    observing = ProgressObserver(quiet=config.quiet, verbose=config.verbose)
    with observing as observer, nothing_kept() if config.dry_run else nullcontext():
        plan = recalled(request) if part is None else None  # of a plan that was remembered it cannot be told
        found = look(plan, store) if plan else []
        stored: list[Found] | None = found
        if plan is None or not (config.dry_run or all(result for result, _ in found)):
            plan, stored = _made(request, config), None
        if part is not None:
            plan = shard(plan, *part)
        for line in plan.told:
            say(line)
        if config.dry_run:
            show_plan(plan, store)
            return 0
        summary = run(plan, store, observer, config.timeout, stored, engine)
    computed = len(summary.results) - summary.reused
    say(f"{counted(computed, 'cell')} computed, {summary.reused} reused, in {summary.seconds:.1f} s")
    show_leaderboard(store, only={r.study or r.suite for r in summary.results})
    for result in summary.failed:
        say(failure(result))
    return 1 if summary.failed else 0


def engine_of(request: "RunRequest", config: Namespace) -> "Cluster | Processes | None":
    """What computes the cells, as `--engine` and `--workers` name it; None for this process.

    Raises:
        MergebenchError: they do not go together, or Ray is not installed.
    """
    if config.engine == "local":
        if config.workers == 1:
            return None
        from mergebench.running.engines.processes import Processes

        return Processes(request, config.workers, config.threads)
    if config.workers != 1:
        raise MergebenchError(
            f"--workers {config.workers} is for --engine local; a cluster has as many workers as it has room for"
        )
    from mergebench.running.engines.cluster import Cluster

    return Cluster(request, config.threads)


def _made(request: "RunRequest", config: Namespace) -> "Plan":
    """A plan that can be run; one that is only shown leaves nothing behind."""
    # Where an earlier plan will do, torch and timm, which take seconds to import, are not needed.
    from mergebench.measuring.measure import set_threads
    from mergebench.running.plan import make_plan
    from mergebench.running.remembered import remembering

    set_threads(config.threads)
    return make_plan(request) if config.dry_run else remembering(request, make_plan)
