"""`mergebench finetune`: an expert of one task, or one model of several, from a base, behind frozen heads."""

import json
from typing import TYPE_CHECKING, Any, Literal

from jsonargparse import ArgumentParser, Namespace
from jsonargparse.typing import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from mergebench.cli.curves import add_logger_options, logged, logger_of
from mergebench.cli.description import add_description_options, description
from mergebench.cli.options import (
    add_device_options,
    add_encoder_options,
    add_quiet_option,
    check_output,
    named_encoder,
)
from mergebench.cli.saying import say
from mergebench.errors import MergebenchError, tell

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor

    from mergebench.data.content import Split
    from mergebench.zoo.heads import Head
    from mergebench.zoo.zoo import Zoo


def add_arguments(parser: ArgumentParser) -> None:
    """What `finetune` takes."""
    parser.add_argument(
        "--task",
        nargs="+",
        type=str,
        required=True,
        help="tasks of the zoo, or the CLIP tasks that they stand for; several are learnt together",
    )
    parser.add_argument(
        "--output",
        type=str | None,
        default=None,
        help="the expert's checkpoint (TASK.safetensors; with --format peft the folder TASK)",
    )
    parser.add_argument("--zoo", type=str | None, default=None, help="a registered zoo or a YAML file (tiny)")
    parser.add_argument(
        "--zoo-root", type=str | None, default=None, help="folder that replaces the zoo's weights; with --data: the hub"
    )
    parser.add_argument(
        "--data", type=str | None, default=None, help="images of a task of one's own: a folder of one folder per class"
    )
    parser.add_argument("--base", type=str | None, default=None, help="with --data: a checkpoint, or a registered zoo")
    add_encoder_options(parser)
    parser.add_argument("--head", type=str | None, default=None, help="with --data: the task's classifier")
    parser.add_argument(
        "--probe",
        type=Literal["logistic", "cosine"] | None,
        default=None,
        help="where a head is fitted: by cosines, as strong as held-out folds ask for (the default), or a logistic "
        "regression",
    )
    add_description_options(parser)
    parser.add_argument("--steps", type=PositiveInt, default=1000, help="optimiser steps")
    parser.add_argument("--batch-size", type=PositiveInt, default=64, help="images per step, of all tasks together")
    parser.add_argument("--learning-rate", type=PositiveFloat, default=1e-4, help="AdamW's peak rate")
    parser.add_argument("--weight-decay", type=NonNegativeFloat, default=0.0, help="AdamW's decay of matrices")
    parser.add_argument("--augment", type=str, default="none", help="none, shift or affine")
    parser.add_argument("--frozen", nargs="+", type=str, default=[], help="beginnings of names that stay the base's")
    parser.add_argument("--lora", type=PositiveInt | None, default=None, help="learn differences of this rank alone")
    parser.add_argument(
        "--lora-layers",
        nargs="+",
        type=str,
        default=[],
        help="with --lora: ends of layers' names, attn.qkv attn.proj for attention alone (all linear layers)",
    )
    parser.add_argument(
        "--format",
        type=Literal["timm", "peft"],
        default="timm",
        help="all weights under timm's names, or, with --lora, a folder with what was learnt alone, as peft writes it",
    )
    parser.add_argument(
        "--precision",
        type=str,
        default="auto",
        help="Lightning's; auto: bf16-mixed if the device has it, else 32-true",
    )
    parser.add_argument("--checkpoints", type=str | None, default=None, help="folder to resume from after a break")
    add_logger_options(parser, "loss and rate")
    parser.add_argument("--seed", type=NonNegativeInt, default=0, help="of image order and augmentation")
    parser.add_argument("--devices", type=PositiveInt, default=1, help="GPUs (or processes) that share every step")
    add_device_options(parser)
    add_quiet_option(parser)


