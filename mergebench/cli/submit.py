"""`mergebench submit`: a method checked, measured on a suite, and packed into one file that anybody can verify."""

from pathlib import Path
from typing import Literal

from jsonargparse import ArgumentParser, Namespace
from jsonargparse.typing import NonNegativeInt, PositiveFloat

from mergebench.cli.options import (
    DEFAULT_SUITE,
    TIMEOUT_HELP,
    add_device_options,
    add_evaluation_options,
    add_memory_option,
    add_quiet_option,
    add_verbose_option,
)
from mergebench.cli.saying import say
from mergebench.errors import MergebenchError, counted, tell


def add_arguments(parser: ArgumentParser) -> None:
    """What `submit` takes."""
    parser.add_argument("method", type=str, help="FILE.py:FUNCTION, or a method's name")
    parser.add_argument(
        "--suite", type=str, default=DEFAULT_SUITE, help="a suite of one variant, or a YAML file of one"
    )
    parser.add_argument("--zoo", type=str | None, default=None, help="in place of the suite's zoo")
    parser.add_argument("--zoo-root", type=str | None, default=None, help="folder that replaces the zoo's weights")
    parser.add_argument("--seeds", nargs="+", type=NonNegativeInt, default=[0, 1, 2], help="measured, each (0 1 2)")
    parser.add_argument("--set", nargs="+", type=str, default=[], help="hyper-parameters, as NAME=VALUE")
    parser.add_argument("--author", type=str, default="", help="who stands for the numbers")
    parser.add_argument("--licence", type=str, default="", help="of code and numbers, as MIT or CC-BY-4.0")
    parser.add_argument(
        "--implementation",
        type=Literal["authors", "re-implementation"],
        default="re-implementation",
        help="whose code it is: the method's authors', or a re-implementation",
    )
    parser.add_argument("--output", type=str, default="submissions", help="folder of the submission")
    parser.add_argument("--out", type=str, default="runs", help="folder of results; what is done is not done again")
    parser.add_argument("--timeout", type=PositiveFloat | None, default=None, help=TIMEOUT_HELP)
    add_device_options(parser)
    add_quiet_option(parser)
    add_verbose_option(parser)
    add_memory_option(parser)
    add_evaluation_options(parser)


def execute(config: Namespace) -> int:
    """Check, measure and pack; 1 if the method does not conform, or a seed failed."""
    from mergebench.catalogue import registry
    from mergebench.cli.check import conforms
    from mergebench.cli.options import memory_of
    from mergebench.cli.progress import ProgressObserver
    from mergebench.cli.stores import store_of
    from mergebench.conformance.candidate import Candidate
    from mergebench.leaderboard.notes import failure
    from mergebench.measuring.facts import PUBLISHED
    from mergebench.measuring.measure import set_threads
    from mergebench.merging.hyperparameters import parse_assignments
    from mergebench.running.plan import make_plan
    from mergebench.running.planned import RunRequest
    from mergebench.running.runner import run
    from mergebench.submissions.packing import draft, pack
    from mergebench.weights.writing import check_writable

    card = registry.method(config.method)
    given = parse_assignments(config.set)
    if card.role != "method":
        raise MergebenchError(f"{card.name!r} is a reference, which every board has; submit a method")
    candidate = Candidate(card, given)  # wrong settings show before anything is run
    set_threads(config.threads)
    request = RunRequest(
        methods=[config.method],
        suite=config.suite,
        zoo=config.zoo,
        zoo_root=config.zoo_root,
        seeds=config.seeds,
        hyperparameters={card.name: given} if given else {},
        device=config.device,
        precision=config.precision,
        devices=config.devices,
        memory=memory_of(config),
        settings=[PUBLISHED],  # its own, and what --set says
    )
    store = store_of(config.out)
    plan = make_plan(request)
    submitter = {"author": config.author, "licence": config.licence, "implementation": config.implementation}
    made = draft(plan, submitter)
    bench = plan.workbench
    path = Path(config.output) / f"{bench.name}-{card.name.replace('/', '_')}.json"
    for file in (path, path.with_suffix(".npz")):
        check_writable(file)
    for option, value in (("--author", config.author), ("--licence", config.licence)):
        if not value:  # before the work, though what is measured is not lost
            tell(f"the submission will state no {option[2:]}, which a listed one must; give {option}")
    if not conforms(candidate):
        say(f"not submitted: {card.name} does not keep what every method must")
        return 1
    with ProgressObserver(quiet=config.quiet, verbose=config.verbose) as observer:
        summary = run(plan, store, observer, config.timeout)
    for result in summary.failed:
        say(failure(result))
    if summary.failed:
        say("not submitted: a cell failed")
        return 1
    found = pack(made, store, path)
    average = sum(r.average or 0.0 for r in summary.results if r.role == "method") / len(made.cells)
    sizes = sum(file.stat().st_size for file in (path, path.with_suffix(".npz")))
    named = f"{card.title} on {bench.name} v{bench.suite.version}"
    say(f"{named}: {100 * average:.1f} % over {counted(len(made.cells), 'seed')}")
    say(f"submission: {path} and {path.with_suffix('.npz').name} ({sizes:,} bytes), sha256 {found.digest}")
    say(f"hold it to what it says: mergebench verify {path} --run-code")
    return 0
