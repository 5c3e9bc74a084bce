"""Writing low-rank differences as peft does, so that it adds them to the base: a folder of two files."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mergebench.weights.adapters import ADAPTER_CONFIG, ADAPTER_WEIGHTS
from mergebench.weights.dialects import HUGGING_FACE, SIGLIP, TIMM
from mergebench.weights.resizing import as_read
from mergebench.weights.rules import Rule
from mergebench.weights.states import StateDict, save_state
from mergebench.weights.translation import TranslatedState
from mergebench.weights.writing import writing

# Libraries whose modules in memory are called as in their files: peft finds layers by those names.
AS_IN_FILES = (HUGGING_FACE, SIGLIP)

Factors = Mapping[str, tuple[Tensor, Tensor]]  # timm's linear layer -> B [parts, out, r], A [parts, r, in]


def write_adapter(
    folder: Path, factors: Factors, base: Mapping[str, Tensor], place: str | None, metadata: Mapping[str, str]
) -> None:
    """Write an adapter with alpha = r, the weights last: a reader who finds them finds all.

    Args:
        folder: where to; it is made.
        factors: the differences B A, by timm's linear layers, of several parts where a layer holds several matrices.
        base: what they are differences from, as it is read from its file: of a Hugging Face CLIP or SigLIP the layers
            are named as there, of all else as in timm.
        place: where transformers finds the base, if that is known.
        metadata: text notes for the header.

    Raises:
        MergebenchError: the place cannot be written, or the disk fills up.
    """
    base = as_read(base)
    theirs = base if isinstance(base, TranslatedState) and base.dialect in AS_IN_FILES else None
    layers: dict[str, tuple[Tensor, Tensor]] = {}
    for name, (up, down) in factors.items():
        if theirs is not None:
            layers |= zip(_layers_of(name, theirs), zip(up, down, strict=True), strict=True)
        else:
            whole: Tensor = torch.block_diag(*up)  # type: ignore[no-untyped-call]
            layers[name] = whole, down.flatten(0, 1)
    tensors: StateDict = {}
    for layer, (up, down) in layers.items():
        tensors |= {f"base_model.model.{layer}.lora_{f}.weight": t for f, t in (("A", down), ("B", up))}
    ranks = {layer: len(down) for layer, (_, down) in layers.items()}
    config = _config(ranks, place if theirs is not None else None)
    with writing(folder / ADAPTER_CONFIG) as temporary:
        temporary.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    save_state(tensors, folder / ADAPTER_WEIGHTS, {"format": "pt", **metadata})


def _layers_of(name: str, base: TranslatedState) -> list[str]:
    """The layers that a linear layer of timm's is in a file, one for every part."""
    rules: tuple[Rule, ...] = base.dialect.of_depth(TIMM.depth(base, ""), base.prefix)
    rule = next(rule for rule in rules if rule.timm == f"{name}.weight")
    return [their.removeprefix(base.wrapper).removesuffix(".weight") for their in rule.theirs]


def _config(ranks: Mapping[str, int], place: str | None) -> dict[str, Any]:
    """The configuration of layers of these ranks, whose scale is one."""
    rank = min(ranks.values())
    other = {re.escape(layer): own for layer, own in ranks.items() if own != rank}
    return {
        "peft_type": "LORA", "task_type": None, "base_model_name_or_path": place, "inference_mode": True,
        "r": rank, "lora_alpha": rank, "rank_pattern": other, "alpha_pattern": other, "target_modules": sorted(ranks),
        "bias": "none", "fan_in_fan_out": False, "use_rslora": False, "use_dora": False, "lora_dropout": 0.0,
        "init_lora_weights": True, "modules_to_save": None,
    }  # fmt: skip
