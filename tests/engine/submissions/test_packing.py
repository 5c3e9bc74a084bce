"""What no submission is made of: several methods, and results that are not there, or not of this machine as it is."""

import pytest
from stored_result import stored

from mergebench.errors import MergebenchError
from mergebench.measuring.measure import environment
from mergebench.measuring.results import ResultStore
from mergebench.running.plan import RunRequest, make_plan
from mergebench.submissions.packing import draft, pack

SUBMITTER = {"author": "A. Author", "licence": "MIT", "implementation": "authors"}


def plan(folder, *methods):
    """Of methods on one task."""
    suite = folder / "one.yaml"
    suite.write_text("title: t\nzoo: tiny\nmerge: [digits]\n")
    return make_plan(RunRequest([*methods], str(suite), device="cpu"))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The draft of a submission."""
    return draft(plan(tmp_path_factory.mktemp("suite"), "average"), SUBMITTER)


@pytest.mark.parametrize("methods", [["average", "ties"], ["pretrained"]])
def test_a_submission_is_of_one_method(methods, tmp_path):
    with pytest.raises(MergebenchError, match="a submission is of one method, and of no reference; name one"):
        draft(plan(tmp_path, *methods), SUBMITTER)


@pytest.mark.parametrize(
    ("merged", "other", "told"),
    [
        (None, {}, "has no result in {out} that holds; run it again"),
        ("", {}, "in {out} was measured before results noted which weights they are of; give another --out"),
        ("0" * 16, {"threads": 99}, "in {out} was measured in another environment (threads); give another --out"),
    ],
)
def test_a_result_that_is_lacking_or_was_measured_elsewhere_is_not_packed(
    merged, other, told, made, tmp_path, monkeypatch
):
    store = ResultStore(tmp_path / "runs")
    if merged is not None:
        stored(store.out, merged_weights=merged, environment=environment("cpu").model_copy(update=other))
        (result,) = store.all()
        monkeypatch.setattr(store, "finished", lambda key: result)
    with pytest.raises(MergebenchError) as caught:
        pack(made, store, tmp_path / "sub.json")
    assert str(caught.value) == f"average (seed 0) {told.format(out=store.out)}"
    assert not list(tmp_path.glob("sub.*"))
