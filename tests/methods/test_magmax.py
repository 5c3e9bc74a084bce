"""MagMax: by hand, against NumPy, and its laws."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

import mergebench
from mergebench.methods.magmax import largest_changes


def test_worked_by_hand():
    vectors = torch.tensor([[1.0, -5.0, 0.0, 2.0], [-3.0, 4.0, 0.0, -2.0], [2.0, 4.5, 0.0, 1.0]])
    # In the last column the first and the second are equally large: the later counts.
    assert largest_changes(vectors).tolist() == [-3, -5, 0, -2]


def test_equals_a_numpy_implementation(mini):
    base = mini.encoder(dtype=torch.float64)
    experts = mini.experts(base)
    merged = mergebench.merge("magmax", base, experts, scaling=0.7)
    for name, value in base.state_dict().items():
        vectors = np.stack([(experts[t][name] - value).numpy().ravel() for t in sorted(experts)])
        largest = [max(column, key=abs) for column in vectors.T]
        expected = value.numpy().ravel() + 0.7 * np.array(largest)
        np.testing.assert_allclose(merged[name].numpy().ravel(), expected, rtol=1e-12, atol=1e-14)


def test_one_expert_at_scaling_one_comes_back_and_so_do_copies(mini):
    base = mini.encoder(dtype=torch.float64)
    expert = mini.expert(base, 3)
    for count in (1, 4):
        merged = mergebench.merge("magmax", base, {f"task{i}": expert for i in range(count)}, scaling=1)
        for name, value in expert.items():
            torch.testing.assert_close(merged[name], value, rtol=1e-12, atol=1e-13)


def test_what_no_expert_changed_stays(mini):
    base = mini.encoder()
    start = base.state_dict()
    frozen = "blocks.0.attn.qkv.weight"
    experts = {t: {**e, frozen: start[frozen]} for t, e in mini.experts(base).items()}
    assert torch.equal(mergebench.merge("magmax", base, experts)[frozen], start[frozen])


@given(st.integers(1, 6), st.integers(0, 10**6))
def test_the_result_is_one_of_the_entries_and_none_is_larger(count, seed):
    vectors = torch.randn(count, 7, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    chosen = largest_changes(vectors)
    assert (vectors == chosen).any(0).all()
    assert (vectors.abs() <= chosen.abs()).all()
    assert torch.equal(largest_changes(-vectors), -chosen)
