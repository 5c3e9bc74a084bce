"""The way between two models: its ends and middle, barriers by hand, and accuracies that evaluation gives."""

import numpy as np
import pytest
import torch

from mergebench.running.execution import Executor
from mergebench.running.interpolation import Path, between, walk_line
from mergebench.suites.bench import Bench


def test_models_between_two(mini):
    base = mini.encoder(dtype=torch.float16)
    first, second = base.state_dict(), mini.expert(base, 0)
    for name, value in between(first, second, 0.25).items():
        assert value.dtype == torch.float16
        expected = 0.75 * first[name].double() + 0.25 * second[name].double()
        torch.testing.assert_close(value.double(), expected, rtol=1e-3, atol=1e-6)
    for share, end in ((0.0, first), (1.0, second)):
        assert all(torch.equal(value, end[name]) for name, value in between(first, second, share).items())
    count = {"n": torch.tensor(3)}
    assert between(count, {"n": torch.tensor(9)}, 0.5)["n"] == 3


def test_barriers_by_hand():
    found = Path((0.0, 0.5, 1.0), ("a", "b"), np.array([[0.8, 0.2], [0.4, 0.6], [0.6, 0.8]]))
    np.testing.assert_allclose(found.barriers, [0.3, 0.0])


def test_accuracies_are_those_of_an_evaluation(write):
    bench = Bench(write("two", title="t", zoo="tiny", merge=["digits", "signs"]))
    executor = Executor(bench, "cpu")
    first, second = (bench.zoo.expert(task) for task in ("digits", "signs"))
    seen = []
    found = walk_line(executor, first, second, ("signs",), (0.0, 0.5, 1.0), seen.append)
    assert seen == [0.0, 0.5, 1.0] and found.accuracies.shape == (3, 1)
    outcome, _ = executor.evaluate(between(first, second, 0.5), ("signs",), "validation")
    assert found.accuracies[1, 0] == pytest.approx(outcome.scores["signs"].accuracy)
    assert found.accuracies[2, 0] > found.accuracies[0, 0], "an expert is better at its own task than another's"
