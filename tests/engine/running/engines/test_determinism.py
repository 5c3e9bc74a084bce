"""On one machine neither the order of cells, nor the size of evaluation batches, nor what came before counts."""

from dataclasses import replace

import pytest
from runs import facts

from mergebench.measuring.results import ResultStore
from mergebench.running.plan import make_plan
from mergebench.running.runner import run

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def plan(request_):
    return make_plan(request_)


def test_in_another_order_everything_is_the_same(plan, here, tmp_path):
    backwards = replace(plan, cells=[plan.cells[0], *reversed(plan.cells[1:])])
    assert facts(run(backwards, ResultStore(tmp_path)).results) == here[0]


def test_one_by_one_in_plans_of_their_own_everything_is_the_same(request_, here, tmp_path):
    found = {}
    for method in request_.methods:
        own = {m: s for m, s in request_.hyperparameters.items() if m == method}
        asked = replace(request_, methods=[method], hyperparameters=own)
        found |= facts(run(make_plan(asked), ResultStore(tmp_path)).results)
    assert found == here[0]


@pytest.mark.parametrize("size", [1000, 97])
def test_in_other_batches_every_image_is_classified_the_same(size, plan, here, tmp_path, monkeypatch):
    from mergebench.measuring import classifier

    whole, sizes = classifier.SuiteDataModule, []

    def other(splits):
        sizes.append(size)
        return whole(splits, size)

    monkeypatch.setattr(classifier, "SuiteDataModule", other)
    assert facts(run(plan, ResultStore(tmp_path)).results) == here[0]
    assert sizes
