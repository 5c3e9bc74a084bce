"""`mergebench fetch`: all that a suite needs of a zoo, downloaded, checked and decoded ahead of any run."""

from jsonargparse import ArgumentParser, Namespace

from mergebench.cli.options import DEFAULT_SUITE, add_suite_options, wanted_variants


def add_arguments(parser: ArgumentParser) -> None:
    """What `fetch` takes."""
    add_suite_options(parser)
    parser.add_argument("--weights-only", action="store_true", help="base, experts and heads, but no images")


def execute(config: Namespace) -> int:
    """Fetch one thing after the other and tell of each; what was fetched is kept, whatever goes wrong later."""
    from mergebench.bench import Bench
    from mergebench.variant import select

    bench = Bench(config.suite or DEFAULT_SUITE, config.zoo, config.zoo_root)
    variants = select(bench.variants, wanted_variants(config.only))
    zoo = bench.zoo
    zoo.base  # noqa: B018 (it is checked as it is read)
    _tell("base", zoo.name, zoo.origins(()).get("base", ""))
    # A task at a time: whoever stops half-way has whole tasks.
    for task in dict.fromkeys(t for v in variants for t in (*v.merged, *v.evaluate)):
        zoo.expert(task)
        _tell("expert", task, zoo.origins([task]).get(f"experts/{task}", ""))
        zoo.head(task)
        _tell("head", task, f"{len(zoo.card(task).classes)} classes")
        if not config.weights_only:
            counts = {name: len(bench.split(task, name).labels) for name in ("test", "calibration", "validation")}
            told = ", ".join(f"{name} {count:,}" for name, count in counts.items())
            _tell("images", task, f"{told}  {zoo.task(task).origin}".rstrip())
    sources = {v.calibration.source for v in variants} - {"own", "shuffled"}
    for source in sorted(sources) * (not config.weights_only):
        _tell("images", source, f"calibration {len(bench.split(source, 'calibration').labels):,}")
    if config.weights_only:
        print(f"the weights that suite {bench.name!r} needs of zoo {zoo.name!r} are here, its images may not be")
        return 0
    print(f"what suite {bench.name!r} needs of zoo {zoo.name!r} is here")
    return 0


def _tell(what: str, whose: str, facts: str) -> None:
    print(f"{what:<8} {whose:<20} {facts}".rstrip(), flush=True)