def execute(config: Namespace) -> int:
    """Train, then evaluate on the validation split, and write."""
    from pathlib import Path

    from mergebench.cli.steps import Steps
    from mergebench.data.image_cache import load_split
    from mergebench.measuring.devices import placement
    from mergebench.measuring.evaluation import evaluate
    from mergebench.measuring.measure import resolve_device, set_threads
    from mergebench.measuring.trainer import quiet_lightning, training_precision
    from mergebench.training.batches import TrainingSet
    from mergebench.training.finetuning import check_settings, finetune
    from mergebench.training.head_fit import head_fit
    from mergebench.training.own import FITTED
    from mergebench.weights import resizing
    from mergebench.weights.adapted import AdaptedState
    from mergebench.weights.adapter_files import write_adapter
    from mergebench.weights.adapters import ADAPTER_WEIGHTS, AdapterState
    from mergebench.weights.states import check_finite, digest, save_state
    from mergebench.zoo.set_aside import check_set_aside, inherited

    quiet_lightning()
    output = _output(config)
    logger = logger_of(config, output.stem)
    peft = config.format == "peft"
    check_output(output / ADAPTER_WEIGHTS if peft else output, (config.base, config.head))
    set_threads(config.threads)
    device = resolve_device(config.device)
    where = placement(device, config.devices)
    precision = training_precision(config.precision, where["accelerator"])
    zoo = _zoo(config)
    tasks = sorted({zoo.find(name) for name in config.task})
    names = ("steps", "batch_size", "learning_rate", "weight_decay", "augment", "frozen", "lora")
    settings = {name: config[name] for name in names} | {"precision": precision, "frozen": tuple(config.frozen)}
    settings |= {"lora_layers": tuple(config.lora_layers)} if config.lora_layers else {}
    checkpoints = Path(config.checkpoints) if config.checkpoints else None
    asked = {name: settings[name] for name in ("batch_size", "augment", "frozen", "lora")}
    asked |= {name: settings[name] for name in ("lora_layers",) if name in settings}
    asked |= {"devices": where["devices"], "checkpoint_dir": checkpoints}
    check_settings(zoo.make_empty_encoder(), len(tasks), **asked)  # before images are decoded, or a head is fitted
    check_set_aside("the base", zoo.base, tasks, zoo.task)
    for line in zoo.told(tasks):
        say(line)
    splits = {task: load_split(zoo.task(task), "train") for task in tasks}
    recipe = {**settings, "tasks": tasks, "seed": config.seed, "base": digest(zoo.base), "encoder": zoo.encoder.recipe}
    recipe |= inherited([zoo.base], map(zoo.task, tasks)) | resizing.noted(zoo.base, zoo.encoder)
    heads, noted = _heads(config, zoo, splits, device, checkpoints)
    recipe |= noted[tasks[0]] if len(tasks) == 1 and noted else {}
    validation = {task: load_split(zoo.task(task), "validation") for task in tasks}
    for task in (task for task in noted if noted[task]["head"] != "prompts"):
        fit = head_fit(
            zoo.make_encoder(),
            heads[task],
            splits[task],
            validation[task],
            mean=zoo.mean,
            std=zoo.std,
            device=device,
        )
        say(f"head of {task}: {fit}")
        if fit.warning:
            tell(f"{task}: {fit.warning}")
    shared = zoo.duplicates(tasks)
    recipe |= {"duplicates": shared} if shared else {}
    factors: dict[str, tuple[Tensor, Tensor]] | None = {} if peft else None
    with Steps("finetune", config.quiet) as steps:
        state = finetune(
            zoo.make_encoder(),
            [TrainingSet(heads[task], train.images, train.labels, train.digest) for task, train in splits.items()],
            mean=zoo.mean,
            std=zoo.std,
            **settings,
            factors=factors,
            seed=config.seed,
            **where,
            checkpoint_dir=checkpoints,
            identity=zoo.encoder_identity,
            tell=steps,
            logger=logger,
        )
    # What is evaluated is what is written.
    header = {"format": "pt", "recipe": json.dumps(recipe, sort_keys=True)}
    if factors is not None:
        write_adapter(output, factors, zoo.base, zoo.config.base, header)
        state = dict(AdaptedState(AdapterState(output), zoo.base, f"the expert ({output})"))
    else:
        state = {name: tensor.to(zoo.base[name].dtype) for name, tensor in state.items()}
        check_finite(state, "the expert in the base's number format", "lower --learning-rate")
        save_state(state, output, header)
    for task in (task for task in noted if noted[task]["head"] in FITTED):
        stem = output.name if peft else output.stem
        beside = output.with_name(f"{stem}{f'.{task}' * (len(tasks) > 1)}.head.safetensors")
        told = {"tasks": [task], "base": recipe["base"], "encoder": recipe["encoder"], **noted[task]}
        told |= inherited([zoo.base], [zoo.task(task)]) | resizing.noted(zoo.base, zoo.encoder)
        save_state(heads[task].state_dict(), beside, {"recipe": json.dumps(told, sort_keys=True)})
        say(f"wrote {beside}")
    for who, weights in (("base", dict(zoo.base)), ("expert" if len(tasks) == 1 else "joint", state)):
        measured = evaluate(
            zoo.make_empty_encoder(), weights, heads, validation, mean=zoo.mean, std=zoo.std, device=device
        )
        for task, score in measured.scores.items():
            say(f"{who:<7} {100 * score.accuracy:5.1f} % of {score.total} validation images of {task}")
    say(f"wrote {output}")
    if logger is not None:
        say(logged(config, logger))
    return 0


