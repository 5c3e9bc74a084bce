"""`mergebench merge`: one merged checkpoint, with its recipe in the header."""

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from jsonargparse import ArgumentParser, Namespace
from jsonargparse.typing import NonNegativeInt

from mergebench.cli.curves import add_logger_options, logged, logger_of, merge_logged
from mergebench.cli.merge_card import card_path, model_card
from mergebench.cli.merge_target import Target
from mergebench.cli.options import (
    DEFAULT_SUITE,
    add_device_options,
    add_encoder_options,
    add_memory_option,
    add_quiet_option,
    add_suite_options,
    add_trust_option,
    check_output,
    encoder_options,
    memory_of,
    one_variant,
)
from mergebench.cli.saying import say
from mergebench.errors import MergebenchError, counted, tell

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mergebench.merging.method import MethodCard
    from mergebench.merging.pool import Tell
    from mergebench.weights.states import StateDict

FORMATS = Literal["timm", "hf", "open_clip"]


def add_arguments(parser: ArgumentParser) -> None:
    """What `merge` takes."""
    parser.add_argument("--method", type=str, required=True, help="a method's name, or FILE.py:FUNCTION")
    parser.add_argument("--output", type=str, required=True, help="the merged checkpoint (.safetensors), or a folder")
    parser.add_argument("--base", type=str | None, default=None, help="the pre-trained checkpoint")
    parser.add_argument(
        "--experts",
        nargs="+",
        type=str,
        default=[],
        help="[NAME=]FILE: checkpoints; with --suite and without --base, in place of that suite's own",
    )
    parser.add_argument(
        "--calibration",
        nargs="+",
        type=str,
        default=[],
        help="[NAME=]FOLDER of images, one for every expert: of class folders, alone or in train/, the calibration "
        "split that a task with this data has; of images alone, all",
    )
    parser.add_argument(
        "--heads", nargs="+", type=str, default=[], help="[NAME=]FILE: classifiers, where the method needs them"
    )
    add_encoder_options(parser)
    parser.add_argument(
        "--format",
        type=FORMATS,
        default="timm",
        help="whose names the merged checkpoint bears; in a folder (or named as there) its configuration lies beside "
        "it, and a CLIP that came in whole goes out whole",
    )
    add_suite_options(parser)
    parser.add_argument(
        "--recentre",
        action="store_true",
        help="move the merged model's mean feature to the base's, by the final norm's bias, on calibration images",
    )
    parser.add_argument(
        "--recalibrate-norms",
        action="store_true",
        help="measure the means and variances of the merged model's batch norms, on calibration images",
    )
    parser.add_argument(
        "--card",
        action="store_true",
        help="also write a model card with the recipe: README.md in a folder, else the checkpoint's name in .md",
    )
    parser.add_argument("--set", nargs="+", type=str, default=[], help="hyper-parameters, as NAME=VALUE")
    parser.add_argument(
        "--settings",
        type=str | None,
        default=None,
        help="with a suite: published, tuned (its installed choices), or FILE.yaml that `tune` wrote (published)",
    )
    parser.add_argument("--seed", type=NonNegativeInt, default=0, help="of everything random")
    add_trust_option(parser)
    add_device_options(parser)
    add_logger_options(parser, "what a method tells of its steps (AdaMerging's entropies, ...)")
    add_quiet_option(parser)
    add_memory_option(parser)


def named_files(items: list[str]) -> dict[str, str]:
    """`["a=x.safetensors", "y.safetensors"]` -> {"a": "x.safetensors", "y": "y.safetensors"}.

    Raises:
        MergebenchError: two files under one name.
    """
    files: dict[str, str] = {}
    for item in items:
        name, equals, path = item.partition("=")
        if not equals or Path(item).exists():
            name, path = Path(item).stem, item
        if not name or not path:
            raise MergebenchError(f"{item!r} is no expert; write FILE, or NAME=FILE")
        if name in files:
            raise MergebenchError(f"two experts are named {name!r}: {files[name]} and {path}; write NAME=FILE")
        files[name] = path
    return files


