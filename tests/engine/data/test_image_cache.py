"""Decoded images: held to what every part after them takes for granted, and made anew where a file is broken."""

import errno
import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
import tracemalloc
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from mergebench.data import array_files, content, image_cache
from mergebench.data.array_files import in_order
from mergebench.data.corruption import Corruption, corrupt
from mergebench.data.image_cache import corrupted_split, load_split
from mergebench.data.task import ImageTable
from mergebench.errors import MergebenchError
from mergebench.tasks.tiny import TASKS

IMAGES = np.zeros((4, 8, 8, 3), dtype=np.uint8)
LABELS = np.array([0, 1, 1, 0])


def task(images, labels, name):
    return of(name, (images, labels), 4)


def of(name, found, count):
    """A task whose `load` gives what was found."""
    card = replace(TASKS["digits"].card, splits={"test": count}, classes=("a", "b"))
    return replace(TASKS["digits"], card=card, load=lambda split: found, fingerprint=f"test-{name}")


def test_a_split_that_no_task_has_is_refused_with_those_that_all_have(cache):
    with pytest.raises(MergebenchError, match="no split 'testing'; there are: train, calibration, validation, test"):
        load_split(task(IMAGES, LABELS, "other"), "testing")
    assert not list(cache.iterdir())


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MERGEBENCH_CACHE", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ("images", "labels", "told"),
    [
        (
            IMAGES.astype(np.float32) / 255,
            LABELS,
            "'test' is float32 [4, 8, 8, 3], not uint8 images [N, H, W, 3]",
        ),
        (IMAGES[..., 0], LABELS, "is uint8 [4, 8, 8], not uint8 images"),
        (IMAGES.transpose(0, 3, 1, 2), LABELS, "is uint8 [4, 3, 8, 8], not uint8 images"),
        (IMAGES, LABELS.astype(float), "labels of 'test' are float64 [4], not whole numbers [N]"),
        (IMAGES, LABELS[:, None], "labels of 'test' are int64 [4, 1]"),
        (IMAGES, LABELS - 1, "has label -1, but its card 2 classes"),
        (IMAGES, LABELS + 1, "has label 2, but its card 2 classes"),
        (IMAGES[:3], LABELS[:3], "has 3 images and 3 labels, but its card says 4"),
    ],
)
def test_images_and_labels_that_break_the_contract_are_refused(images, labels, told, tmp_path, monkeypatch):
    monkeypatch.setenv("MERGEBENCH_CACHE", str(tmp_path))
    with pytest.raises(MergebenchError) as caught:
        load_split(task(images, labels, "wrong"), "test")
    assert told in str(caught.value) and not list(tmp_path.rglob("*.npy"))


def test_a_split_is_loaded_once_and_again_where_a_file_was_cut_short(tmp_path, monkeypatch):
    monkeypatch.setenv("MERGEBENCH_CACHE", str(tmp_path))
    made = load_split(task(IMAGES, LABELS, "right"), "test")
    kept = load_split(task(IMAGES + 1, LABELS, "right"), "test")  # the same fingerprint: what is there is taken
    assert kept.digest == made.digest and np.array_equal(kept.images, IMAGES)
    (file,) = tmp_path.rglob("test.images.npy")
    file.write_bytes(file.read_bytes()[:-1])
    assert np.array_equal(load_split(task(IMAGES + 1, LABELS, "right"), "test").images, IMAGES + 1)


@pytest.mark.parametrize(
    ("card", "told"),
    [
        ({"splits": {"test": 5}}, "task 'digits': split 'test' has 4 images and 4 labels, but its card says 5"),
        ({"classes": ("a",)}, "task 'digits': split 'test' has label 1, but its card 1 classes"),
    ],
)
def test_what_is_in_the_cache_is_held_to_the_card_as_well(card, told, cache):
    made = task(IMAGES, LABELS, "right")
    load_split(made, "test")
    with pytest.raises(MergebenchError) as caught:
        load_split(replace(made, card=replace(made.card, **card)), "test")
    assert str(caught.value) == told


def numbered(count, side=8):
    """`count` images that differ, and their labels."""
    images = np.random.default_rng(0).integers(0, 256, (count, side, side, 3), dtype=np.uint8)
    return images, np.arange(count) % 2


