"""Records of searches after accidents: what was there, what says to be unproven, or Unproven."""

from contextlib import suppress

import pytest
from hypothesis import given
from mutating import fuzzed, mutated

from mergebench.measuring.facts import Cost, TaskScore
from mergebench.measuring.proof import Unproven
from mergebench.tuning.trials import Trial, read, write

SEARCH = {"method": "ties", "seed": 0, "conditions": {"a": [1, 2.5, None]}}
COST = Cost(seconds=1.5, peak_bytes=None)
SCORE = TaskScore(correct=3, total=4, predictions="0" * 16)
TRIALS = [
    Trial(number=0, settings={"scaling": 0.3}, tasks={"a": SCORE}, merge=COST, evaluation=COST),
    Trial(number=1, settings={"scaling": 0.5}, error="OSError: jammed"),
    Trial(number=2, settings={"scaling": 0.3}, tasks={"a": SCORE}, repeats=0),
]


@pytest.mark.long
def test_records(tmp_path):
    path = tmp_path / "search.json"
    write(path, SEARCH, TRIALS)
    assert read(path, SEARCH, ["a"], lambda trial: True) == (TRIALS, True)

    @fuzzed
    @given(mutated(path.read_bytes()))
    def reads(content):
        path.write_bytes(content)
        with suppress(Unproven):
            found, proven = read(path, SEARCH, ["a"], lambda trial: True)
            assert not proven or found == TRIALS

    reads()
