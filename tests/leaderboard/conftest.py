"""Results made by hand."""

import numpy as np
import pytest

from mergebench.measuring.results import Cost, Environment, Result, TaskScore


@pytest.fixture
def make_result():
    """A result from a method's name and its correct counts of 100 on tasks a and b."""

    def make(method, correct, *, role="method", seed=0, started="2026-01-01T00:00:00+00:00", weights="w", **changes):
        experts = (80, 90)
        facts = {
            "status": "ok",
            "method": method,
            "title": method.title(),
            "paper": "",
            "role": role,
            "family": "data-free",
            "needs": ["base"],
            "source": "s",
            "hyperparameters": {},
            "suite": "two",
            "zoo": "z",
            "variant": "",
            "seed": seed,
            "tasks": {
                t: TaskScore(correct=c, total=100, expert_correct=e, predictions="x")
                for t, c, e in zip("ab", correct, experts, strict=True)
            },
            "weights": {"base": weights},
            "data": {},
            "drawn": {},
            "merge": Cost(seconds=1.0, peak_bytes=1_000_000),
            "evaluation": Cost(seconds=1.0, peak_bytes=None),
            "environment": Environment(
                device="cpu", precision="float32", threads=1, platform="p", packages={"torch": "2"}, git_commit=""
            ),
            "started": started,
        }
        return Result(**{**facts, **changes})

    return make


@pytest.fixture
def at(make_result):
    """A result at a point: axis -> value; both tasks are merged, and both are evaluated, unless told otherwise."""

    def make(method, correct, point, **changes):
        name = ",".join(f"{axis}={'+'.join(map(str, v)) if isinstance(v, list) else v}" for axis, v in point.items())
        return make_result(method, correct, **{"point": point, "variant": name, "merged": ["a", "b"], **changes})

    return make


@pytest.fixture
def counts():
    """Task scores of 100 images from correct counts."""

    def make(**correct):
        return {t: TaskScore(correct=c, total=100, expert_correct=100, predictions="x") for t, c in correct.items()}

    return make


@pytest.fixture
def make_proven(make_result):
    """A result whose predictions are known: from a method's name and which images of tasks a and b are right [N]."""

    def make(method, *hits, seed=0, **changes):
        tasks = {
            t: TaskScore(correct=int(right.sum()), total=len(right), expert_correct=None, predictions="x")
            for t, right in zip("ab", hits, strict=True)
        }
        result = make_result(method, (0, 0), seed=seed, **{"tasks": tasks, **changes})
        result._right = {t: np.packbits(right) for t, right in zip("ab", hits, strict=True)}
        return result

    return make
