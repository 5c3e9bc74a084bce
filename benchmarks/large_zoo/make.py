"""A zoo of real size on disk: random weights, heads and images, stored as published ones are."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from mergebench.weights import formats
from mergebench.weights.encoders import Encoder
from mergebench.weights.states import save_state

EMBEDDED = 512  # of CLIP's texts and projected images


def expert(folder: Path, number: int) -> Path:
    """Where an expert's weights are; those of the base, for number 0."""
    return folder / (f"expert-{number:02}.safetensors" if number else "base.safetensors")


def head(folder: Path, number: int, classes: int) -> Path:
    """Where an expert's head is."""
    return folder / f"head-{number:02}-of-{classes}.safetensors"


def images(folder: Path, number: int) -> Path:
    """Where an expert's images are."""
    return folder / f"images-{number:02}"


def base_weights(encoder: str) -> dict[str, Tensor]:
    """Random weights around where training keeps them: norms' scales around one, all others around zero."""
    made = {}
    for number, (name, like) in enumerate(Encoder(encoder).make().state_dict().items()):
        noise = 0.02 * torch.randn(like.shape, generator=torch.Generator().manual_seed(number))
        made[name] = noise + (like.ndim == 1 and name.endswith("weight"))
    return made


def fill(folder: Path, encoder: str, experts: int, samples: int, classes: int) -> None:
    """A base, experts near it, and a zero-shot head and images for each; what is there already stays.

    Args:
        folder: the zoo's.
        encoder: its name in timm.
        experts: how many; they are float16, under Hugging Face's names.
        samples: how many images each has, of 320 x 240 pixels.
        classes: of each head.
    """
    folder.mkdir(parents=True, exist_ok=True)
    missing = [n for n in range(experts + 1) if not expert(folder, n).exists()]
    base = base_weights(encoder) if missing else {}
    for number in missing:
        generator = torch.Generator().manual_seed(1000 + number)
        moved = {n: t + bool(number) * 0.002 * torch.randn(t.shape, generator=generator) for n, t in base.items()}
        save_state(formats.from_timm({n: t.half() for n, t in moved.items()}, "hf"), expert(folder, number))
    width = Encoder(encoder).make().embed_dim
    for number in range(1, experts + 1):
        if not head(folder, number, classes).exists():
            generator = torch.Generator().manual_seed(number)
            projection = torch.randn(EMBEDDED, width, generator=generator) / width**0.5
            texts = torch.nn.functional.normalize(torch.randn(classes, EMBEDDED, generator=generator))
            scale = torch.tensor(100.0)
            parts = {"projection": projection, "text_features": texts, "logit_scale": scale}
            save_state(parts, head(folder, number, classes))
        for image in range(samples):
            picture = images(folder, number) / f"{image:04}.jpg"
            if not picture.exists():
                picture.parent.mkdir(exist_ok=True)
                pixels = np.random.default_rng([number, image]).integers(0, 256, (240, 320, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(picture)
