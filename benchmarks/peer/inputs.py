"""Weights, images and heads that both sides are given: random, decided by a seed, kept in a folder."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

CLASSES, EMBEDDING = 10, 512  # of the zero-shot heads


@dataclass(frozen=True)
class Size:
    """What is merged.

    Args:
        tasks: experts.
        images: of each task.
        blocks: of the encoder.
        width, hidden: of its tokens and of its MLPs.
        patch, image: side in pixels.
    """

    tasks: int = 4
    images: int = 128
    blocks: int = 2
    width: int = 768
    hidden: int = 3072
    patch: int = 32
    image: int = 224

    @property
    def names(self) -> list[str]:
        """The tasks, in the order in which both sides take them."""
        return [f"task{number:02}" for number in range(self.tasks)]

    @property
    def tokens(self) -> int:
        """Of an image, with the class token."""
        return (self.image // self.patch) ** 2 + 1


def shapes(size: Size) -> dict[str, tuple[int, ...]]:
    """Tensors of a Hugging Face CLIPVisionModel."""
    width, hidden = size.width, size.hidden
    found = {
        "embeddings.class_embedding": (width,),
        "embeddings.patch_embedding.weight": (width, 3, size.patch, size.patch),
        "embeddings.position_embedding.weight": (size.tokens, width),
    }
    layers = {"pre_layrnorm": (width,), "post_layernorm": (width,)}
    for block in range(size.blocks):
        inside = f"encoder.layers.{block}"
        layers |= {f"{inside}.self_attn.{n}_proj": (width, width) for n in ("q", "k", "v", "out")}
        layers |= {f"{inside}.mlp.fc1": (hidden, width), f"{inside}.mlp.fc2": (width, hidden)}
        layers |= {f"{inside}.layer_norm{n}": (width,) for n in (1, 2)}
    for name, shape in layers.items():
        found |= {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
    return {f"vision_model.{name}": shape for name, shape in found.items()}


def model(size: Size, expert: int | None) -> dict[str, Tensor]:
    """The base's weights, or an expert's: near it, as fine-tuned ones are."""
    state = {}
    for number, (name, shape) in enumerate(shapes(size).items()):
        generator = torch.Generator().manual_seed(number)
        tensor = 0.03 * torch.randn(shape, generator=generator) + ("norm" in name and name.endswith("weight"))
        if expert is not None:
            generator.manual_seed(1000 * (expert + 1) + number)
            tensor = tensor + 0.003 * torch.randn(shape, generator=generator)
        state[name] = tensor
    return state


def images(size: Size, task: int) -> Tensor:
    """A task's images [N, 3, H, W], normalised already: noise around a picture of its own, as photographs are alike."""
    generator = torch.Generator().manual_seed(10_000 + task)
    common = torch.randn(1, 3, 7, 7, generator=generator)
    own = torch.randn(size.images, 3, 14, 14, generator=generator)
    side = (size.image, size.image)
    smooth = sum(torch.nn.functional.interpolate(part, side, mode="bilinear") for part in (common, own))
    return smooth + 0.2 * torch.randn(size.images, 3, *side, generator=generator)


def heads(size: Size) -> dict[str, Tensor]:
    """A projection [embed, width] and each task's unit text embeddings [classes, embed]."""
    generator = torch.Generator().manual_seed(99)
    made = {"projection": torch.randn(EMBEDDING, size.width, generator=generator) / size.width**0.5}
    for task in size.names:
        text = torch.randn(CLASSES, EMBEDDING, generator=generator)
        made[task] = torch.nn.functional.normalize(text, dim=-1)
    return made


def fill(folder: Path, size: Size) -> Path:
    """Write everything once; what is there already stays.

    Returns:
        The folder of this size.
    """
    place = folder / "-".join(str(value) for value in asdict(size).values())
    done = place / "size.json"
    if not done.exists():
        place.mkdir(parents=True, exist_ok=True)
        save_file(model(size, None), place / "base.safetensors")
        for number, task in enumerate(size.names):
            save_file(model(size, number), place / f"{task}.safetensors")
            save_file({"images": images(size, number)}, place / f"{task}-images.safetensors")
        save_file(heads(size), place / "heads.safetensors")
        done.write_text(json.dumps(asdict(size)))
    return place


class Inputs:
    """What `fill` wrote, read into memory."""

    def __init__(self, place: Path) -> None:
        self.size = Size(**json.loads((place / "size.json").read_text()))
        self.base = load_file(place / "base.safetensors")
        self.experts = {task: load_file(place / f"{task}.safetensors") for task in self.size.names}
        self.images = {t: load_file(place / f"{t}-images.safetensors")["images"] for t in self.size.names}
        self.heads = load_file(place / "heads.safetensors")
