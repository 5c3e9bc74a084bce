"""What holds for every registered method, whoever wrote it: all that `mergebench check` holds it to."""

import pytest

from mergebench import registry
from mergebench.candidate import Candidate
from mergebench.conformance import check


@pytest.mark.parametrize("name", sorted(registry.methods()))
def test_every_property_holds(name):
    findings = list(check(Candidate(registry.method(name))))
    assert {f.title: f.detail for f in findings if f.status == "FAIL"} == {}
