"""DOP: against a loop with torch's own gradients and a search for the weights, and step by step in a sequence."""

import numpy as np
import pytest
import scipy.optimize
import torch

import mergebench
from mergebench.catalogue import discovery, registry
from mergebench.catalogue.ready import ready
from mergebench.errors import MergebenchError
from mergebench.merging import hyperparameters
from mergebench.merging.contract import run_method
from mergebench.merging.pool import Earlier, ModelPool
from mergebench.methods.dop import shortest


def normal(seed, *shape):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def shortest_by_search(first, second):
    length = lambda c: np.linalg.norm(c * first + (1 - c) * second)  # noqa: E731
    return scipy.optimize.minimize_scalar(length, bounds=(0, 1), method="bounded", options={"xatol": 1e-12}).x


def pair(base, old, new, steps, lr, stability=0.8, memory=0.999, share=0.99999):
    """One step of the sequence for one matrix."""
    factors = []
    for weight in (old, new):
        u, s, vt = torch.linalg.svd(weight - base, full_matrices=False)
        kept = int((s.cumsum(0) / s.sum() < share).sum())
        factors.append((u[:, :kept], torch.diag(s[:kept]), vt[:kept].T))
    merged = ((old + new) / 2).requires_grad_()
    optimizer = torch.optim.Adam([merged], lr=lr, foreach=False)
    a = stability
    for _ in range(steps):
        losses = [
            (s @ u.T @ (merged - w)).square().sum() + ((merged - w) @ v @ s).square().sum()
            for (u, s, v), w in zip(factors, (old, new), strict=True)
        ]
        slopes = [torch.autograd.grad(loss, merged)[0] for loss in losses]
        scaled = [(g / x.detach()).numpy().ravel() for g, x in zip(slopes, losses, strict=True)]
        a = memory * a + (1 - memory) * np.clip(shortest_by_search(*scaled), 1e-3, 1 - 1e-3)
        optimizer.zero_grad()
        merged.grad = a * slopes[0] + (1 - a) * slopes[1]
        optimizer.step()
    return merged.detach()


def chain(start, experts, **settings):
    """name -> what the whole sequence makes of it."""
    found = {}
    for name, base in start.items():
        current = experts[0][name]
        for expert in experts[1:]:
            if name.startswith("blocks.") and base.ndim == 2:
                count = 3 if name.endswith("qkv.weight") else 1
                thirds = zip(base.chunk(count), current.chunk(count), expert[name].chunk(count), strict=True)
                current = torch.cat([pair(*third, **settings) for third in thirds])
            else:
                current = (current + expert[name]) / 2
        found[name] = current
    return found


@pytest.mark.parametrize("settings", [{"steps": 15, "lr": 1e-3}, {"steps": 4, "lr": 1e-2, "share": 0.6, "memory": 0.5}])
def test_the_sequence_against_the_written_out_loop(mini, settings):
    base = mini.encoder(dtype=torch.float64)
    experts, start = mini.experts(base), base.state_dict()
    merged = mergebench.merge("dop", base, experts, **settings)
    for name, value in chain(start, list(experts.values()), **settings).items():
        torch.testing.assert_close(merged[name], value, rtol=1e-6, atol=1e-8, msg=name)


@pytest.mark.parametrize("angle", [0.2, 1.0, 2.5])
@pytest.mark.parametrize("length", [0.3, 1.0, 4.0])
def test_the_shortest_combination_by_search(angle, length):
    first, second = torch.tensor([1.0, 0.0]), length * torch.tensor([np.cos(angle), np.sin(angle)])
    expected = np.clip(shortest_by_search(first.numpy(), second.numpy()), 1e-3, 1 - 1e-3)
    assert shortest(first.double(), second.double()).item() == pytest.approx(expected, abs=1e-5)


def test_a_step_of_a_sequence_goes_on_where_the_step_before_stopped(mini):
    base = mini.encoder(dtype=torch.float64)
    experts = {f"t{i}": mini.expert(base, i) for i in range(3)}
    settings = {"steps": 5, "lr": 1e-3}
    whole = mergebench.merge("dop", base, experts, **settings)
    so_far = mergebench.merge("dop", base, {t: experts[t] for t in ("t0", "t1")}, **settings)
    function = discovery.load_function(registry.method("dop"))
    pool = ModelPool(
        "dop", function.card.needs, base, base.state_dict(), {"zz": so_far, "t2": experts["t2"]},
        earlier=Earlier("zz", 2, {}),
    )  # fmt: skip
    after = run_method(function, pool, hyperparameters.resolve(function, settings), ready)
    for name, value in whole.items():
        torch.testing.assert_close(after[name], value, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_equal_experts_and_experts_that_did_nothing_leave_numbers(mini, dtype):
    base = mini.encoder(dtype=dtype)
    same, expert = base.state_dict(), mini.expert(base, 0)
    for experts in ({"a": same, "b": same}, {"a": expert, "b": dict(expert)}):
        merged = mergebench.merge("dop", base, experts, steps=3)
        for name, value in experts["a"].items():
            torch.testing.assert_close(merged[name], value)
    half = mergebench.merge("dop", base, {"a": expert, "b": same}, steps=3)
    assert all(torch.isfinite(value).all() for value in half.values())


@pytest.mark.parametrize("wrong", [{"lr": 0}, {"stability": 1.2}, {"memory": -0.1}])
def test_values_out_of_range_are_refused(mini, wrong):
    base = mini.encoder()
    with pytest.raises(MergebenchError, match=next(iter(wrong))):
        mergebench.merge("dop", base, mini.experts(base), **wrong)