def of_experts(items: list[str], experts: list[str], option: str) -> dict[str, str]:
    """What is given for every expert: by name, or in the order of the experts.

    Raises:
        MergebenchError: not one for each.
    """
    if not items:
        return {}
    named = [item for item in items if "=" in item]
    given = dict(item.split("=", 1) for item in named) if named else dict(zip(experts, items, strict=False))
    if len(items) != len(experts) or len(named) not in (0, len(items)) or given.keys() != set(experts):
        raise MergebenchError(
            f"{option}: {len(items)} for {len(experts)} experts; give one for each, in their order, or NAME=... for "
            + ", ".join(experts)
        )
    return given


def execute(config: Namespace) -> int:
    """Merge and write."""
    from mergebench.catalogue import registry
    from mergebench.cli.steps import Steps
    from mergebench.measuring.measure import environment, resolve_device, set_threads
    from mergebench.merging import hyperparameters
    from mergebench.weights import formats
    from mergebench.weights.states import save_state
    from mergebench.weights.writing import writing

    experts = named_files(config.experts)
    if experts and not (config.base or config.suite or config.zoo or config.only):
        raise MergebenchError(
            "--experts: say what they were fine-tuned from, --base FILE; or whose experts they replace, "
            f"--suite {DEFAULT_SUITE}"
        )
    target = Target.of(config.output, config.format)
    check_output(target.file, (config.base, *experts.values()))
    described = card_path(target.file, target.whole) if config.card else None
    card = registry.method(config.method)
    given = hyperparameters.parse_assignments(config.set)
    set_threads(config.threads)
    device = resolve_device(config.device)
    merge = _own if config.base and not (config.suite or config.zoo or config.only) else _of_suite
    logger = logger_of(config, target.file.stem)
    start = time.perf_counter()
    with Steps(f"merge {card.name}", config.quiet) as steps, merge_logged(logger, card.name) as curve:
        state, recipe, told = merge(config, experts, card, given, device, target, steps)
    recipe |= {"format": config.format, "mergebench": environment(device).packages["mergebench"]}
    written = formats.from_timm(state, config.format, target.companions.others)
    target.write_files()
    save_state(written, target.file, {"format": "pt", "recipe": json.dumps(recipe, sort_keys=True)})
    if described:
        with writing(described) as temporary:
            temporary.write_text(model_card(card, recipe, target.file, _named(config)), encoding="utf-8")
    for sentence in told:
        say(sentence)
    if logger is not None and curve:
        say(logged(config, logger))
    seconds = time.perf_counter() - start
    say(f"merged {counted(len(recipe['experts']), 'expert')} with {card.name} in {seconds:.1f} s: {config.output}")
    return 0


def _named(config: Namespace) -> list[str]:
    """The options that name what was merged, as they were typed, for the model card."""
    words: list[str] = []
    for option in ("base", "experts", "calibration", "heads", "encoder", "encoder_options", "suite", "only", "zoo"):
        given = config[option]
        if given:
            words += [f"--{option.replace('_', '-')}", *([given] if isinstance(given, str) else given)]
    words += ["--image-size", str(config.image_size)] * bool(config.image_size)
    return words + [f"--{name.replace('_', '-')}" for name in _adjusted(config)]


def _adjusted(config: Namespace) -> list[str]:
    """What is to be done to the merged model."""
    from mergebench.merging.adjusting import ADJUSTMENTS

    return [name for name in ADJUSTMENTS if config[name]]


Made = tuple["StateDict", dict[str, Any], tuple[str, ...]]


def _own(
    config: Namespace,
    experts: dict[str, str],
    card: "MethodCard",
    given: "Mapping[str, Any]",
    device: str,
    target: Target,
    progress: "Tell",
) -> Made:
    """Files of one's own."""
    from mergebench.running.own_merge import OwnModels, merge_own
    from mergebench.weights import formats

    if config.allow_duplicates:
        raise MergebenchError("--allow-duplicates goes with a suite, whose tasks have splits; leave it out")
    if config.settings:
        raise MergebenchError("--settings goes with a suite, for which they were chosen; give them by --set")
    if not experts:
        raise MergebenchError("--base: name what is to be merged into it, --experts FILE FILE")
    models = OwnModels(
        config.base,
        experts,
        of_experts(config.calibration, list(experts), "--calibration"),
        of_experts(config.heads, list(experts), "--heads"),
        config.encoder,
        config.zoo_root,
        encoder_options(config.encoder, config.encoder_options),
        config.image_size,
    )
    formats.check_format(models.base_state, config.format)  # before the work, not after it
    target.prepare(models.encoder, models.base_state)
    made = merge_own(card, models, given, config.seed, device, progress, _adjusted(config), memory_of(config))
    return made.state, made.recipe, made.told


