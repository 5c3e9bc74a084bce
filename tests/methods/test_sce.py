"""SCE: entry by entry in loops."""

import numpy as np
import pytest
import torch

import mergebench
from mergebench.errors import MergebenchError
from mergebench.methods.sce import most_varied, weighted_majority


def sce(vectors, density):
    """Of vectors [T, n] as an array."""
    tasks, size = vectors.shape
    if density < 1:
        variance = ((vectors - vectors.mean(0)) ** 2).mean(0)
        kept = int(round(density * (variance > 0).sum(), 6))
        order = np.argsort(-variance)
        vectors = np.where(np.isin(np.arange(size), order[:kept]), vectors, 0)
    energies = (vectors**2).sum(1)
    merged = np.zeros(size)
    for i in range(size):
        sign = 1 if vectors[:, i].sum() >= 0 else -1
        agreeing = [t for t in range(tasks) if vectors[t, i] * sign > 0]
        if agreeing:
            weights = [energies[t] for t in agreeing]
            merged[i] = sum(w * vectors[t, i] for w, t in zip(weights, agreeing, strict=True)) / sum(weights)
    return merged


@pytest.mark.parametrize("density", [0.0, 0.1, 0.6, 1.0])
def test_every_tensor_by_itself_against_loops(mini, density):
    base = mini.encoder(dtype=torch.float64)
    experts, start = mini.experts(base), base.state_dict()
    merged = mergebench.merge("sce", base, experts, density=density)
    for name, value in start.items():
        vectors = np.stack([(e[name] - value).numpy().ravel() for e in experts.values()])
        expected = value.numpy() + sce(vectors, density).reshape(value.shape)
        np.testing.assert_allclose(merged[name].numpy(), expected, rtol=1e-9, atol=1e-12, err_msg=name)


def test_by_hand():
    vectors = torch.tensor([[2.0, 1.0, -1.0, 0.0], [2.0, -3.0, 1.0, 0.0]])
    # Energies 6 and 14: of the first entry both agree, of the second the second task, the third sums to 0: plus.
    torch.testing.assert_close(weighted_majority(vectors), torch.tensor([2.0, -3.0, 1.0, 0.0]))
    # The first and the last entry do not vary; half of the other two is the second.
    torch.testing.assert_close(most_varied(vectors, 0.5), vectors * torch.tensor([0.0, 1.0, 0.0, 0.0]))
    assert torch.equal(weighted_majority(0 * vectors), torch.zeros(4))


def test_equal_experts_come_back_when_all_entries_are_selected(mini):
    base = mini.encoder(dtype=torch.float64)
    expert = mini.expert(base, 0)
    merged = mergebench.merge("sce", base, {"a": expert, "b": dict(expert)})
    for name, value in expert.items():
        torch.testing.assert_close(merged[name], value, rtol=1e-12, atol=1e-12)


def test_values_out_of_range_are_refused(mini):
    base = mini.encoder()
    with pytest.raises(MergebenchError, match="density"):
        mergebench.merge("sce", base, mini.experts(base), density=-0.1)
