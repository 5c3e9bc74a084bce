"""AdaMerging++: the mask against a case worked by hand and NumPy, and AdaMerging on experts made of what is left."""

import numpy as np
import pytest
import torch

import mergebench
from mergebench.errors import MergebenchError
from mergebench.methods.adamerging import keep_agreeing

SIZES = {"birds": (5, 3), "cars": (6,), "digits": (4, 4, 2)}

# Two tensors of three entries; the four largest magnitudes of each task vector are kept before the election.
#
#            a     c     d  |   b     e     g       kept
#   tau_1    4     1     2  |  -3     .5    0       a c d b
#   tau_2   -1     2    -4  |   5     0    -6       c d b g
#   tau_3   -2     3     3  |  -2     .25   0       a c d b
#   sum      2     6     1  |   0     0    -6       majority over all entries: 3 against 1, +
#   elected  +     +     +  |   +     +     -
VECTORS = {
    "first": [[4, 1, 2], [-1, 2, -4], [-2, 3, 3]],
    "second": [[-3, 0.5, 0], [5, 0, -6], [-2, 0.25, 0]],
}
KEPT = {
    "first": [[4, 1, 2], [0, 2, 0], [0, 3, 3]],
    "second": [[0, 0, 0], [5, 0, -6], [0, 0, 0]],
}


def kept_of(vectors, density):
    count = len(next(iter(vectors.values())))
    return keep_agreeing(lambda task, name: torch.tensor(vectors[name][task]), range(count), list(vectors), density)


@pytest.mark.parametrize("sign", [1, -1])
def test_case_worked_by_hand(sign):
    mirrored = {n: (sign * np.array(rows, dtype=float)).tolist() for n, rows in VECTORS.items()}
    for name, values in kept_of(mirrored, 4 / 6).items():
        assert (sign * values).tolist() == KEPT[name]


def numpy_mask(vectors, density):
    """Flat float64 task vectors [T, n] as the authors' code masks them, entry by entry."""
    trimmed = vectors.copy()
    for row in trimmed:
        order = np.argsort(-np.abs(row), kind="stable")
        row[order[int(density * row.size) :]] = 0
    totals = trimmed.sum(0)
    majority = np.sign(np.sign(totals).sum())
    for j, total in enumerate(totals):
        elected = np.sign(total) or majority
        for row in trimmed:
            if np.sign(row[j]) != elected:
                row[j] = 0
    return trimmed


@pytest.mark.parametrize("density", [0.05, 0.2, 0.6, 1.0])
def test_equals_adamerging_on_experts_made_of_the_masked_vectors(mini, density):
    base = mini.encoder(depth=1, dtype=torch.float64)
    start, experts = base.state_dict(), mini.experts(base)
    given = {"test_inputs": mini.calibration(SIZES, torch.float64), "heads": mini.heads()}
    settings = {"steps": 3, "lr": 0.05}
    flat = np.stack([np.concatenate([(e[n] - start[n]).numpy().ravel() for n in start]) for e in experts.values()])
    masked = dict(zip(experts, torch.from_numpy(numpy_mask(flat, density)), strict=True))
    sizes = [v.numel() for v in start.values()]
    made = {
        task: {n: start[n] + part.view(start[n].shape) for n, part in zip(start, vector.split(sizes), strict=True)}
        for task, vector in masked.items()
    }
    expected, pool = mini.run("adamerging", base, made, **given, **settings)
    merged, masked_pool = mini.run("adamerging++", base, experts, density=density, **given, **settings)
    for name in start:
        torch.testing.assert_close(merged[name], expected[name], rtol=1e-9, atol=1e-11)
    for task, values in pool.diagnostics["coefficients"].items():
        np.testing.assert_allclose(masked_pool.diagnostics["coefficients"][task], values, rtol=1e-7)


def test_it_begins_at_ties(mini):
    # A first step of Adam is as long as its rate, whatever the gradient: a rate near zero leaves the start.
    base = mini.encoder(dtype=torch.float64)
    experts = mini.experts(base)
    given = {"test_inputs": mini.calibration(SIZES, torch.float64), "heads": mini.heads()}
    merged = mergebench.merge("adamerging++", base, experts, **given, steps=1, lr=1e-12, init=0.4, density=0.3)
    ties = mergebench.merge("ties", base, experts, scaling=0.4, density=0.3)
    for name in ties:
        torch.testing.assert_close(merged[name], ties[name], rtol=1e-9, atol=1e-10)
        assert not torch.equal(merged[name], base.state_dict()[name])


def test_what_no_expert_changed_stays_the_bases(mini):
    base = mini.encoder()
    experts = mini.experts(base)
    frozen = "blocks.0.mlp.fc1.weight"
    for expert in experts.values():
        expert[frozen] = base.state_dict()[frozen].clone()
    given = {"test_inputs": mini.calibration(SIZES), "heads": mini.heads()}
    for density in (0.2, 1.0):
        merged = mergebench.merge("adamerging++", base, experts, **given, steps=2, density=density)
        assert torch.equal(merged[frozen], base.state_dict()[frozen])


@pytest.mark.parametrize("wrong", [{"density": 1.5}, {"density": -0.1}, {"lr": 0}, {"steps": 0}])
def test_values_out_of_range_are_refused(mini, wrong):
    base = mini.encoder(depth=1)
    with pytest.raises(MergebenchError):
        mergebench.merge(
            "adamerging++", base, mini.experts(base), test_inputs=mini.calibration(), heads=mini.heads(), **wrong
        )
