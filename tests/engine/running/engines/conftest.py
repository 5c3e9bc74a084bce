"""Two small tasks of the tiny zoo, as workers in other processes can plan them too, and what this process computes."""

import pytest
from runs import facts, files

from mergebench.measuring.measure import set_threads
from mergebench.measuring.results import ResultStore
from mergebench.running.plan import RunRequest, make_plan
from mergebench.running.runner import run

METHODS = """
import os
import time

from mergebench import Needs, merge_method


@merge_method("failing", title="Failing", needs=Needs(base=True))
def failing(pool):
    raise ValueError("never works")


@merge_method("dying", title="Dying", needs=Needs(base=True))
def dying(pool):
    os.kill(os.getpid(), 9)


@merge_method("waiting", title="Waiting", needs=Needs())
def waiting(pool):
    while os.path.exists(f"{__file__}.hold"):
        time.sleep(0.05)
    return pool.map_experts(lambda experts: experts.mean(0))


@merge_method("noted", title="Noted", needs=Needs())
def noted(pool):
    with open(f"{__file__}.log", "a") as log:
        print("begins", file=log, flush=True)
        time.sleep(1)
        print("ends", file=log, flush=True)
    return pool.map_experts(lambda experts: experts.mean(0))
"""


@pytest.fixture(scope="session")
def methods(tmp_path_factory):
    """A file of methods: that fails, that ends its process, that can be held up, that notes when it is run."""
    file = tmp_path_factory.mktemp("methods") / "mine.py"
    file.write_text(METHODS)
    return file


@pytest.fixture(scope="session")
def request_(tmp_path_factory, methods):
    """Six cells, one of which fails."""
    suite = tmp_path_factory.mktemp("suite") / "suite.yaml"
    suite.write_text("title: t\nzoo: tiny\nmerge: [digits, signs]\n")
    asked = ["average", "dare", "regmean", f"{methods}:failing", f"{methods}:waiting"]
    return RunRequest(asked, str(suite), hyperparameters={"regmean": {"samples": 16}})


@pytest.fixture(scope="session")
def here(request_, tmp_path_factory, image_cache):
    """What this process computes on one thread: facts of results, and the names of all files but the pages."""
    set_threads(1)
    out = tmp_path_factory.mktemp("here")
    found = facts(run(make_plan(request_), ResultStore(out)).results)
    assert sum(status == "ok" for status, *_ in found.values()) == 5
    return found, files(out)
