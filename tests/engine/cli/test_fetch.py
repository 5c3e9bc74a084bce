"""`mergebench fetch` that is broken off, twice at once, or without a network: what was fetched is kept."""

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub.errors import LocalEntryNotFoundError

from mergebench.cli import main
from mergebench.data.preprocessing import square
from mergebench.weights.hub import HubError

TABLE = "datasets/ylecun/mnist/test-00000-of-00001.parquet"


def test_a_root_that_is_no_folder(hub, options, refused):
    for root in (hub / "nowhere", hub / "two.yaml"):
        line = refused("fetch", *options[:-1], root)
        assert str(root) in line and "--zoo-root" in line


def decoded(root: Path) -> dict[str, int]:
    """File -> when it was written, of all that is decoded."""
    cache = root.parent / "cache" / "images"
    return {str(file.relative_to(cache)): file.stat().st_mtime_ns for file in cache.rglob("*.npy")}


def test_what_was_decoded_before_something_was_wrong_is_kept(hub, options, command, refuses):
    whole = (hub / TABLE).read_bytes()
    (hub / TABLE).write_bytes(whole[:500])
    refuses("fetch")
    before = decoded(hub)
    assert before and all(name.startswith("eurosat") for name in before)
    (hub / TABLE).write_bytes(whole)
    assert command("fetch", *options).status == 0
    after = decoded(hub)
    assert before.items() < after.items() and len(after) == 2 * len(before)


def test_what_is_wrong_with_one_task_keeps_no_other_from_being_fetched(hub, options, command):
    (hub / "datasets/tanganke/eurosat/test-00000-of-00001.parquet").write_bytes(b"no table")
    done = command("fetch", *options)
    (line,) = done.err.splitlines()
    assert done.status == 2 and line.startswith("mergebench: error: task 'eurosat': cannot read ")
    assert done.out.splitlines()[-1] == "1 of 2 tasks are not whole"
    assert {name.split("-")[0] for name in decoded(hub)} == {"mnist"} and len(decoded(hub)) == 2 * 2


def test_a_hub_that_lets_nobody_in_any_more_ends_it_at_once(hub, options, refused, monkeypatch):
    def out_of_reach(self, location, *_, **__):
        raise HubError(f"{location!r} is out of reach")

    monkeypatch.setattr("mergebench.weights.hub.Hub.folder", out_of_reach)
    line = refused("fetch", *options)
    assert line.startswith("mergebench: error: task 'eurosat': 'tanganke/eurosat@") and "is out of reach" in line


def test_an_interrupted_fetch_goes_on(hub, options, command, monkeypatch):
    calls = count()
    with monkeypatch.context() as patch:

        def interrupted(image, size):
            if next(calls) == 35:  # while it decodes the second split of the first task
                raise KeyboardInterrupt
            return square(image, size)

        patch.setattr("mergebench.data.preprocessing.square", interrupted)
        done = command("fetch", *options)
    assert done.status == 130 and len(done.err.splitlines()) == 1 and "what was fetched is kept" in done.err
    before = decoded(hub)
    assert before and all(name.startswith("eurosat") and "test." in name for name in before)
    assert command("fetch", *options).status == 0
    after = decoded(hub)
    assert before.items() < after.items() and len(after) == 2 * 2 * 2
    assert not list((hub.parent / "cache" / "images").rglob(".*.npy.*"))


def test_two_fetches_at_once_decode_every_image_once(hub, options, command, monkeypatch):
    calls, together = count(), threading.Barrier(2)

    def counted(image, size):
        next(calls)
        return square(image, size)

    def fetch() -> int:
        together.wait()
        return main(["fetch", *map(str, options)])

    monkeypatch.setattr("mergebench.data.preprocessing.square", counted)
    with ThreadPoolExecutor(2) as pool:
        assert [f.result() for f in [pool.submit(fetch) for _ in range(2)]] == [0, 0]
    labels = list((hub.parent / "cache" / "images").rglob("*.labels.npy"))
    assert len(labels) == 2 * 2
    # The first image of a split is looked at once more, for its shape.
    assert next(calls) == sum(len(np.load(file)) + 1 for file in labels)


def test_a_dry_run_downloads_nothing(refused, tmp_path, monkeypatch):
    asked = []

    def local_only(*_, local_files_only: bool, **__):
        asked.append(local_files_only)
        raise LocalEntryNotFoundError("not here")

    for name in ("hf_hub_download", "snapshot_download"):
        monkeypatch.setattr(f"huggingface_hub.{name}", local_only)
    line = refused("run", "--methods", "average", "--suite", "clip-8", "--dry-run", "--out", tmp_path / "out")
    assert asked and all(asked) and "`mergebench fetch` does that" in line and not (tmp_path / "out").exists()


def test_offline_is_honoured(refused, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    out = ("--output", tmp_path / "out.safetensors")
    for verb in (
        ("fetch", "--suite", "clip-8"),
        ("merge", "--method", "average", "--suite", "clip-8", *out),
        ("finetune", "--zoo", "clip-vit-b-32", "--task", "mnist", *out),
    ):
        line = refused(*verb)
        assert "has not been fetched, and HF_HUB_OFFLINE forbids" in line
    assert not out[1].exists()


# huggingface_hub tries again after ever longer pauses; here it does so at once.
WITHOUT_NETWORK = """
import sys, time
time.sleep = lambda seconds: None
from mergebench.cli import main
statuses = [main(line.split()) for line in sys.argv[1:]]
print(statuses)
"""


@pytest.mark.long
def test_no_network(tmp_path):
    lines = [
        "fetch --suite clip-8",
        f"merge --method average --suite clip-8 --output {tmp_path}/out.safetensors",
    ]
    environment = {"HF_HOME": str(tmp_path / "home"), "HF_ENDPOINT": "http://127.0.0.1:9", "HF_HUB_OFFLINE": "0"}
    command = [sys.executable, "-c", WITHOUT_NETWORK, *lines]
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, timeout=120)
    told = done.stderr.splitlines()
    assert done.stdout.strip().endswith("[2, 2]") and len(told) == 2, done.stderr
    assert all("the hub cannot be reached" in line and "--zoo-root" in line for line in told)
    assert not list(tmp_path.glob("out*"))
