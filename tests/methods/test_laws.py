"""What holds for every registered method, whoever wrote it: all that `mergebench check` holds it to."""

import pytest

from mergebench.catalogue import registry
from mergebench.conformance.candidate import Candidate
from mergebench.conformance.properties import check

pytestmark = pytest.mark.long


@pytest.mark.parametrize("name", sorted(registry.methods()))
def test_every_property_holds(name):
    findings = list(check(Candidate(registry.method(name))))
    assert {f.title: f.detail for f in findings if f.status == "FAIL"} == {}
