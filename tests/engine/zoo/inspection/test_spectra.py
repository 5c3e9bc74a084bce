"""Spectra and overlaps against NumPy, and of matrices whose answer is known."""

import numpy as np
import pytest
import torch
from torch import nn

from mergebench.errors import MergebenchError
from mergebench.merging.layout import Layout
from mergebench.zoo.inspection.spectra import POINTS, look_at_spectra, overlap, spectrum


def test_every_matrix_against_numpy(mini):
    base = mini.encoder()
    start, experts = base.state_dict(), mini.experts(base)
    spectra, overlaps = look_at_spectra(Layout(base), start, experts)
    matrices = [o.matrix for o in overlaps]
    assert len(matrices) == 6 * len(base.blocks) and len(spectra) == len(matrices) * len(experts)
    assert matrices[:4] == [f"blocks.0.attn.qkv.weight {p}" for p in "qkv"] + ["blocks.0.attn.proj.weight"]
    third = {s.task: s for s in spectra if s.matrix == "blocks.1.attn.qkv.weight k"}
    bases = []
    for task, expert in experts.items():
        vector = np.split((expert["blocks.1.attn.qkv.weight"] - start["blocks.1.attn.qkv.weight"]).numpy(), 3)[1]
        u, s, vt = np.linalg.svd(vector)
        count = len(s) // len(experts)
        bases.append((u[:, :count], vt[:count].T))
        p = s**2 / (s**2).sum()
        assert third[task].norm == pytest.approx(np.linalg.norm(vector), rel=1e-5)
        assert third[task].effective == pytest.approx(np.exp(-(p * np.log(p)).sum()) / len(s), rel=1e-4)
        assert third[task].stable == pytest.approx(1 / p[0] / len(s), rel=1e-4)
        assert third[task].ninety == (np.searchsorted(np.cumsum(p), 0.9) + 1) / len(s)
    found = next(o for o in overlaps if o.matrix == "blocks.1.attn.qkv.weight k")
    for i, (left, right) in enumerate(bases):
        for j, (other, across) in enumerate(bases):
            expected = (np.linalg.norm(left.T @ other) ** 2 + np.linalg.norm(right.T @ across) ** 2) / 2 / left.shape[1]
            assert found.shares[i, j].item() == pytest.approx(expected, abs=1e-4)


def test_spectra_by_hand():
    flat, peaked = spectrum("w", "a", torch.ones(10)), spectrum("w", "a", torch.tensor([5.0] + [0.0] * 9))
    assert (flat.effective, flat.stable, flat.ninety) == pytest.approx((1, 1, 0.9))
    assert (peaked.effective, peaked.stable, peaked.ninety) == pytest.approx((0.1, 0.1, 0.1))
    assert len(flat.curve) == POINTS and flat.curve.unique().tolist() == [1]
    nothing = spectrum("w", "a", torch.zeros(4))
    assert nothing.norm == 0 and np.isnan([nothing.effective, nothing.stable, nothing.ninety]).all()


def test_overlaps_by_hand():
    eye = torch.eye(6)
    bases = torch.stack([eye[:, :2], eye[:, 1:3], eye[:, 4:]])
    found = overlap("w", bases, bases)
    torch.testing.assert_close(found.shares, torch.tensor([[1.0, 0.5, 0], [0.5, 1, 0], [0, 0, 1]]))
    assert found.chance == pytest.approx(1 / 3)


def test_random_directions_overlap_as_chance_says():
    generator = torch.Generator().manual_seed(0)
    bases = torch.linalg.qr(torch.randn(40, 60, 6, generator=generator)).Q
    found = overlap("w", bases, bases)
    off = found.shares[~torch.eye(40, dtype=bool)]
    assert off.mean().item() == pytest.approx(found.chance, rel=0.03)


class Scaling(nn.Module):
    """An encoder that holds no matrix."""

    num_features = 3

    def __init__(self):
        super().__init__()
        self.norm = nn.LayerNorm(3)

    def get_classifier(self):
        """None."""
        return nn.Identity()


def test_an_encoder_without_matrices_is_refused():
    encoder = Scaling()
    state = encoder.state_dict()
    with pytest.raises(MergebenchError, match="no matrices to be looked at: no linear layers, no plain convolutions"):
        look_at_spectra(Layout(encoder), state, {"a": state})
