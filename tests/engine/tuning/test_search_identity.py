"""What makes a search another one: the code and the needs of every method that a trial may start from."""

from pathlib import Path

import pytest

import mergebench
from mergebench.catalogue import modules
from mergebench.measuring.results import ResultStore
from mergebench.tuning.search import TuneRequest, make_search

METHODS = Path(mergebench.__file__).parents[1] / "methods"


@pytest.fixture
def search_of(write, tmp_path, monkeypatch):
    """The key of a search for what featcal starts from, where a method's file holds another text."""
    suite = write("two", title="t", zoo="tiny", merge=["digits", "signs"])
    request = TuneRequest("featcal", suite, trials=1, space={"start": ["average", "magmax"]}, fixed={"samples": 2})

    def key(file="average.py", old="", new=""):
        def read(path):
            text = path.read_text(encoding="utf-8")
            return text.replace(old, new) if old and path == METHODS / file else text

        monkeypatch.setattr(modules, "read_source", read)
        return make_search(request, ResultStore(tmp_path / "out")).key

    return key


@pytest.mark.long
def test_a_start_that_is_tried_counts_though_it_is_not_the_default(search_of):
    before = search_of()
    assert set(before.starts) == {"task_arithmetic", "average", "magmax"}
    assert search_of("magmax.py", "scaling: float = 0.5", "scaling: float = 9.5").digest != before.digest
    assert search_of("ties.py", "scaling", "scale").digest == before.digest
