"""OPCM: against the published recursion in NumPy, by hand, and in sequences, where a step goes on where one stopped."""

import numpy as np
import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st

import mergebench
from mergebench.catalogue import discovery, registry
from mergebench.catalogue.ready import ready
from mergebench.errors import MergebenchError
from mergebench.merging import hyperparameters
from mergebench.merging.contract import run_method
from mergebench.merging.pool import Earlier, ModelPool
from mergebench.methods.opcm import accumulated, without_merged_directions
from mergebench.running.execution import Executor, Recipe
from mergebench.suites.bench import Bench

MERGED = "merged-so-far"


def projected(vector, merged, alpha):
    """With the full bases of both spaces, entry by entry."""
    left, values, right = np.linalg.svd(merged)
    inside = left.T @ vector @ right.T
    leading = next((k for k in range(len(values)) if values[: k + 1].sum() / values.sum() > alpha), len(values))
    for i, j in np.ndindex(*inside.shape):
        if i == j or (i < leading and j < leading):
            inside[i, j] = 0
    return left @ inside @ right


def recursion(base, experts, alpha):
    """Every step scaled before the next: theta_t = theta_0 + (lambda_(t-1) Delta_(t-1) + P(tau_t)) / lambda_t."""
    length = lambda change: np.sqrt(sum((v**2).sum() for v in change.values()))  # noqa: E731
    changes = [{n: (e[n] - v).numpy() for n, v in base.items()} for e in experts]
    current, scaling, lengths = changes[0], 1.0, [length(changes[0])]
    for change in changes[1:]:
        lengths.append(length(change))
        total = {}
        for name, vector in change.items():
            if name.startswith("blocks.") and vector.ndim == 2:
                thirds = 3 if name.endswith("qkv.weight") else 1
                pairs = zip(np.split(vector, thirds), np.split(current[name], thirds), strict=True)
                vector = np.concatenate([projected(v, m, alpha) for v, m in pairs])
            total[name] = scaling * current[name] + vector
        scaling = length(total) / np.mean(lengths)
        current = {n: v / scaling for n, v in total.items()}
    return {n: v.numpy() + current[n] for n, v in base.items()}, scaling, np.mean(lengths)


@pytest.mark.parametrize("alpha", [0.0, 0.2, 0.5, 0.9, 1.0])
def test_the_published_recursion(mini, alpha):
    base = mini.encoder(dtype=torch.float64)
    experts = {f"{i}": mini.expert(base, i) for i in range(4)}
    merged, pool = mini.run("opcm", base, experts, alpha=alpha)
    expected, scaling, mean_norm = recursion(base.state_dict(), list(experts.values()), alpha)
    for name, value in expected.items():
        np.testing.assert_allclose(merged[name].numpy(), value, rtol=1e-8, atol=1e-10, err_msg=name)
    assert pool.diagnostics["scaling"] == pytest.approx(scaling)
    assert pool.diagnostics["mean_norm"] == pytest.approx(mean_norm)


# merged = diag(3, 2, 1): the shares are 1/2, 5/6 and 1.
@pytest.mark.parametrize(
    ("alpha", "closed"),
    [
        (0.0, [[1, 0, 0], [0, 1, 0], [0, 0, 1]]),
        (0.4, [[1, 0, 0], [0, 1, 0], [0, 0, 1]]),
        (0.7, [[1, 0, 0], [0, 1, 0], [0, 0, 1]]),
        (0.9, [[1, 1, 0], [1, 1, 0], [0, 0, 1]]),
        (1.0, [[1, 1, 1], [1, 1, 1], [1, 1, 1]]),
    ],
)
def test_what_is_closed_to_a_later_task_by_hand(alpha, closed):
    vector = torch.arange(1.0, 13).view(3, 4)
    merged = torch.diag(torch.tensor([3.0, 2, 1])) @ torch.eye(3, 4)
    expected = vector * (1 - torch.tensor([[*row, 0] for row in closed]))
    torch.testing.assert_close(without_merged_directions(vector, merged, alpha), expected, rtol=0, atol=1e-5)


def test_directions_that_the_merged_matrix_has_not_are_open():
    vector = torch.arange(1.0, 10).view(3, 3)
    assert torch.equal(without_merged_directions(vector, torch.zeros(3, 3), 1.0), vector)
    merged = torch.diag(torch.tensor([2.0, 0, 0]))
    expected = vector.clone()
    expected[0, 0] = 0
    torch.testing.assert_close(without_merged_directions(vector, merged, 1.0), expected, rtol=0, atol=1e-5)


@given(seed=st.integers(0, 2**31), alpha=st.floats(0, 1), rows=st.integers(2, 6), columns=st.integers(2, 6))
def test_what_is_added_is_orthogonal_to_what_is_there(seed, alpha, rows, columns):
    generator = torch.Generator().manual_seed(seed)
    merged, vector = torch.randn(2, rows, columns, dtype=torch.float64, generator=generator)
    added = without_merged_directions(vector, merged, alpha)
    assert abs((added * merged).sum()) < 1e-9
    torch.testing.assert_close(without_merged_directions(added, merged, alpha), added)  # a projection


def test_the_first_task_is_taken_whole_and_a_second_copy_of_it_adds_nothing():
    vector = torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(accumulated(torch.stack([vector, vector, vector]), 0.5), vector)


def test_the_result_is_as_far_from_the_base_as_the_experts_are_on_average(mini):
    base = mini.encoder(dtype=torch.float64)
    experts, start = {t: mini.expert(base, i, scale=0.02 * (i + 1)) for i, t in enumerate("abc")}, base.state_dict()
    merged = mergebench.merge("opcm", base, experts)
    distance = lambda state: sum((state[n] - v).square().sum() for n, v in start.items()).sqrt()  # noqa: E731
    torch.testing.assert_close(distance(merged), torch.stack([distance(e) for e in experts.values()]).mean())


