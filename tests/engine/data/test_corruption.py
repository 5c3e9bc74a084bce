"""Corrupting a batch: a generator per image, nothing of the batch or the process in it, plain refusals."""

import subprocess
import sys

import numpy as np
import pytest

from mergebench.data.corruption import SEVERITIES, Corruption, corrupt, generator
from mergebench.errors import MergebenchError


def draw(image, severity, rng):
    """Replaces the image by random numbers and keeps the severity in its first value."""
    drawn = rng.integers(0, 256, image.shape, dtype=np.uint8)
    drawn[0, 0, 0] = severity
    return drawn


DRAWN = Corruption("drawn", "Drawn", "random numbers", draw)
IMAGES = np.random.default_rng(0).integers(0, 256, (6, 5, 4, 3), dtype=np.uint8)


def test_every_image_has_numbers_of_its_own():
    made = corrupt(DRAWN, IMAGES, 1, "scenes/test")
    assert made.dtype == np.uint8 and made.shape == IMAGES.shape
    assert len({image[1:].tobytes() for image in made}) == len(IMAGES)


def test_an_image_does_not_depend_on_the_others():
    whole = corrupt(DRAWN, IMAGES, 2, "scenes/test")
    assert np.array_equal(corrupt(DRAWN, IMAGES[:3], 2, "scenes/test"), whole[:3])
    others = np.random.default_rng(1).permutation(IMAGES.ravel()).reshape(IMAGES.shape)
    others[4] = IMAGES[4]
    assert np.array_equal(corrupt(DRAWN, others, 2, "scenes/test")[4], whole[4])


def test_severities_share_their_numbers():
    made = [corrupt(DRAWN, IMAGES, severity, "scenes/test") for severity in SEVERITIES]
    assert [images[0, 0, 0, 0] for images in made] == list(SEVERITIES)
    assert all(np.array_equal(images[:, 1:], made[0][:, 1:]) for images in made)


def test_name_key_and_seed_draw_other_numbers():
    renamed = Corruption("other", "Drawn", "random numbers", draw)
    made = [
        corrupt(DRAWN, IMAGES, 1, "scenes/test"),
        corrupt(DRAWN, IMAGES, 1, "signs/test"),
        corrupt(DRAWN, IMAGES, 1, "scenes/test", seed=1),
        corrupt(renamed, IMAGES, 1, "scenes/test"),
    ]
    assert len({images[:, 1:].tobytes() for images in made}) == len(made)


def test_parts_of_what_names_an_image_cannot_run_into_one_another():
    first = generator(DRAWN, "a/1", 2).integers(2**60)
    assert first != generator(DRAWN, "a/", 12).integers(2**60)
    assert first == generator(DRAWN, "a/1", np.int64(2), np.int32(0)).integers(2**60)


def test_images_are_left_as_they_are():
    def spoil(image, severity, rng):
        image[:] = 0
        return image

    before = IMAGES.copy()
    before.flags.writeable = False
    assert not corrupt(Corruption("spoil", "Spoil", "0", spoil), before, 1, "scenes/test").any()
    assert np.array_equal(before, IMAGES)


def test_no_images_are_no_images():
    assert corrupt(DRAWN, IMAGES[:0], 1, "scenes/test").shape == (0, 5, 4, 3)


@pytest.mark.parametrize("severity", [0, 6, -1, 2.5, "3", None])
def test_an_unknown_severity_is_named(severity):
    with pytest.raises(MergebenchError) as caught:
        corrupt(DRAWN, IMAGES, severity, "scenes/test")
    assert str(caught.value) == f"no severity {severity!r}; there are: 1, 2, 3, 4, 5"


@pytest.mark.parametrize(
    ("images", "what"),
    [
        (IMAGES.astype(np.float32) / 255, r"float32 \[6, 5, 4, 3\]"),
        (IMAGES[0], r"uint8 \[5, 4, 3\]"),
        (IMAGES[..., :1], r"uint8 \[6, 5, 4, 1\]"),
        (IMAGES.transpose(0, 3, 1, 2), r"uint8 \[6, 3, 5, 4\]"),
        (IMAGES[:, :0], r"uint8 \[6, 0, 4, 3\]"),
    ],
)
def test_images_of_another_kind_are_refused(images, what):
    with pytest.raises(MergebenchError, match=what):
        corrupt(DRAWN, images, 1, "scenes/test")


@pytest.mark.parametrize("change", [lambda x: x / 255, lambda x: x[:2], lambda x: x[..., 0]])
def test_a_corruption_that_breaks_its_contract_is_named(change):
    broken = Corruption("broken", "Broken", "?", lambda image, severity, rng: change(image))
    with pytest.raises(MergebenchError, match="corruption 'broken' made .* of uint8"):
        corrupt(broken, IMAGES, 1, "scenes/test")


def test_importing_it_imports_nothing_heavy():
    code = "import sys; before = set(sys.modules); import mergebench.data.corruption; print(*set(sys.modules) - before)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "numpy", "scipy", "PIL"} & set(run.stdout.split())
