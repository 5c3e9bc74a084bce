"""Tests of differences, by hand and against statsmodels' own."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar
from statsmodels.stats.multitest import multipletests

from mergebench.leaderboard.significance import holm, mcnemar, student


def test_students_p_value_by_hand():
    # With one degree of freedom half lies beyond 1 (Cauchy's distribution); with two, 1 - t / sqrt(2 + t^2) beyond t.
    assert student([0.0, 1.0, -1.0], [1.0, 1.0, 1.0]) == pytest.approx([1, 0.5, 0.5], abs=1e-14)
    assert student([[3.0]], [[2.0]]) == pytest.approx(np.array([[1 - 3 / 11**0.5]]))
    assert float(student(0.0, 7)) == 1


@pytest.fixture(scope="module")
def uncollected():
    """statsmodels collects the whole process' garbage at every call, which is most of its time beside other tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gc.collect", lambda *_: 0)
        yield


@pytest.mark.usefixtures("uncollected")
@given(st.lists(st.floats(0, 1), min_size=1, max_size=40))
def test_holms_correction_is_the_one_that_statsmodels_knows(p):
    expected = multipletests(p, method="holm")[1]
    np.testing.assert_allclose(holm(np.array(p)), expected, atol=1e-12)


@given(st.integers(0, 2**31), st.integers(1, 60))
def test_mcnemars_test_is_the_one_that_statsmodels_knows(seed, images):
    rng = np.random.default_rng(seed)
    ours, theirs = rng.random(images) < 0.6, rng.random(images) < 0.5
    alone, others, p = mcnemar(ours, theirs)
    assert (alone, others) == (sum(ours & ~theirs), sum(~ours & theirs))
    table = [[sum(ours & theirs), alone], [others, sum(~ours & ~theirs)]]
    assert p == pytest.approx(min(statsmodels_mcnemar(table, exact=True).pvalue, 1.0))
