"""CLIPs of true structure with random weights, as transformers and open_clip make them."""

import os
from collections.abc import Callable
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import pytest
import torch
from torch import nn

VISION = {
    "hidden_size": 128, "intermediate_size": 192, "num_hidden_layers": 3, "num_attention_heads": 2,
    "image_size": 32, "patch_size": 8, "projection_dim": 16,
}  # fmt: skip
TEXT = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 4, "num_attention_heads": 2, "vocab_size": 99,
    "projection_dim": 16, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip


def little_trivial(model: nn.Module) -> nn.Module:
    """Biases, norms and projections with values of their own, as in a trained model."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        for parameter in model.parameters():
            parameter.data += 0.1 * torch.randn_like(parameter)
    return model.eval()


@pytest.fixture(scope="session")
def hf_vision() -> Callable[..., nn.Module]:
    """Makes a `CLIPVisionModel`."""
    from transformers import CLIPVisionConfig, CLIPVisionModel

    def make(**changed: Any) -> nn.Module:
        return little_trivial(CLIPVisionModel(CLIPVisionConfig(**VISION | changed)))

    return make


@pytest.fixture(scope="session")
def hf_whole() -> nn.Module:
    """A `CLIPModel`: two towers, two projections and a scale."""
    from transformers import CLIPConfig, CLIPModel

    return little_trivial(CLIPModel(CLIPConfig(text_config=TEXT, vision_config=VISION, projection_dim=16)))


@pytest.fixture(scope="session")
def open_clip_whole() -> nn.Module:
    """open_clip's CLIP, whose text tower has more blocks than the visual one."""
    from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg

    vision = CLIPVisionCfg(layers=3, width=128, head_width=64, patch_size=8, image_size=32, mlp_ratio=1.5)
    text = CLIPTextCfg(context_length=8, vocab_size=50, width=32, heads=2, layers=4)
    return little_trivial(CLIP(16, vision, text, quick_gelu=True))


@pytest.fixture
def pixels() -> torch.Tensor:
    """Normalised images [4, 3, 32, 32]."""
    return torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(2))
