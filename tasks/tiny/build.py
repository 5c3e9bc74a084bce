"""Rebuilds the tiny zoo from nothing.

    python -m mergebench.tasks.tiny.build --stage all --out tasks/tiny/weights --work build/tiny-zoo --seed 0

The stages are `pretrain` (both towers, the longest), `heads` (weak realignment of the text tower, base, heads),
`experts` and `lora`. Each picks up where an interrupted run of it stopped; delete the work folder to start afresh.
"""

import argparse
import json
import logging
import math
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from mergebench.tasks.tiny import TASKS, model
from mergebench.tasks.tiny.pretraining.captions import Vocabulary
from mergebench.tasks.tiny.pretraining.corpus import corpus
from mergebench.tasks.tiny.pretraining.pretrain import class_features, create_pair, pretrain, vocabulary
from mergebench.tasks.tiny.pretraining.realign import Realignment, realign
from mergebench.training.batches import TrainingSet
from mergebench.training.finetuning import finetune
from mergebench.weights.adapted import AdaptedState
from mergebench.weights.adapter_files import write_adapter
from mergebench.weights.adapters import ADAPTER_WEIGHTS, AdapterState
from mergebench.weights.states import SafetensorsState, digest
from mergebench.zoo.heads import ZeroShotHead

PRETRAIN_STEPS = 12000
# The stem stays the base's: it is the one non-linear part that no method can merge but by averaging, and leaving the
# embedding alone is known to make fine-tuning more robust (Kumar et al., arXiv:2211.09359).
EXPERT = {
    "steps": 1000,
    "batch_size": 64,
    "learning_rate": 3e-4,
    "weight_decay": 0.0,
    "augment": "affine",
    "precision": "bf16-mixed",
    "frozen": ("patch_embed",),
}
# Attention's four matrices, as in the LoRA experts published with KnOTS. Theirs are of rank 16 at width 768, 2.1 % of
# it; 4 is 2.5 % of 160.
LORA = {
    "lora": 4,
    "lora_layers": ("attn.qkv", "attn.proj"),
    "steps": 300,
    "batch_size": 64,
    "learning_rate": 1e-2,
    "weight_decay": 0.0,
    "augment": "affine",
    "precision": "32-true",
}
LORA_TASKS = list(TASKS)[:8]


def main() -> None:
    """Runs the stages asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stage", choices=("pretrain", "heads", "experts", "lora", "all"), default="all")
    parser.add_argument("--out", type=Path, required=True, help="where the zoo's files go")
    parser.add_argument("--work", type=Path, default=Path("build/tiny-zoo"), help="corpus and checkpoints")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--tasks", nargs="+", default=list(TASKS), choices=tuple(TASKS), help="train these experts only"
    )
    parser.add_argument("--threads", type=int, default=2, help="torch threads")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    if options.stage in ("pretrain", "all"):
        build_pair(options.work, options.seed)
    if options.stage in ("heads", "all"):
        build_heads(options.work, options.out, options.seed)
    if options.stage in ("experts", "all"):
        for task in options.tasks:
            build_expert(task, options.work, options.out, options.seed)
    if options.stage in ("lora", "all"):
        for task in (task for task in LORA_TASKS if task in options.tasks):
            build_adapter(task, options.work, options.out, options.seed)


def build_pair(work: Path, seed: int) -> None:
    """Draws the corpus and trains both towers."""
    pictures = corpus(work)
    words = vocabulary(pictures)
    words.write(work / "vocabulary.json")
    pretrain(pictures, words, PRETRAIN_STEPS, seed, work)


def build_heads(work: Path, out: Path, seed: int) -> None:
    """Writes base, text tower, vocabulary and every task's head."""
    words = Vocabulary.read(work / "vocabulary.json")
    pair = create_pair(words.size)
    pair.load_state_dict(torch.load(work / "pretrain.pt", weights_only=True)["pair"])
    pair = realign(pair, corpus(work), words, Realignment(), seed)
    for folder in (out / "heads", out / "experts"):
        folder.mkdir(parents=True, exist_ok=True)
    words.write(out / "vocabulary.json")
    _save(pair.visual.trunk.state_dict(), out / "base.safetensors")
    _save({k: v for k, v in pair.text.state_dict().items() if k != "attn_mask"}, out / "text_tower.safetensors")
    for name, task in TASKS.items():
        head = {
            "projection": pair.visual.head.proj.weight,
            "text_features": class_features(pair, words, task.card),
            "logit_scale": pair.logit_scale.exp(),
        }
        _save(head, out / "heads" / f"{name}.safetensors")