def test_files_and_digests_of_arrays_are_what_they_have_always_been(cache, tmp_path):
    images, labels = numbered(600)
    digest = hashlib.sha256(images.tobytes() + labels.tobytes()).hexdigest()[:16]
    assert load_split(of("a", (images, labels), 600), "test").digest == digest
    np.save(tmp_path / "reference.npy", images)
    folder = cache / "images" / "digits-test-a"
    assert (folder / "test.images.npy").read_bytes() == (tmp_path / "reference.npy").read_bytes()
    assert sorted(f.name for f in folder.glob("[!.]*")) == ["test.images.npy", "test.json", "test.labels.npy"]


def test_a_table_gives_the_very_files_and_digest_of_its_images_as_arrays(cache):
    images, labels = numbered(600)
    arrays = load_split(of("arrays", (images, labels), 600), "test")
    table = load_split(of("table", ImageTable(labels, lambda i: images[i]), 600), "test")
    assert table.digest == arrays.digest
    for name in ("test.images.npy", "test.labels.npy", "test.json"):
        made, expected = (cache / "images" / f"digits-test-{kind}" / name for kind in ("table", "arrays"))
        assert made.read_bytes() == expected.read_bytes()


def test_images_are_decoded_by_several_threads_and_come_in_order(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(3))
    together, most, lock = [0], [0], threading.Lock()

    def slow(index):
        with lock:
            together[0] += 1
            most[0] = max(most[0], together[0])
        time.sleep(0.002 * (index % 3))
        with lock:
            together[0] -= 1
        return index

    assert list(in_order(slow, 50)) == list(range(50))
    assert most[0] == 3
    assert list(in_order(slow, 0)) == []


def test_a_large_table_is_never_whole_in_memory(cache):
    images, labels = numbered(16, side=128)
    table = ImageTable(np.zeros(1500, dtype=np.int64), lambda i: images[i % 16] + np.uint8(1))
    tracemalloc.start()
    split = load_split(of("large", table, 1500), "test")
    blur = Corruption("flip", "Flip", "", lambda image, severity, rng: image[::-1])
    corrupted_split(of("large", table, 1500), "test", split, blur, 1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert split.images.nbytes > 70e6 and peak < 20e6
    assert isinstance(split.images, np.memmap)


@pytest.mark.parametrize(
    ("labels", "decode", "told"),
    [
        (LABELS[:3], None, "split 'test' has 3 images and 3 labels, but its card says 4"),
        (LABELS - 1, None, "has label -1, but its card 2 classes"),
        (LABELS.astype(float), None, "labels of 'test' are float64 [4], not whole numbers [N]"),
        (
            LABELS,
            lambda i: IMAGES[i, :, : 8 - (i == 2)],
            "split 'test': image 2 is uint8 [8, 7, 3], not uint8 [H, W, 3]",
        ),
        (LABELS, lambda i: IMAGES[i, ..., 0], "split 'test': image 0 is uint8 [8, 8], not uint8 [H, W, 3]"),
        (LABELS, lambda i: IMAGES[i] / 255, "split 'test': image 0 is float64 [8, 8, 3], not uint8"),
        (LABELS, lambda i: IMAGES[i // (i != 3)], "split 'test': image 3 cannot be decoded: ZeroDivisionError: "),
    ],
)
def test_tables_that_break_the_contract_are_refused_in_one_line_that_names_the_image(labels, decode, told, cache):
    with pytest.raises(MergebenchError) as caught:
        load_split(of("wrong", ImageTable(labels, decode), 4), "test")
    assert "task 'digits'" in str(caught.value) and told in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert not [f for f in cache.rglob("*") if f.is_file() and f.suffix != ".lock"]


def test_a_split_without_images_is_refused(cache):
    with pytest.raises(MergebenchError, match="task 'digits': split 'test' has no images"):
        load_split(of("empty", ImageTable(LABELS[:0], None), 0), "test")


def test_progress_sees_every_image(cache):
    seen = []

    def watch(images, total, what):
        for image in images:
            seen.append((total, what))
            yield image

    load_split(of("seen", ImageTable(LABELS, lambda i: IMAGES[i]), 4), "test", watch)
    assert seen == [(4, "digits: test")] * 4


def test_a_bar_is_shown_on_a_terminal_alone(monkeypatch, capsys):
    images = iter("abc")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False, raising=False)
    assert array_files.progress_bar(images, 3, "what") is images
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert list(array_files.progress_bar(images, 3, "what")) == ["a", "b", "c"]


def test_a_disk_without_room_is_told_with_the_bytes_that_are_needed(cache, monkeypatch):
    table = ImageTable(LABELS, lambda i: IMAGES[i])
    told = "needs 768 bytes, and the disk has no room for them; make room, or name another folder in MERGEBENCH_CACHE"
    with monkeypatch.context() as patch:
        patch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=767))
        with pytest.raises(MergebenchError, match=told):
            load_split(of("full", table, 4), "test")

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("numpy.lib.format.write_array_header_1_0", full)
        with pytest.raises(MergebenchError, match=told):
            load_split(of("full", table, 4), "test")
    assert not list(cache.rglob("*.npy*"))
    assert load_split(of("full", table, 4), "test").images.shape == (4, 8, 8, 3)


