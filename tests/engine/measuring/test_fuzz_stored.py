"""Stored results after accidents: what was there is given, or Unproven is raised, and nothing else."""

from contextlib import suppress

import pytest
from hypothesis import given
from mutating import fuzzed, mutated
from stored_result import stored

from mergebench.measuring.proof import Unproven
from mergebench.measuring.results import ResultStore, read_result


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = stored(tmp_path_factory.mktemp("stored"))
    return path, path.read_bytes(), path.with_suffix(".npz").read_bytes(), read_result(path)


def held(path, result):
    """Read again: the very result, one that says to be unproven, or Unproven."""
    with suppress(Unproven):
        found = read_result(path)
        assert not found.proven or found.model_dump() == result.model_dump()
        assert not found.proven or {t: h.tolist() for t, h in found.hits().items()} == {
            t: h.tolist() for t, h in result.hits().items()
        }


@pytest.mark.parametrize("part", ["json", "npz"])
def test_results(part, whole, tmp_path):
    _, text, arrays, result = whole
    path = tmp_path / whole[0].name

    @fuzzed
    @given(mutated(text if part == "json" else arrays))
    def reads(content):
        path.write_bytes(content if part == "json" else text)
        path.with_suffix(".npz").write_bytes(arrays if part == "json" else content)
        held(path, result)

    reads()


def test_two_at_a_time_are_surveyed(whole, tmp_path):
    """Whatever lies in a folder, the others are read."""
    path = tmp_path / "cells" / "two" / whole[0].name
    path.parent.mkdir(parents=True)

    @fuzzed
    @given(mutated(whole[1]))
    def surveys(content):
        path.write_bytes(content)
        path.with_suffix(".npz").write_bytes(whole[2])
        results, told = ResultStore(tmp_path).survey()
        assert len(results) + len(told) == 1

    surveys()
