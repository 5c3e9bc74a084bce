"""`mergebench fetch`: all that a suite needs of a zoo, downloaded, checked and decoded ahead of any run."""

from typing import TYPE_CHECKING

from jsonargparse import ArgumentParser, Namespace

from mergebench.cli.complaints import complain
from mergebench.cli.options import DEFAULT_SUITE, add_suite_options, wanted_variants
from mergebench.cli.saying import say
from mergebench.errors import MergebenchError

if TYPE_CHECKING:
    from mergebench.suites.bench import Bench


def add_arguments(parser: ArgumentParser) -> None:
    """What `fetch` takes."""
    add_suite_options(parser)
    parser.add_argument("--weights-only", action="store_true", help="base, experts and heads, but no images")


def execute(config: Namespace) -> int:
    """Fetch one thing after the other and tell of each; what was fetched is kept, whatever goes wrong with another."""
    from mergebench.suites.bench import Bench
    from mergebench.suites.variant import select
    from mergebench.weights.hub import HubError

    bench = Bench(config.suite or DEFAULT_SUITE, config.zoo, config.zoo_root, allow_duplicates=config.allow_duplicates)
    variants = select(bench.variants, wanted_variants(config.only))
    zoo, images = bench.zoo, not config.weights_only
    zoo.base  # noqa: B018 (it is checked as it is read)
    _tell("base", zoo.name, zoo.origins(()).get("base", ""))
    tasks = dict.fromkeys(t for v in variants for t in (*v.merged, *v.evaluate))
    sources = {v.calibration.source for v in variants} - {"own", "shuffled", *tasks} if images else set()
    # A task at a time: whoever stops half-way has whole tasks.
    lacking = 0
    for task in (*tasks, *sorted(sources)):
        try:
            if task in tasks:
                _fetch_weights(bench, task)
            if images:
                _fetch_images(bench, task, ("test", "calibration") if task in tasks else ("calibration",))
        except HubError:
            raise
        except MergebenchError as error:
            complain(error)
            lacking += 1
    if lacking:
        say(f"{lacking} of {len(tasks) + len(sources)} tasks are not whole")
        return 2
    if images:
        say(f"what suite {bench.name!r} needs of zoo {zoo.name!r} is here")
    else:
        say(f"the weights that suite {bench.name!r} needs of zoo {zoo.name!r} are here, its images may not be")
    return 0


def _fetch_weights(bench: "Bench", task: str) -> None:
    zoo = bench.zoo
    zoo.expert(task)
    _tell("expert", task, zoo.origins([task]).get(f"experts/{task}", ""))
    zoo.head(task)
    _tell("head", task, f"{len(zoo.card(task).classes)} classes")


def _fetch_images(bench: "Bench", task: str, splits: tuple[str, ...]) -> None:
    """Downloads all of a task's data; decodes these splits (validation when something is first chosen on it)."""
    told = ", ".join(f"{split} {len(bench.split(task, split).labels):,}" for split in splits)
    _tell("images", task, f"{told}  {bench.zoo.task(task).origin}".rstrip())


def _tell(what: str, whose: str, facts: str) -> None:
    say(f"{what:<8} {whose:<20} {facts}".rstrip(), flush=True)
