"""Runs' folders made by hand."""

import pytest
from run_folder import RunFolder

from mergebench.running import audit


@pytest.fixture
def folder(tmp_path):
    """A run's folder, empty."""
    return RunFolder(tmp_path / "runs")


@pytest.fixture
def aged(monkeypatch):
    """Makes every file old enough to be nobody's who is at work."""

    def make():
        for module in (audit, __import__("mergebench.running.removal", fromlist=["removal"])):
            monkeypatch.setattr(module, "YOUNG", 0.0)

    return make
