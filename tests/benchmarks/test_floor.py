"""The operations that the floor counts are those that torch counts in a merge."""

import sys
from pathlib import Path

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer
from torch.utils.flop_counter import FlopCounterMode

import mergebench

PEER = Path(__file__).parents[2] / "benchmarks/peer"


@pytest.fixture
def floor(monkeypatch):
    """The module, as scripts beside it import it."""
    monkeypatch.syspath_prepend(str(PEER))
    import floor

    yield floor
    for name in ("floor", "inputs"):
        del sys.modules[name]


@pytest.mark.parametrize("method", ["regmean", "regmean++"])
def test_what_is_counted_is_what_is_done(mini, floor, method):
    size = floor.Size(tasks=2, images=9, blocks=3, width=64, hidden=128, patch=8, image=32)
    base = VisionTransformer(
        img_size=32, patch_size=8, embed_dim=64, depth=3, num_heads=2, num_classes=0, mlp_ratio=2
    ).eval()  # fmt: skip
    experts = {t: mini.expert(base, i) for i, t in enumerate(mini.tasks[:2])}
    images = {t: [mini.images(i, 9)] for i, t in enumerate(experts)}
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        mergebench.merge(method, base, experts, calibration=images)
    counted = {str(name): number for name, number in counter.get_flop_counts()["Global"].items()}
    expected = floor.operations(method, size)
    # Sums in place, which Grams and targets are, and the attention's kernel for CPUs it does not see.
    assert counted["aten.convolution"] == expected["embedding"]
    assert counted["aten.addmm"] == expected["layers"]
    rows = size.images * size.tokens
    assert expected["grams"] == 2 * 3 * rows * (3 * 64**2 + 128**2)
    passes = 2 * 3 + (2 * 2 if method == "regmean++" else 0)
    assert expected["attention"] == passes * 4 * size.images * size.tokens**2 * 64
