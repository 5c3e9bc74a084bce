"""Task vectors that are kept in fewer bytes: sums and inner products are those of the vectors as they were given."""

import pytest
import torch

from mergebench.methods import vectors as module
from mergebench.methods.vectors import Asked, Shifted, TaskVectors, narrowed


def random(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def experts(dtype, tasks=3, shape=(5, 7)):
    """A base and task vectors as the pool gives them, of weights stored in a format."""
    base = random(*shape).to(dtype)
    tuned = torch.stack([(base.float() + 0.05 * random(*shape, seed=1 + t)).to(dtype) for t in range(tasks)])
    return base.float(), tuned.float() - base.float()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_vectors_of_narrow_experts_are_kept_in_their_format_to_the_last_bit(dtype):
    base, vectors = experts(dtype)
    held = narrowed(base.flatten(), vectors.flatten(1))
    assert held.dtype == dtype
    assert torch.equal(held[1:].float() - held[0].float(), vectors.flatten(1))


def test_vectors_that_no_narrow_format_gives_back_stay_as_they_are():
    base, vectors = experts(torch.float32)
    assert narrowed(base.flatten(), vectors.flatten(1)) is None
    half, others = experts(torch.float16)
    assert narrowed(half.flatten(), 0.3 * others.flatten(1)) is None
    assert narrowed(half.flatten(), torch.full((1, half.numel()), 1e6)) is None  # beyond float16


@pytest.mark.parametrize("tasks", [1, 3])
@pytest.mark.parametrize("chunk", [1, 10, 2**21])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_sums_and_inner_products_are_the_plain_ones(monkeypatch, dtype, chunk, tasks):
    monkeypatch.setattr(module, "LARGE", 1)
    monkeypatch.setattr(module, "CHUNK", chunk)
    base, given = experts(dtype, tasks)
    weights, slope = random(tasks, seed=8), random(5, 7, seed=9)
    kept = TaskVectors({"a": base}, {"a": given})
    assert kept._held["a"].dtype == dtype
    expected = base.double() + torch.tensordot(weights.double(), given.double(), dims=1)
    torch.testing.assert_close(kept.merged("a", weights).view(5, 7).double(), expected, rtol=1e-5, atol=1e-6)
    inner = (given.double() * slope.double()).sum((1, 2))
    torch.testing.assert_close(kept.along("a", slope).double(), inner, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(kept.along("a", slope.T.contiguous().T), kept.along("a", slope))


def test_small_tensors_are_kept_as_they_are():
    base, given = experts(torch.float16)
    assert TaskVectors({"a": base}, {"a": given})._held["a"].dtype == torch.float32


def test_each_tensor_is_made_once_and_when_it_is_asked_for():
    asked = []
    lazily = Asked(("a", "b"), lambda name: asked.append(name) or torch.zeros(2, 3))
    assert list(lazily) == ["a", "b"] and len(lazily) == 2 and asked == []
    TaskVectors({"a": torch.zeros(3), "b": torch.zeros(3)}, lazily)
    assert asked == ["a", "b"]


@pytest.mark.parametrize("chunk", [1, 10, 2**21])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_a_shift_moves_every_entry_that_is_not_zero(monkeypatch, dtype, chunk):
    monkeypatch.setattr(module, "LARGE", 1)
    monkeypatch.setattr(module, "CHUNK", chunk)
    base, given = experts(dtype)
    given[random(3, 5, 7, seed=3) > 0] = 0
    shift, weights, slope = random(5, 7, seed=4), random(3, seed=8), random(5, 7, seed=9)
    kept = TaskVectors({"a": base}, {"a": Shifted(given, shift)})
    assert kept._held["a"].dtype == dtype  # which no format gives back that is narrower than the shift's
    moved = (given.double() + shift.double()) * (given != 0)
    assert torch.equal(Shifted(given, shift).moved(), moved.float())
    expected = base.double() + torch.tensordot(weights.double(), moved, dims=1)
    torch.testing.assert_close(kept.merged("a", weights).view(5, 7).double(), expected, rtol=1e-5, atol=1e-6)
    inner = (moved * slope.double()).sum((1, 2))
    torch.testing.assert_close(kept.along("a", slope).double(), inner, rtol=1e-5, atol=1e-6)