def _of_suite(
    config: Namespace,
    experts: dict[str, str],
    card: "MethodCard",
    given: "Mapping[str, Any]",
    device: str,
    target: Target,
    progress: "Tell",
) -> Made:
    """A suite's experts, or files in their place."""
    from mergebench.catalogue import discovery, registry
    from mergebench.catalogue.trust import check_methods
    from mergebench.measuring.facts import PUBLISHED
    from mergebench.merging.adjusting import ADJUSTMENTS, SAMPLES
    from mergebench.merging.contract import PerTask
    from mergebench.running.execution import Executor, Recipe
    from mergebench.running.failure import told_in_words
    from mergebench.running.plan import merged_settings, settings_of
    from mergebench.running.planned import RunRequest
    from mergebench.running.tracks import settings_from
    from mergebench.suites.bench import Bench
    from mergebench.weights import formats, resizing
    from mergebench.weights.states import digest

    for option in ("calibration", "heads", "encoder", "encoder_options", "image_size"):
        if config[option]:
            raise MergebenchError(
                f"--{option.replace('_', '-')} goes with --base and --experts, and not with a suite, which has its own"
            )
    bench = Bench(
        config.suite or DEFAULT_SUITE,
        config.zoo,
        config.zoo_root,
        config.base,
        experts or None,
        allow_duplicates=config.allow_duplicates,
        memory=memory_of(config),
    )
    check_methods(bench.method_files(), config.allow_code)
    variant = one_variant(bench, config.only)
    function = discovery.load_function(card)
    asked = {card.name: given} if given else {}
    request = RunRequest(hyperparameters=asked, allow_code=config.allow_code)
    track = settings_from(config.settings or PUBLISHED, bench, card, request)
    own = merged_settings(bench, [card], asked)[card.name]
    resolved = settings_of(card, function, own, variant, asked, track)
    for sentence in track.told:
        tell(sentence)
    if lack := bench.lacks(card, variant, resolved):
        raise MergebenchError(lack)
    formats.check_format(bench.zoo.base, config.format)
    target.prepare(bench.zoo.encoder, bench.zoo.base)
    needs = registry.needs_of(card, resolved)
    for sentence in bench.odd_experts([variant]):
        tell(sentence)
    if needs.heads:
        bench.check_heads(variant)
    noted = bench.noted(variant, needs)
    for name in _adjusted(config):  # before the work, not after it
        ADJUSTMENTS[name].check(bench.zoo.make_empty_encoder())
        if variant.previous:
            option = name.replace("_", "-")
            raise MergebenchError(f"--{option}: a step of a sequence starts from the step before; leave it out")
    with told_in_words(card):
        outcome = Executor(bench, device, tell=progress).merge(Recipe(card, function, resolved, config.seed), variant)
    if isinstance(outcome.states, PerTask):
        raise MergebenchError(f"method {card.name!r} is a reference of one model per task: nothing to write as one")
    state, drawn = outcome.states, outcome.drawn
    told: tuple[str, ...] = ()
    noted |= resizing.noted(bench.zoo.base, bench.zoo.encoder, {t: bench.expert(t) for t in variant.merged})
    for name in _adjusted(config):
        pool, sources = bench.pool(card, ADJUSTMENTS[name].needs, config.seed, device, variant, tell=progress)
        found = ADJUSTMENTS[name].adjust(pool, state, min(SAMPLES, *map(len, sources.values())))
        state, told, noted = found.state, (*told, found.told), noted | found.noted
        drawn = {name: source.fingerprint for name, source in sources.items()} | drawn
    recipe = {
        "method": card.name,
        "hyperparameters": resolved,
        "seed": config.seed,
        "encoder": bench.zoo.encoder.recipe,
        "base": digest(bench.zoo.base),
        "experts": {t: digest(bench.expert(t)) for t in variant.merged},
        "suite": bench.name,
        "conditions": variant.merge_identity | {"zoo": bench.zoo.identity},
        "drawn": drawn,
        "images": {},
    }
    for split in sorted({name.rpartition("/")[2] for name in drawn}):
        recipe["images"] |= bench.given(variant, split)
    return state, recipe | noted, told  # unadjusted, as `run` measures it
