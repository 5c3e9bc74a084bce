"""A site of hand-made results, and a browser that looks at it where there is one."""

import os
import shutil

import numpy as np
import pytest

from mergebench.leaderboard.board import make_boards
from mergebench.leaderboard.series import make_series
from mergebench.leaderboard.site.known import Known, MethodFacts, Setting, TaskFacts
from mergebench.leaderboard.site.write import write_site

HOSTILE = "<img src=x onerror=alert(1)></script><script>alert(2)</script>"
NAMES = ("chromium", "chromium-browser", "google-chrome", "chromium-headless-shell")


@pytest.fixture
def results(make_proven, at):
    """Four methods on tasks a and b, one of them hostile in every text, a reference, a failure; and a series."""
    draw = np.random.default_rng(0)

    def hits(share):
        return draw.random(200) < share

    plain = {
        "best": {
            "family": "calibration",
            "needs": ["base", "calibration"],
            "drawn": {"a": "d"},
            "drawn_images": {"a": 64},
        },
        "middle": {"needs": ["base"]},
        "least": {"needs": [], "hyperparameters": {"scale": 0.3}},
    }
    shares = {"best": 0.9, "middle": 0.7, "least": 0.4}
    made = [make_proven(name, hits(s), hits(s), **plain[name]) for name, s in shares.items()]
    made.append(
        make_proven("hostile", hits(0.2), hits(0.2), title=HOSTILE, paper=HOSTILE, hyperparameters={"x": HOSTILE})
    )
    made.append(make_proven("experts", hits(0.95), hits(0.95), role="ceiling", title="Experts"))
    lost = {"status": "failed", "error": HOSTILE, "merge": None, "evaluation": None}
    made.append(make_proven("broken", hits(0), hits(0), **lost).model_copy(update={"tasks": {}}))
    for name, first in (("best", 70), ("middle", 60)):
        made += [at(name, (first - n, 50), {"tasks": n}, suite="scale") for n in (2, 4, 8)]
    return made


@pytest.fixture
def known():
    """Cards of one method and one task."""
    text = "Says what it does.\n\n    theta = theta_0 + s sum_t tau_t\n\nSource: a paper."
    method = MethodFacts(
        2023, "paper", {"paper": "arXiv:1 (2023)"}, text, (Setting("scale", "0.3", "a number", "", "s"),)
    )
    return Known({"best": method}, {"a": TaskFacts("Task A", {"licence": "CC0"}, ("x", "y"), None, "", "no picture")})


@pytest.fixture
def site(results, known, tmp_path):
    """The first page of the site."""
    boards = make_boards(r for r in results if not r.point)
    return write_site(boards, tmp_path / "site", make_series(results), known)


@pytest.fixture(scope="session")
def browser():
    """A headless Chromium; what needs it is skipped where there is none."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install -e '.[dev]'")
    path = os.environ.get("MERGEBENCH_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.skip("no Chromium here: apt-get install chromium, or name one in MERGEBENCH_CHROMIUM")
    with sync_api.sync_playwright() as running:
        found = running.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture
def opened(browser):
    """Opens pages from disk; none may complain, open a dialogue, or ask for anything that is not on this machine."""
    context = browser.new_context(viewport={"width": 1440, "height": 900}, accept_downloads=True)
    context.set_default_timeout(120_000)
    faults = []
    context.on("request", lambda r: faults.append(r.url) if not r.url.startswith(("file:", "blob:", "data:")) else None)

    def open_(path, after=""):
        page = context.new_page()
        page.on("console", lambda m: faults.append(m.text) if m.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("dialog", lambda dialog: (faults.append(dialog.message), dialog.dismiss()))
        page.goto(path.as_uri() + after)
        page.wait_for_selector("html[data-ready]")
        return page

    yield open_
    context.close()
    assert faults == []
