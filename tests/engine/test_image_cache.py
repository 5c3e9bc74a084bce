"""Decoded images: held to what every part after them takes for granted, and made anew where a file is broken."""

from dataclasses import replace

import numpy as np
import pytest

from mergebench.errors import MergebenchError
from mergebench.image_cache import load_split
from mergebench.tasks.tiny import TASKS

IMAGES = np.zeros((4, 8, 8, 3), dtype=np.uint8)
LABELS = np.array([0, 1, 1, 0])


def task(images, labels, name):
    card = replace(TASKS["digits"].card, splits={"test": 4}, classes=("a", "b"))
    return replace(TASKS["digits"], card=card, load=lambda split: (images, labels), fingerprint=f"test-{name}")


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
