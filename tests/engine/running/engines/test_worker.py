"""A worker computes what was planned elsewhere, or says which part of a cell is another one here."""

import os
from dataclasses import replace

import pytest

from mergebench.errors import MergebenchError
from mergebench.running.engines.worker import Job, Worker


@pytest.fixture(scope="module")
def worker(request_):
    """One that has planned `average` here."""
    return Worker(Job(replace(request_, methods=["average"], hyperparameters={}), None, 1, os.getcwd()))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda key: {"source": "0123"}, r"source \(0123 and \w+\)"),
        (lambda key: {"weights": {**key.weights, "base": "0123"}}, r"weights \(base\)"),
        (lambda key: {"data": {**key.data, "digits/test": "0123"}}, r"data \(digits/test\)"),
        (lambda key: {"method": "ties"}, "method, variant or seed"),
    ],
)
def test_a_cell_that_is_another_one_here_is_refused_with_what_differs(worker, change, told):
    key = next(cell for cell in worker._cells.values() if cell.card.name == "average").key
    other = replace(key, **change(key))
    told = f"{other.method} on suite is another cell here than planned: {told} differ; have the same code, weights and"
    with pytest.raises(MergebenchError, match=told):
        next(worker.compute([other], lambda message: pytest.fail(f"it was begun: {message}")))