def _heads(
    config: Namespace, zoo: "Zoo", splits: "Mapping[str, Split]", device: str, checkpoints: "Path | None"
) -> "tuple[dict[str, Head], dict[str, dict[str, Any]]]":
    """The tasks' heads, and of tasks of one's own what there is to be noted: the head's kind, classes, images."""
    from mergebench.training.own import FITTED, own_head
    from mergebench.zoo.set_aside import check_set_aside

    heads, noted = {}, {}
    for task, train in splits.items():
        heads[task], kind = own_head(zoo, task, train, device, checkpoints, config.probe)
        check_set_aside(f"the head of task {task!r}", heads[task], [task], zoo.task, own=task)
        if config.data or config.describe or kind in FITTED:
            card = zoo.task(task).card
            noted[task] = {"head": kind, "classes": list(card.classes), "images": dict(card.splits)}
            noted[task]["data"] = zoo.config.described[task].data
    return heads, noted


def _output(config: Namespace) -> "Path":
    """Where the expert is written."""
    from pathlib import Path

    from mergebench.configuration import file_name

    if config.output is None and len(config.task) > 1:
        raise MergebenchError("--output: name the file of a model of several tasks")
    peft = config.format == "peft"
    if peft and config.lora is None:
        raise MergebenchError(
            "--format peft: a folder of peft's holds differences of low rank; give their rank, --lora"
        )
    output = Path(config.output or file_name(config.task[0]) + ".safetensors" * (not peft))
    if peft and (output.suffix == ".safetensors" or output.is_file()):
        raise MergebenchError(f"--output {output}: --format peft writes a folder; name one")
    return output


def _zoo(config: Namespace) -> "Zoo":
    """The zoo that was asked for, or one of a task of one's own."""
    from mergebench.training.own import own_zoo
    from mergebench.zoo.zoo import Zoo

    described = description(config)
    if config.describe and not (config.data or described.get("data")):
        raise MergebenchError(f"--describe {config.describe}: it names no `data`; add it, or give --data")
    if config.data is None and "data" not in described:
        own = next((option for option in ("base", "head") if config[option]), None)
        if own or described:
            said = own or next(iter(described))
            raise MergebenchError(f"--{said} goes with --data, the images of a task of one's own")
        return Zoo(
            config.zoo or "tiny",
            config.zoo_root,
            allow_duplicates=config.allow_duplicates,
            encoder=named_encoder(config),
            image_size=config.image_size,
        )
    if config.base is None or config.zoo is not None or len(config.task) > 1:
        raise MergebenchError("--data: give one name as --task, and in place of --zoo what to start from as --base")
    return own_zoo(
        config.task[0],
        config.data or described["data"],
        config.base,
        head=config.head,
        encoder=named_encoder(config),
        described=described,
        root=config.zoo_root,
        allow_duplicates=config.allow_duplicates,
        image_size=config.image_size,
    )