def test_a_cache_that_cannot_be_written_is_told(cache, monkeypatch):
    (cache / "images").write_text("a file")
    with pytest.raises(MergebenchError, match="cannot write .*; choose a folder you may write to"):
        load_split(task(IMAGES, LABELS, "right"), "test")


BUILDER = """
import glob, os, sys, time
from dataclasses import replace
import numpy as np
from mergebench.data.image_cache import load_split
from mergebench.data.task import ImageTable
from mergebench.tasks.tiny import TASKS
log, pause, processes = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
def decode(index):
    with open(log, "a") as file:
        file.write(f"{index}\\n")
    time.sleep(pause)
    return np.full((8, 8, 3), index, dtype=np.uint8)
card = replace(TASKS["digits"].card, splits={"test": 40}, classes=("a",))
table = ImageTable(np.zeros(40, dtype=np.int64), decode)
open(f"{log}-{os.getpid()}", "w").close()
while len(glob.glob(f"{log}-*")) < processes:
    time.sleep(0.001)
print(load_split(replace(TASKS["digits"], card=card, load=lambda s: table, fingerprint="shared"), "test").digest)
"""


def started(log, pause, processes=1):
    """A process that loads a split of 40 images once so many of its kind are there."""
    arguments = [str(log), str(pause), str(processes)]
    return subprocess.Popen([sys.executable, "-c", BUILDER, *arguments], stdout=subprocess.PIPE, text=True)


def test_a_build_that_was_killed_is_built_again_and_leaves_nothing(cache):
    log = cache / "log"
    first = started(log, 0.2)
    deadline = time.monotonic() + 60
    while not (log.exists() and len(log.read_text().split()) > 3) and time.monotonic() < deadline:
        time.sleep(0.01)
    first.send_signal(signal.SIGKILL)
    first.wait()
    folder = cache / "images" / "digits-shared"
    assert [f for f in folder.iterdir() if f.name.startswith(".test.images.npy.")]
    second = started(log, 0)
    assert second.communicate()[0].strip() and second.returncode == 0
    assert sorted(f.name for f in folder.iterdir()) == [".test.lock", "test.images.npy", "test.json", "test.labels.npy"]
    images = np.load(folder / "test.images.npy")
    assert np.array_equal(images[:, 0, 0, 0], np.arange(40))


def test_of_two_processes_that_ask_at_once_one_decodes(cache):
    both = [started(cache / "log", 0.01, 2) for _ in range(2)]
    digests = {process.communicate()[0].strip() for process in both}
    assert len(digests) == 1 and all(process.returncode == 0 for process in both)
    decoded = (cache / "log").read_text().split()
    assert len(decoded) == 41 and len(set(decoded)) == 40  # the first twice: its size is looked at


