"""`mergebench evaluate`: any checkpoint of a zoo's backbone, on a suite's test splits."""

from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from mergebench.cli.json_file import add_json_option, writable, write_json
from mergebench.cli.options import (
    DEFAULT_SUITE,
    add_device_options,
    add_encoder_options,
    add_evaluation_options,
    add_suite_options,
    named_encoder,
    one_variant,
)
from mergebench.cli.saying import say


def add_arguments(parser: ArgumentParser) -> None:
    """What `evaluate` takes."""
    parser.add_argument(
        "checkpoint", type=str, help="the encoder's weights (.safetensors), or the folder of a LoRA adapter"
    )
    add_suite_options(parser)
    add_encoder_options(parser)
    add_json_option(parser)
    add_device_options(parser)
    add_evaluation_options(parser)


def execute(config: Namespace) -> int:
    """Evaluate and print counts and accuracies."""
    from mergebench.measuring.measure import resolve_device, set_threads
    from mergebench.running.execution import Executor
    from mergebench.suites.bench import Bench
    from mergebench.weights import formats, resizing
    from mergebench.zoo.set_aside import check_set_aside, made_from

    writable(config.json)
    set_threads(config.threads)
    bench = Bench(
        config.suite or DEFAULT_SUITE,
        config.zoo,
        config.zoo_root,
        allow_duplicates=config.allow_duplicates,
        encoder=named_encoder(config),
        image_size=config.image_size,
    )
    who = f"the checkpoint ({config.checkpoint})"
    state = formats.as_expert(formats.open_weights(Path(config.checkpoint)), who, bench.zoo.base)
    state = bench.zoo.check(state, who)
    variant = one_variant(bench, config.only)
    check_set_aside(who, state, variant.evaluate, bench.zoo.task)
    bench.check_heads(variant)
    for line in bench.zoo.told(variant.evaluate):
        say(line)
    device = resolve_device(config.device)
    executor = Executor(bench, device, precision=config.precision, devices=config.devices)
    outcome, _ = executor.evaluate(dict(state), variant.evaluate, corruption=variant.corruption)
    for task, score in outcome.scores.items():
        say(f"{task:<20} {100 * score.accuracy:5.1f} %  {score.correct}/{score.total}")
    average = sum(s.accuracy for s in outcome.scores.values()) / len(outcome.scores)
    say(f"{'average':<20} {100 * average:5.1f} %")
    named = made_from(state)
    others = [task for task in outcome.scores if task not in named]
    if named and others and set(named) <= set(bench.zoo.config.tasks):  # a name of a file's tells nothing of tasks
        say(f"its header tells of {', '.join(named)}; not of {', '.join(others)}, to be read as unseen tasks' scores")
    counts = {t: {"correct": s.correct, "total": s.total} for t, s in outcome.scores.items()}
    noted = bench.zoo.duplicates(variant.evaluate)
    found = {"average": average, "tasks": counts} | ({"duplicates": noted} if noted else {})
    write_json(config.json, found | resizing.noted(bench.zoo.base, bench.zoo.encoder, {"checkpoint": state}))
    return 0
