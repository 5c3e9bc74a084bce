"""Subspace boosting on three inner methods: against NumPy's spectrum, matrix by matrix."""

import numpy as np
import pytest
import torch

import mergebench
from mergebench.errors import MergebenchError
from mergebench.methods.subspace_boosting import boosted

STARTS = {
    "task_arithmetic": {"scaling": 0.5},
    "ties": {"density": 0.4},
    "average": {},
}


def normal(seed, *shape):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def raised(change, share):
    u, s, vt = np.linalg.svd(change, full_matrices=False)
    place = next((i for i in range(len(s)) if s[: i + 1].sum() / s.sum() >= share), len(s) - 1)
    return u @ np.diag([max(value, s[place]) for value in s]) @ vt


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("share", [0.0, 0.01, 0.6])
def test_linear_layers_are_boosted_and_all_else_is_as_the_start_has_it(mini, start, share):
    base = mini.encoder(dtype=torch.float64)
    experts, theta = mini.experts(base), base.state_dict()
    given = {"start": start, "start_settings": STARTS[start], "share": share}
    merged = mergebench.merge("subspace_boosting", base, experts, **given)
    begun = mergebench.merge(start, base, experts, **STARTS[start])
    layers = 0
    for name, value in theta.items():
        expected = begun[name]
        if name.startswith("blocks.") and value.ndim == 2:
            layers += 1
            change = (expected - value).numpy()
            parts = np.split(change, 3 if name.endswith("qkv.weight") else 1)
            expected = value + torch.from_numpy(np.concatenate([raised(part, share) for part in parts]))
        torch.testing.assert_close(merged[name], expected, rtol=1e-8, atol=1e-9)
    assert layers == 4 * len(base.blocks)


def test_spectra_by_hand():
    change = torch.diag(torch.tensor([4.0, 3.0, 2.0, 1.0], dtype=torch.float64))
    for share, expected in (
        (0.0, [4, 4, 4, 4]),
        (0.4, [4, 4, 4, 4]),
        (0.5, [4, 3, 3, 3]),
        (0.9, [4, 3, 2, 2]),
        (1.0, [4, 3, 2, 1]),
    ):
        found = torch.linalg.svdvals(boosted(change, share))
        torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64), rtol=1e-9, atol=1e-9)


def test_directions_that_nothing_changed_in_stay():
    change = normal(0, 9, 2) @ normal(1, 2, 7)
    found = boosted(change, 0.01)
    assert torch.linalg.matrix_rank(found) == 2
    values = torch.linalg.svdvals(found)
    torch.testing.assert_close(values[1], values[0])
    assert torch.equal(boosted(0 * change, 0.01), 0 * change)


@pytest.mark.parametrize("wrong", [{"share": 1.5}, {"start": "nothing"}])
def test_values_out_of_range_are_refused(mini, wrong):
    base = mini.encoder()
    with pytest.raises(MergebenchError, match="share" if "share" in wrong else "nothing"):
        mergebench.merge("subspace_boosting", base, mini.experts(base), **wrong)