def test_corrupted_images_in_the_cache_are_those_of_the_whole_array(cache):
    images, labels = numbered(20)
    noise = Corruption("noise", "Noise", "", lambda image, severity, rng: rng.integers(0, 256, image.shape, np.uint8))
    task = of("noisy", (images, labels), 20)
    clean = load_split(task, "test")
    made = corrupted_split(task, "test", clean, noise, 3)
    expected = corrupt(noise, images, 3, "digits/test")
    assert np.array_equal(made.images, expected)
    assert image_cache.corrupted_digest(clean, noise, 3) == made.digest
    (file,) = cache.rglob("test.noise-3-v1.images.npy")
    file.write_bytes(file.read_bytes()[:-1])
    assert np.array_equal(corrupted_split(task, "test", clean, noise, 3).images, expected)


def overwritten(file):
    """The file with equally many bytes, others behind its header."""
    before = file.read_bytes()
    file.write_bytes(before[:128] + bytes(255 - byte for byte in before[128:]))


@pytest.mark.parametrize("part", ["images", "labels", "header"])
def test_rubbish_of_the_right_size_is_told_and_made_again(part, cache, capsys):
    images, labels = numbered(20)
    kept = of("kept", (images, labels), 20)
    load_split(kept, "test")
    assert not capsys.readouterr().err
    (file,) = cache.rglob(f"test.{'images' if part == 'header' else part}.npy")
    if part == "header":
        file.write_bytes(b"x" * file.stat().st_size)
    elif part == "labels":
        np.save(file, 1 - labels)
    else:
        overwritten(file)
    found = load_split(kept, "test")
    assert np.array_equal(found.images, images) and np.array_equal(found.labels, labels)
    assert capsys.readouterr().err == (
        "mergebench: the cached images of task 'digits', split 'test' are damaged; they are made again\n"
    )
    assert np.array_equal(np.load(file.with_name("test.images.npy")), images)


def test_content_is_read_once_in_a_process_and_not_for_a_digest(cache, monkeypatch):
    real, read = hashlib.sha256, []
    made = of("once", numbered(20), 20)
    load_split(made, "test")
    monkeypatch.setattr(content.hashlib, "sha256", lambda *a: read.append(1) or real(*a))
    splits = [load_split(made, "test") for _ in range(3)]
    assert len({split.digest for split in splits}) == 1 and not read
    assert all(split.images.shape == (20, 8, 8, 3) and split.labels.shape == (20,) for split in splits)
    assert len(read) == 1


def test_images_that_are_others_by_now_are_no_repair(cache):
    images, labels = numbered(20)
    load_split(of("changed", (images, labels), 20), "test")
    (file,) = cache.rglob("test.images.npy")
    overwritten(file)
    with pytest.raises(MergebenchError, match="were damaged, and those that are there now are others; run again"):
        load_split(of("changed", (images + 1, labels), 20), "test").images.sum()


def test_corrupted_images_are_held_to_their_digest_and_those_from_before_are_made_again(cache, capsys):
    images, labels = numbered(20)
    noise = Corruption("noise", "Noise", "", lambda image, severity, rng: rng.integers(0, 256, image.shape, np.uint8))
    task, expected = of("noised", (images, labels), 20), corrupt(noise, images, 3, "digits/test")
    assert np.array_equal(corrupted_split(task, "test", load_split(task, "test"), noise, 3).images, expected)
    (file,) = cache.rglob("test.noise-3-v1.images.npy")
    for told in ("under noise-3-v1 are damaged", ""):
        overwritten(file)
        if not told:
            file.with_name("test.noise-3-v1.json").unlink()
        again = corrupted_split(task, "test", load_split(task, "test"), noise, 3)
        assert np.array_equal(again.images, expected) and told in capsys.readouterr().err


def test_while_nothing_is_kept_digests_are_the_same_and_nothing_is_written(cache):
    images, labels = numbered(20)
    tasks = [of("arrays", (images, labels), 20), of("table", ImageTable(labels, lambda i: images[i]), 20)]
    with content.nothing_kept():
        found = [load_split(task, "test") for task in tasks]
        assert load_split(tasks[0], "test") is found[0], "looked at once"
    assert not list(cache.iterdir())
    assert [s.digest for s in found] == [load_split(task, "test").digest for task in tasks]
    assert all(np.array_equal(s.labels, labels) for s in found)