def test_one_expert_alone_comes_back(mini):
    base = mini.encoder(dtype=torch.float64)
    expert = mini.expert(base, 0)
    merged = mergebench.merge("opcm", base, {"birds": expert})
    for name, value in expert.items():
        torch.testing.assert_close(merged[name], value, rtol=1e-12, atol=1e-12)


def test_experts_that_are_the_base_give_the_base(mini):
    base = mini.encoder()
    merged, pool = mini.run("opcm", base, {t: base.state_dict() for t in "ab"})
    assert all(torch.equal(merged[n], v) for n, v in base.state_dict().items())
    assert pool.diagnostics == {"scaling": 1.0, "mean_norm": 0.0}


@pytest.mark.parametrize("wrong", [-0.1, 1.1, "half"])
def test_bad_values_are_refused(mini, wrong):
    base = mini.encoder()
    with pytest.raises(MergebenchError, match="alpha"):
        mergebench.merge("opcm", base, mini.experts(base), alpha=wrong)


def one_by_one(base, experts, steps, region=None):
    """A merge in steps: (experts of the step) -> the last result and what it reported."""
    function, carried, count, report = discovery.load_function(registry.method("opcm")), None, 0, None
    resolved = hyperparameters.resolve(function, {})
    for step in steps:
        given = {t: experts[t] for t in step} | ({MERGED: carried} if carried else {})
        pool = ModelPool(
            "opcm",
            function.card.needs,
            base,
            base.state_dict(),
            given,
            region=region,
            earlier=Earlier(MERGED, count, report) if carried else None,
        )
        carried, report, count = run_method(function, pool, resolved, ready), pool.diagnostics, count + len(step)
    return carried, report


@pytest.fixture(scope="module")
def eight(mini):
    # Names on both sides of "merged-so-far", which must come first all the same.
    base = mini.encoder(dtype=torch.float64)
    return base, {t: mini.expert(base, i, scale=0.01 * (i + 1)) for i, t in enumerate("abcdwxyz")}


@pytest.mark.parametrize("steps", [("abcd", "wxyz"), ("a", "bcd", "w", "xyz"), "abcdwxyz", ("abc", "dwxyz")])
def test_in_steps_is_as_in_one_call(eight, steps):
    base, experts = eight
    (whole, told), (stepped, last) = one_by_one(base, experts, ["abcdwxyz"]), one_by_one(base, experts, steps)
    for name, value in whole.items():
        torch.testing.assert_close(stepped[name], value, rtol=1e-9, atol=1e-11)
    assert last == pytest.approx(told)
    turned, _ = one_by_one(base, experts, steps[::-1])
    assert not torch.allclose(turned["blocks.0.mlp.fc1.weight"], whole["blocks.0.mlp.fc1.weight"], rtol=1e-3)


def test_in_steps_is_as_in_one_call_where_only_a_region_is_merged(eight):
    base, experts = eight
    region = [n for n in base.state_dict() if n.startswith("blocks.1.")]
    whole, told = one_by_one(base, experts, ["abcdwxyz"], region)
    stepped, last = one_by_one(base, experts, ("abcd", "wxyz"), region)
    for name in region:
        torch.testing.assert_close(stepped[name], whole[name], rtol=1e-9, atol=1e-11)
    assert last == pytest.approx(told)
    inside = sum((whole[n] - base.state_dict()[n]).square().sum() for n in region).sqrt()
    assert inside.item() == pytest.approx(told["mean_norm"])
    outside = torch.stack([e["cls_token"] for e in experts.values()]).mean(0)
    torch.testing.assert_close(whole["cls_token"], outside)


def suite(folder, **fields):
    tasks = ["digits", "landcover", "scenes", "signs"]
    path = folder / f"{len(list(folder.iterdir()))}.yaml"
    path.write_text(yaml.safe_dump({"title": "t", "zoo": "tiny", "merge": tasks} | fields))
    return Bench(str(path))


def recipe(name, **given):
    card = registry.method(name)
    function = discovery.load_function(card)
    return Recipe(card, function, hyperparameters.resolve(function, given), 0)


def test_a_suites_sequence_is_as_one_merge_of_all_its_tasks(tmp_path):
    whole, steps = suite(tmp_path), suite(tmp_path, orders={0: [["landcover", "digits"], ["signs", "scenes"]]})
    together = Executor(whole, "cpu").merge(recipe("opcm"), whole.variants[0])
    in_two = Executor(steps, "cpu").merge(recipe("opcm"), steps.variants[-1])
    base = whole.zoo.base
    change = lambda made: torch.cat([(made.states[n] - base[n]).flatten() for n in base])  # noqa: E731
    apart = (change(in_two) - change(together)).norm() / change(together).norm()
    assert apart < 1e-3  # weights are stored in single precision between the steps
    assert in_two.diagnostics == pytest.approx(together.diagnostics, rel=1e-4)


def test_it_goes_on_as_the_start_of_another_method_too(tmp_path):
    bench = suite(tmp_path, orders={0: [["digits", "landcover"], ["scenes", "signs"]]})
    wrapped = Executor(bench, "cpu").merge(recipe("svc", start="opcm", alpha=1), bench.variants[-1])
    alone = Executor(bench, "cpu").merge(recipe("opcm"), bench.variants[-1])
    told = wrapped.diagnostics["start"]
    assert told["mean_norm"] == pytest.approx(alone.diagnostics["mean_norm"])
    assert told["scaling"] == pytest.approx(alone.diagnostics["scaling"], rel=0.1)
