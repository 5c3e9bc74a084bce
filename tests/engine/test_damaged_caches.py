"""Whatever is kept to be made but once is made again where it is damaged, in whichever way, and is never wrong."""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import faults
import numpy as np
import pytest
import torch

from mergebench.data import duplicates
from mergebench.data.corruption import Corruption, corrupt
from mergebench.data.image_cache import corrupted_split, kept_images, load_split
from mergebench.data.source import Part
from mergebench.running import remembered
from mergebench.running.planned import Plan, RunRequest
from mergebench.tasks.tiny import TASKS
from mergebench.zoo.heads import LinearHead
from mergebench.zoo.kept_heads import keep, kept

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3), dtype=np.uint8)
LABELS = np.arange(6) % 2
NOISE = Corruption("noise", "Noise", "", lambda image, severity, rng: rng.integers(0, 256, image.shape, np.uint8))
HEAD = LinearHead(torch.arange(12.0).view(3, 4), torch.ones(3))


@dataclass(frozen=True)
class Cache:
    """Something that is kept: its file, and its use, which makes it where it must be made; True if that was so."""

    file: str
    use: Callable[[], bool]


def task(loads: list) -> object:
    card = replace(TASKS["digits"].card, splits={"test": 6}, classes=("a", "b"))
    return replace(
        TASKS["digits"], card=card, load=lambda split: loads.append(1) or (PIXELS, LABELS), fingerprint="test"
    )


def images() -> bool:
    loads = []
    split = load_split(task(loads), "test")
    assert split.images.dtype == np.uint8 and np.array_equal(split.images, PIXELS)
    assert split.labels.dtype == LABELS.dtype and np.array_equal(split.labels, LABELS)
    assert np.array_equal(kept_images(task(loads), "test")[0], PIXELS)
    return bool(loads)


def corrupted() -> bool:
    split, made = load_split(task([]), "test"), []
    noise = replace(NOISE, apply=lambda *given: made.append(1) or NOISE.apply(*given))
    found = corrupted_split(task([]), "test", split, noise, 3)
    assert found.images.dtype == np.uint8 and np.array_equal(found.images, corrupt(NOISE, PIXELS, 3, "digits/test"))
    return bool(made)


def head() -> bool:
    path = Path(os.environ["MERGEBENCH_CACHE"]) / "heads" / "x.safetensors"
    found = kept(path, 4, 3)
    if found is None:
        keep(HEAD, path)
        return True
    assert all(torch.equal(a, b) for a, b in zip(found.state_dict().values(), HEAD.state_dict().values(), strict=True))
    return False


def plan() -> bool:
    request, whole = RunRequest(("average",), "two"), Plan(None, [], "cpu", code=("a", "b"), name="two")
    found = remembered.recalled(request)
    if found is None:
        remembered.remembering(request, lambda _: whole)
        return True
    assert found == whole
    return False


def twins() -> bool:
    asked = []
    content = [b"x" * 9, b"y" * 9, b"x" * 9]

    def part(numbers):
        return Part(
            np.zeros(len(numbers), int),
            None,
            lambda n: f"image {numbers[n]}",
            lambda n: asked.append(1) or content[numbers[n]],
        )

    told = duplicates.remembered("key", {"train": part([0, 1]), "test": part([2])}, write=True)
    assert told == "1 image is in several splits, as image 0 (train) and image 2 (test)"
    return bool(asked)


CACHES = {
    "images": Cache("images/*/test.images.npy", images),
    "labels": Cache("images/*/test.labels.npy", images),
    "digest": Cache("images/*/test.json", images),
    "corrupted images": Cache("images/*/test.noise*.npy", corrupted),
    "their digest": Cache("images/*/test.noise*.json", corrupted),
    "head": Cache("heads/x.safetensors", head),
    "plan": Cache("plans/*.json", plan),
    "duplicates": Cache("duplicates/*.json", twins),
}
DAMAGES = {
    "empty": lambda path, whole: path.write_bytes(b""),
    "cut short": lambda path, whole: path.write_bytes(whole[:-1]),
    "half": lambda path, whole: path.write_bytes(whole[: len(whole) // 2]),
    "longer": lambda path, whole: path.write_bytes(whole + b"x"),
    "zeros": lambda path, whole: path.write_bytes(bytes(len(whole))),
    "gone": lambda path, whole: path.unlink(),
    "a folder": lambda path, whole: (path.unlink(), path.mkdir(), (path / "x").touch()),
    "a list": lambda path, whole: path.write_bytes(b"[]"),
}


@pytest.fixture
def cache(monkeypatch):
    # A plan is not remembered that files younger than the process might belie.
    monkeypatch.setattr("psutil.Process.create_time", lambda self: float("inf"))
    with faults.in_memory() as folder:
        monkeypatch.setenv("MERGEBENCH_CACHE", str(folder))
        yield folder


def filled(name, cache):
    use = CACHES[name].use
    assert use() and not use(), "it is made once"
    (path,) = cache.glob(CACHES[name].file)
    return use, path, path.read_bytes()


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", CACHES)
def test_what_is_damaged_is_made_again(name, damage, cache):
    use, path, whole = filled(name, cache)
    DAMAGES[damage](path, whole)
    assert use(), "it is made again"
    assert (name == "plan" or path.read_bytes() == whole) and not use(), "and kept"


@pytest.mark.long
@pytest.mark.parametrize("name", CACHES)
def test_no_flipped_bit_is_taken_for_what_was_written(name, cache):
    use, path, whole = filled(name, cache)
    # Every bit of what is small, and of a header; of the rest a few.
    bits = [*range(0, min(8 * len(whole), 1200), 3), *range(1200, 8 * len(whole), 97)]
    kept_all_the_same = []
    for bit in bits if name != "plan" else bits[:: len(bits) // 25]:
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        if not use():  # what it gives was held to the truth all the same
            kept_all_the_same.append(bit)
            path.write_bytes(whole)
    # A bit in the padding of a header, or in a name that nobody asks for, changes nothing.
    assert len(kept_all_the_same) <= len(bits) // 4, kept_all_the_same
