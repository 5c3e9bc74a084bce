"""`mergebench finetune`: an expert of one task, or one model of several, from a zoo's base, zero-shot heads frozen."""

import json

from jsonargparse import ArgumentParser, Namespace
from jsonargparse.typing import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from mergebench.cli.options import add_device_options


def add_arguments(parser: ArgumentParser) -> None:
    """What `finetune` takes."""
    parser.add_argument(
        "--task",
        nargs="+",
        type=str,
        required=True,
        help="tasks of the zoo, or the CLIP tasks that they stand for; several are learnt together",
    )
    parser.add_argument("--output", type=str, required=True, help="the expert's checkpoint (.safetensors)")
    parser.add_argument("--zoo", type=str, default="tiny", help="a registered zoo or a YAML file")
    parser.add_argument("--zoo-root", type=str | None, default=None, help="folder that replaces the zoo's weights")
    parser.add_argument("--steps", type=PositiveInt, default=1000, help="optimiser steps")
    parser.add_argument("--batch-size", type=PositiveInt, default=64, help="images per step, of all tasks together")
    parser.add_argument("--learning-rate", type=PositiveFloat, default=1e-4, help="AdamW's peak rate")
    parser.add_argument("--weight-decay", type=NonNegativeFloat, default=0.0, help="AdamW's decay of matrices")
    parser.add_argument("--augment", type=str, default="none", help="none, shift or affine")
    parser.add_argument("--frozen", nargs="+", type=str, default=[], help="beginnings of names that stay the base's")
    parser.add_argument("--lora", type=PositiveInt | None, default=None, help="learn differences of this rank alone")
    parser.add_argument(
        "--precision", type=str, default="auto", help="Lightning's; auto: bf16-mixed on a GPU that has it, else 32-true"
    )
    parser.add_argument("--checkpoints", type=str | None, default=None, help="folder to resume from after a break")
    parser.add_argument("--seed", type=NonNegativeInt, default=0, help="of image order and augmentation")
    parser.add_argument("--devices", type=PositiveInt, default=1, help="GPUs (or processes) that share every step")
    add_device_options(parser)


def execute(config: Namespace) -> int:
    """Train, then evaluate on the validation split, and write."""
    from pathlib import Path

    from mergebench.evaluation import evaluate
    from mergebench.finetuning import finetune
    from mergebench.image_cache import load_split
    from mergebench.measure import resolve_device, set_threads
    from mergebench.states import check_writable, digest, save_state
    from mergebench.trainer import placement, quiet_lightning, training_precision
    from mergebench.training_batches import TrainingSet
    from mergebench.zoo import Zoo

    quiet_lightning()
    check_writable(config.output)
    set_threads(config.threads)
    device = resolve_device(config.device)
    precision, where = training_precision(config.precision, device), placement(device, config.devices)
    zoo = Zoo(config.zoo, config.zoo_root)
    tasks = sorted({zoo.find(name) for name in config.task})
    heads = {task: zoo.head(task) for task in tasks}
    splits = {task: load_split(zoo.task(task), "train") for task in tasks}
    names = ("steps", "batch_size", "learning_rate", "weight_decay", "augment", "frozen", "lora")
    settings = {name: config[name] for name in names} | {"precision": precision}
    state = finetune(
        zoo.make_encoder(),
        [TrainingSet(heads[task], train.images, train.labels, train.digest) for task, train in splits.items()],
        mean=zoo.mean,
        std=zoo.std,
        **settings | {"frozen": tuple(config.frozen)},
        seed=config.seed,
        **where,
        checkpoint_dir=Path(config.checkpoints) if config.checkpoints else None,
        progress=True,
    )
    # What is evaluated is what is written.
    state = {name: tensor.to(zoo.base[name].dtype) for name, tensor in state.items()}
    recipe = {**settings, "tasks": tasks, "seed": config.seed, "base": digest(zoo.base), "encoder": zoo.encoder.recipe}
    save_state(state, config.output, {"recipe": json.dumps(recipe, sort_keys=True)})
    validation = {task: load_split(zoo.task(task), "validation") for task in tasks}
    scales = {"mean": zoo.mean, "std": zoo.std, "device": device}
    for who, weights in (("base", dict(zoo.base)), ("expert" if len(tasks) == 1 else "joint", state)):
        scores = evaluate(zoo.make_empty_encoder(), weights, heads, validation, **scales).scores
        for task, score in scores.items():
            print(f"{who:<7} {100 * score.accuracy:5.1f} % of {score.total} validation images of {task}")
    print(f"wrote {config.output}")
    return 0
