"""LoRA experts of a miniature encoder, in folders that peft wrote."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from mergebench.weights.adapted import as_expert
from mergebench.weights.files import open_weights


@pytest.fixture
def lora_experts(tmp_path: Path) -> Callable[..., dict[str, Mapping[str, Tensor]]]:
    """Makes an expert of each rank, named "a", "b" ..., whose factors are random."""

    def make(base: nn.Module, ranks: tuple[int, ...] = (2, 3, 2), scale: float = 0.2) -> dict[str, Mapping]:
        import copy

        import peft

        experts = {}
        for number, rank in enumerate(ranks):
            name = "abcdefgh"[number]
            config = peft.LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=["qkv", "proj", "fc1", "fc2"])
            config.exclude_modules = ["patch_embed.proj"]
            adapted = peft.get_peft_model(copy.deepcopy(base), config, autocast_adapter_dtype=False)
            generator = torch.Generator().manual_seed(number)
            for part, parameter in adapted.named_parameters():
                if ".lora_" in part:
                    parameter.data.copy_(scale * torch.randn(parameter.shape, generator=generator))
            adapted.save_pretrained(tmp_path / name)
            experts[name] = as_expert(open_weights(tmp_path / name), name, base.state_dict())
        return experts

    return make
