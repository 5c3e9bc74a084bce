"""`mergebench merge`: one merged checkpoint, with its recipe in the header."""

import json
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser, Namespace
from jsonargparse.typing import NonNegativeInt

from mergebench.cli.options import DEFAULT_SUITE, add_device_options, add_suite_options, one_variant
from mergebench.errors import MergebenchError


def add_arguments(parser: ArgumentParser) -> None:
    """What `merge` takes."""
    parser.add_argument("--method", type=str, required=True, help="a method's name, or FILE.py:FUNCTION")
    parser.add_argument("--output", type=str, required=True, help="the merged checkpoint (.safetensors)")
    add_suite_options(parser)
    parser.add_argument("--base", type=str | None, default=None, help="checkpoint in place of the zoo's base")
    parser.add_argument(
        "--experts", nargs="+", type=str, default=[], help="[TASK=]FILE: checkpoints in place of the suite's experts"
    )
    parser.add_argument("--set", nargs="+", type=str, default=[], help="hyper-parameters, as NAME=VALUE")
    parser.add_argument("--seed", type=NonNegativeInt, default=0, help="of everything random")
    add_device_options(parser)


def named_files(items: list[str]) -> dict[str, str]:
    """`["a=x.safetensors", "y.safetensors"]` -> {"a": "x.safetensors", "y": "y.safetensors"}.

    Raises:
        MergebenchError: two files under one name.
    """
    files: dict[str, str] = {}
    for item in items:
        name, equals, path = item.partition("=")
        if not equals:
            name, path = Path(item).stem, item
        if name in files:
            raise MergebenchError(f"two experts are named {name!r}: {files[name]} and {path}; write TASK=FILE")
        files[name] = path
    return files


def execute(config: Namespace) -> int:
    """Merge and write."""
    from mergebench import discovery, hyperparameters, registry
    from mergebench.bench import Bench
    from mergebench.execution import Executor, Recipe
    from mergebench.measure import environment, resolve_device, set_threads
    from mergebench.merging import PerTask
    from mergebench.plan import merged_settings
    from mergebench.states import check_writable, digest, save_state

    check_writable(config.output)
    card = registry.method(config.method)
    function = discovery.load_function(card)
    files = named_files(config.experts)
    bench = Bench(config.suite or DEFAULT_SUITE, config.zoo, config.zoo_root, config.base, files or None)
    variant = one_variant(bench, config.only)
    given = hyperparameters.parse_assignments(config.set)
    resolved = hyperparameters.resolve(function, merged_settings(bench, [card], {card.name: given})[card.name])
    set_threads(config.threads)
    device = resolve_device(config.device)
    outcome = Executor(bench, device).merge(Recipe(card, function, resolved, config.seed), variant)
    merged = outcome.states
    if isinstance(merged, PerTask):
        raise MergebenchError(
            f"method {card.name!r} is a reference of one model per task: there is nothing to write as one"
        )
    recipe: dict[str, Any] = {
        "method": card.name,
        "hyperparameters": resolved,
        "seed": config.seed,
        "base": digest(bench.zoo.base),
        "experts": {t: digest(bench.expert(t)) for t in variant.merged},
        "suite": bench.name,
        "conditions": variant.merge_identity | {"zoo": bench.zoo.identity},
        "drawn": outcome.drawn,
        "mergebench": environment(device).packages["mergebench"],
    }
    save_state(merged, config.output, {"recipe": json.dumps(recipe, sort_keys=True)})
    seconds = outcome.cost.seconds
    print(f"merged {len(variant.merged)} experts with {card.name} in {seconds:.1f} s: {config.output}")
    return 0
