"""Settings that a search chose, after accidents: read, or refused by a MergebenchError."""

from contextlib import suppress

from hypothesis import given
from mutating import fuzzed, mutated

from mergebench.errors import MergebenchError
from mergebench.running.chosen import SettingsFile, read_settings, write_settings

RECORD = {
    "seed": 0,
    "trials": 3,
    "default": 0.5,
    "best": 0.75,
    "trial": 2,
    "settings": {"scaling": 0.4},
    "seconds": 2.0,
}
SEARCH = {
    "trials": 3, "failed": 0, "sampler": "TPE", "optuna": "4", "seed": 0, "split": "validation", "fixed": {"keep": 0.2},
    "space": {"scaling": {"low": 0.1, "high": 1.0}}, "from": {"scaling": 0.3}, "default": 0.5, "best": 0.75, "trial": 2,
    "seconds": 2.0, "studies": [RECORD],
}  # fmt: skip
METHODS = {"ties": {"settings": {"scaling": 0.4, "keep": 0.2}, "search": SEARCH}}


def test_settings(tmp_path):
    path = tmp_path / "two-tiny.yaml"
    whole = SettingsFile(suite="two", zoo="tiny", methods=METHODS, nothing_to_tune=["average"])
    write_settings(path, whole)
    assert read_settings(path) == whole

    @fuzzed
    @given(mutated(path.read_bytes()))
    def reads(content):
        path.write_bytes(content)
        with suppress(MergebenchError):
            assert isinstance(read_settings(path), SettingsFile)

    reads()
