"""How workers' processes begin: what they have imported by then, and whom they end with."""

import sys

import pytest

from mergebench.running.engines.starting import IMPORTED, started

TOLD = "import sys; open({!r}, 'w').write(' '.join(sys.modules))"


def imported(device, place):
    """All that a process for a device has imported when it begins."""
    process = started(device, exec, (TOLD.format(str(place)),))
    process.join(120)
    assert process.exitcode == 0
    return set(place.read_text().split())


@pytest.mark.skipif(sys.platform != "linux", reason="the system's own libraries bear no fork")
def test_for_the_processor_the_libraries_are_there_already_and_nothing_of_the_projects(tmp_path):
    there = imported("cpu", tmp_path / "told")
    assert set(IMPORTED) <= there
    assert not [name for name in there if name.startswith("mergebench.") and "starting" not in name]


def test_for_a_gpu_each_begins_anew(tmp_path):
    assert not set(IMPORTED) & imported("cuda:0", tmp_path / "told")


def test_elsewhere_than_on_linux_each_begins_anew(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not set(IMPORTED) & imported("cpu", tmp_path / "told")