def build_expert(task: str, work: Path, out: Path, seed: int) -> None:
    """Fine-tunes the base on one task and prints the expert's accuracy on the validation split."""
    path = out / "experts" / f"{task}.safetensors"
    if path.exists():
        print(f"{task}: {path} exists, kept")
        return
    state = _finetuned(task, work / "experts" / task, out, seed, EXPERT)
    _save(state, path)
    _tell_validation(task, state, out)


def build_adapter(task: str, work: Path, out: Path, seed: int) -> None:
    """Fine-tunes the base on one task by low-rank differences, and prints as `build_expert` does; in peft's files."""
    folder = out / "lora" / task
    if (folder / ADAPTER_WEIGHTS).exists():
        print(f"{task}: {folder} exists, kept")
        return
    base = SafetensorsState(out / "base.safetensors")
    factors: dict[str, tuple[Tensor, Tensor]] = {}
    _finetuned(task, work / "lora" / task, out, seed, LORA, factors)
    half = {name: (up.half(), down.half()) for name, (up, down) in factors.items()}
    recipe = {**LORA, "tasks": [task], "seed": seed, "base": digest(base)}
    write_adapter(folder, half, base, None, {"recipe": json.dumps(recipe, sort_keys=True)})
    _tell_validation(task, dict(AdaptedState(AdapterState(folder), base, task)), out)


def _finetuned(
    task: str,
    work: Path,
    out: Path,
    seed: int,
    recipe: dict[str, Any],
    factors: dict[str, tuple[Tensor, Tensor]] | None = None,
) -> dict[str, Tensor]:
    encoder = model.create_encoder()
    encoder.load_state_dict(load_float(out / "base.safetensors"))
    images, labels = (torch.from_numpy(array) for array in TASKS[task].load("train"))
    return finetune(
        encoder,
        [TrainingSet(_head(task, out), images, labels)],
        mean=model.MEAN,
        std=model.STD,
        factors=factors,
        seed=seed,
        accelerator="cpu",
        checkpoint_dir=work,
        **recipe,
    )


def _head(task: str, out: Path) -> ZeroShotHead:
    return ZeroShotHead(**load_float(out / "heads" / f"{task}.safetensors"))


@torch.no_grad()
def _tell_validation(task: str, state: dict[str, Tensor], out: Path) -> None:
    encoder = model.create_encoder().eval()
    encoder.load_state_dict(state)
    images, labels = (torch.from_numpy(array) for array in TASKS[task].load("validation"))
    predicted = _head(task, out)(encoder(model.normalise(images))).argmax(1)
    print(f"{task}: validation accuracy {100 * (predicted == labels).float().mean().item():.1f} %", flush=True)


def load_float(path: Path) -> dict[str, Tensor]:
    """A safetensors file's tensors in float32."""
    return {name: tensor.float() for name, tensor in load_file(path).items()}


def _save(state: dict[str, Tensor], path: Path) -> None:
    """Writes float16, refusing what float16 cannot hold."""
    half = {name: tensor.detach().half().contiguous() for name, tensor in state.items()}
    if not all(math.isfinite(tensor.float().abs().max().item()) for tensor in half.values()):
        raise ValueError(f"{path}: a value does not fit float16")
    save_file(half, path)


if __name__ == "__main__":
    main()
