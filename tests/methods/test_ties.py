"""TIES: against a case worked by hand, against NumPy, and its laws."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import mergebench
from mergebench.methods.ties import combine_agreeing

# Three task vectors, zero but for six entries in two tensors: a, c, d of cls_token and b, e, g of norm.bias.
#
#            a     c     d  |   b     e     g       the four largest magnitudes      kept
#   tau_1    4     1     2  |  -3     .5    0       4, 3, 2, 1                       a c d b
#   tau_2   -1     2    -4  |   5     0    -6       6, 5, 4, 2                       c d b g
#   tau_3   -2     3     3  |  -2     .25   0       3, 3, 2, 2                       a c d b
#
# Trimmed:
#   tau_1    4     1     2  |  -3     0     0
#   tau_2    0     2    -4  |   5     0    -6
#   tau_3   -2     3     3  |  -2     0     0
#   sum      2     6     1  |   0     0    -6
#   sign     +     +     +  |   0     0     -       majority over all entries: 3 against 1, +
#   elected  +     +     +  |   +     +     -       (the majority within norm.bias alone would be -)
#   agree    4     1,2,3 2,3|   5     none  -6
#   sum      4     6     5  |   5     0    -6
#   mean     4     2     2.5|   5     0    -6
VECTORS = {
    "cls_token": [[4, 1, 2], [-1, 2, -4], [-2, 3, 3]],
    "norm.bias": [[-3, 0.5, 0], [5, 0, -6], [-2, 0.25, 0]],
}
MERGED = {
    "sum": {"cls_token": [4, 6, 5], "norm.bias": [5, 0, -6]},
    "mean": {"cls_token": [4, 2, 2.5], "norm.bias": [5, 0, -6]},
}
KEPT = 4


def place(base, rows, sign=1):
    """The base's state, and experts that differ from it by the hand-written entries only."""
    start = {n: torch.ones_like(t) for n, t in base.state_dict().items()}
    experts = {}
    for i, task in enumerate(("x", "y", "z")):
        experts[task] = {n: t.clone() for n, t in start.items()}
        for name, values in rows.items():
            experts[task][name].view(-1)[:3] += sign * torch.tensor(values[i])
    base.load_state_dict(start)
    return start, experts


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("combine", ["sum", "mean"])
def test_case_worked_by_hand(mini, combine, sign):
    # With the opposite sign every step is mirrored, the majority included.
    base = mini.encoder()
    start, experts = place(base, VECTORS, sign)
    density = KEPT / sum(t.numel() for t in start.values())
    merged = mergebench.merge("ties", base, experts, scaling=0.5, density=density, combine=combine)
    for name, value in start.items():
        expected = value.clone()
        if name in VECTORS:
            expected.view(-1)[:3] += 0.5 * sign * torch.tensor(MERGED[combine][name])
        assert torch.equal(merged[name], expected), name


def numpy_ties(base, experts, density, scaling, combine):
    """Algorithm 1 of the paper on flat float64 vectors, with the zero-takes-majority rule of its code."""
    vectors = np.stack([e - base for e in experts])
    for vector in vectors:
        kept = int(density * vector.size)
        threshold = np.sort(np.abs(vector))[::-1][kept - 1]
        vector[np.abs(vector) < threshold] = 0
    elected = np.sign(vectors.sum(0))
    elected[elected == 0] = np.sign(elected.sum())
    merged = np.zeros_like(base)
    for j in range(base.size):
        agreeing = [v for v in vectors[:, j] if v != 0 and np.sign(v) == elected[j]]
        if agreeing:
            merged[j] = sum(agreeing) / (len(agreeing) if combine == "mean" else 1)
    return base + scaling * merged


@pytest.mark.parametrize("combine", ["sum", "mean"])
@pytest.mark.parametrize("density", [0.05, 0.2, 0.5, 1.0])
def test_equals_a_numpy_implementation(mini, density, combine):
    base = mini.encoder(depth=1, dtype=torch.float64)
    experts = mini.experts(base)
    merged = mergebench.merge("ties", base, experts, scaling=0.4, density=density, combine=combine)

    def flat(state):
        return np.concatenate([state[n].numpy().ravel() for n in base.state_dict()])

    expected = numpy_ties(flat(base.state_dict()), [flat(e) for e in experts.values()], density, 0.4, combine)
    np.testing.assert_allclose(flat(merged), expected, rtol=1e-12, atol=1e-14)


def test_density_zero_is_the_base(mini):
    base = mini.encoder()
    merged = mergebench.merge("ties", base, mini.experts(base), density=0)
    assert all(torch.equal(merged[n], t) for n, t in base.state_dict().items())


def test_one_expert_untrimmed_at_scaling_one_comes_back(mini):
    base = mini.encoder(dtype=torch.float64)
    expert = mini.expert(base, 3)
    merged = mergebench.merge("ties", base, {"only": expert}, density=1, scaling=1)
    for name, value in expert.items():
        torch.testing.assert_close(merged[name], value, rtol=1e-12, atol=1e-13)


def test_the_mean_of_copies_is_one_of_them(mini):
    base = mini.encoder(dtype=torch.float64)
    expert = mini.expert(base, 3)
    copies = {f"task{i}": expert for i in range(4)}
    alone = mergebench.merge("ties", base, {"only": expert}, density=0.3, scaling=1, combine="mean")
    merged = mergebench.merge("ties", base, copies, density=0.3, scaling=1, combine="mean")
    for name in alone:
        torch.testing.assert_close(merged[name], alone[name], rtol=1e-12, atol=1e-13)


ROWS = st.integers(1, 5)
SEEDS = st.integers(0, 10**6)


@given(ROWS, SEEDS, st.sampled_from([-1.0, 1.0]))
def test_agreeing_signs_add_up(count, seed, sign):
    values = sign * torch.rand(count, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    torch.testing.assert_close(combine_agreeing(values, -sign, "sum"), values.sum(0))


@given(ROWS, SEEDS, st.sampled_from([-1.0, 0.0, 1.0]))
def test_mean_and_sum_have_the_elected_sign_and_the_mean_is_no_larger(count, seed, majority):
    values = torch.randn(count, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    total, mean = combine_agreeing(values, majority, "sum"), combine_agreeing(values, majority, "mean")
    elected = values.sum(0).sign()
    assert torch.equal(total.sign(), elected)
    assert torch.equal(mean.sign(), elected)
    assert (mean.abs() <= values.abs().max(0).values + 1e-12).all()
    assert (mean.abs() <= total.abs() + 1e-12).all()


@given(ROWS, SEEDS, st.sampled_from(["sum", "mean"]), st.randoms(use_true_random=False))
def test_order_of_the_task_vectors_does_not_matter(count, seed, combine, random):
    # Whole numbers, so that no sum is rounded.
    values = torch.randint(-4, 5, (count, 8), generator=torch.Generator().manual_seed(seed)).double()
    order = random.sample(range(count), count)
    assert torch.equal(combine_agreeing(values[order], 1.0, combine), combine_agreeing(values, 1.0, combine))
