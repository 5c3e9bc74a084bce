"""A method whose scores are made up, so that searches of it cost nothing."""

from dataclasses import replace

import pytest

import mergebench.running.execution
from mergebench.measuring.results import ResultStore
from mergebench.tuning.search import TuneRequest

DIAL = '''
from typing import Literal

import torch
from jsonargparse.typing import PositiveInt

from mergebench import ModelPool, Needs, merge_method


@merge_method("dial", title="Dial", needs=Needs(base=True), ranges={"turn": (0.0, 1.0)})
def dial(pool: ModelPool, *, turn: float = 0.1, steps: PositiveInt = 3, mode: Literal["fair", "odd"] = "fair"):
    """All weights are `turn`."""
    if mode == "odd":
        raise OSError("jammed")
    if turn > 0.9:
        turn = float("nan")
    return pool.map_tensors(lambda base, experts: torch.full_like(base, turn * steps / 3))


@merge_method("plain", title="Plain", needs=Needs())
def plain(pool: ModelPool, *, weight: float = 0.5):
    """mean"""
    return pool.map_experts(lambda experts: experts.mean(0))
'''
BEST = 0.6  # where the made-up accuracy of `dial` is highest


@pytest.fixture
def evaluated(monkeypatch, scored):
    """Scores that cost nothing: 1000 of 1000 where the weights are all 0.6. Gives the splits that were scored."""
    seen = []

    def evaluate(encoder, states, heads, splits, **options):
        seen.append({task: split.digest for task, split in splits.items()})
        values = {t: s["cls_token"].flatten()[0].item() for t, s in states.items() if t in heads} or dict.fromkeys(
            heads, states["cls_token"].flatten()[0].item() if "cls_token" in states else 0.0
        )
        correct = {t: max(0, 1000 - round(1000 * abs(v - BEST))) for t, v in values.items()}
        return scored({t: (c, 1000) for t, c in correct.items()})

    monkeypatch.setattr(mergebench.running.execution, "evaluate", evaluate)
    return seen


@pytest.fixture
def request_of(write, tmp_path):
    """A request to tune `dial` on two tasks; changes by name."""
    (tmp_path / "dial.py").write_text(DIAL)
    suite = write("two", title="t", zoo="tiny", merge=["digits", "signs"])

    def make(**changes):
        return replace(TuneRequest(f"{tmp_path / 'dial.py'}:dial", suite), **changes)

    return make


@pytest.fixture
def store(tmp_path):
    return ResultStore(tmp_path / "out")
