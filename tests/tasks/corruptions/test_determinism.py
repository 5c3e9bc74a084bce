"""Corrupted images are the same bits in every process and batch, and cost nothing until they are made."""

import hashlib
import os
import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from skimage import data

from mergebench.data.corruption import SEVERITIES, corrupt
from mergebench.data.image_cache import Split, corrupted_digest
from mergebench.tasks.corruptions import CORRUPTIONS
from mergebench.tasks.corruptions.sheet import GAP, LABELS, sheet

IMAGES = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)

DIGESTS = """
import hashlib
import numpy as np
from mergebench.data.corruption import SEVERITIES, corrupt
from mergebench.tasks.corruptions import CORRUPTIONS

images = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)
for name, corruption in reversed(CORRUPTIONS.items()):
    made = [corrupt(corruption, images, severity, "scenes/test").tobytes() for severity in SEVERITIES]
    print(name, hashlib.sha256(b"".join(made)).hexdigest())
"""


# Of random images at 32 pixels, two pieces of a photograph at 32 and one at 224, severity by severity.
PINNED = {
    "motion-blur v1": "51bdc3c3ca29584e",
    "impulse-noise v1": "541b7dd16b7b3786",
    "gaussian-noise v1": "20cc870211df0e95",
    "pixelate v1": "5db5a04ab34da066",
    "spatter v1": "99e327b6eb6bcbdc",
    "contrast v1": "9e5d4da2932c32b5",
    "jpeg-compression v1-libjpeg-turbo-3.2.0": "bf13afc5883ddfbb",
}


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_bits_change_with_the_version_only(name):
    photo, sha = data.astronaut(), hashlib.sha256()
    pieces = np.stack([photo[30:62, 170:202], photo[100:132, 300:332]])
    for images in (IMAGES, pieces, photo[None, :224, 100:324]):
        for severity in SEVERITIES:
            sha.update(corrupt(CORRUPTIONS[name], images, severity, "scenes/test").tobytes())
    found, label = sha.hexdigest()[:16], CORRUPTIONS[name].label(1).replace("-1-v", " v")
    if label not in PINNED:
        assert CORRUPTIONS[name].library(), f"a version without pinned bits: pin {found} as {label!r}"
    else:
        assert found == PINNED[label], f"other pixels than those of {label}: raise the version, pin {found}"


def test_images_are_told_apart_by_corruption_severity_version_and_library():
    jpeg = CORRUPTIONS["jpeg-compression"]
    assert re.fullmatch(r"jpeg-compression-5-v1-libjpeg(-turbo)?-[\d.]+", jpeg.label(5))
    other = replace(jpeg, library=lambda: "libjpeg-99")
    clean = Split(IMAGES, np.zeros(4, dtype=np.int64), "clean")
    kinds = [jpeg, other, replace(jpeg, version=2), CORRUPTIONS["contrast"]]
    assert len({corrupted_digest(clean, kind, severity) for kind in kinds for severity in SEVERITIES}) == 20
    assert CORRUPTIONS["contrast"].label(1) == "contrast-1-v1"


def test_another_process_makes_the_same_bits():
    here = {
        name: hashlib.sha256(b"".join(corrupt(c, IMAGES, s, "scenes/test").tobytes() for s in SEVERITIES)).hexdigest()
        for name, c in CORRUPTIONS.items()
    }
    assert len(set(here.values())) == len(here)
    for hash_seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        command = [sys.executable, "-c", DIGESTS]
        run = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
        assert dict(line.split() for line in run.stdout.splitlines()) == here


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_an_image_alone_is_the_image_in_a_batch(name):
    before = IMAGES.copy()
    np.random.seed(0)
    batch = corrupt(CORRUPTIONS[name], IMAGES, 3, "scenes/test")
    np.random.seed(1)
    assert np.array_equal(corrupt(CORRUPTIONS[name], IMAGES[:1], 3, "scenes/test")[0], batch[0])
    swapped = IMAGES[[3, 1, 2, 0]]
    assert np.array_equal(corrupt(CORRUPTIONS[name], swapped, 3, "scenes/test")[1:3], batch[1:3])
    assert np.array_equal(before, IMAGES)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_corruption_writes_into_no_image(name):
    image = IMAGES[0].copy()
    image.flags.writeable = False
    for severity in SEVERITIES:
        CORRUPTIONS[name].apply(image, severity, np.random.default_rng(0))
    assert np.array_equal(image, IMAGES[0])


@pytest.mark.parametrize("name", CORRUPTIONS)
@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 40, 3), (50, 7, 3), (120, 101, 3)])
def test_any_shape_is_kept(name, shape):
    image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    for severity in SEVERITIES:
        made = CORRUPTIONS[name].apply(image, severity, np.random.default_rng(0))
        assert made.shape == shape and made.dtype == np.uint8


def test_importing_the_corruptions_imports_nothing_heavy():
    code = "import sys, mergebench.tasks.corruptions; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "numpy", "scipy", "skimage", "PIL"} & set(run.stdout.split())


def test_the_sheet_shows_what_is_measured():
    board = np.array(sheet(IMAGES, [2, 0], "scenes/test", zoom=1))
    for row, corruption in enumerate(CORRUPTIONS.values()):
        for place, index in enumerate([2, 0]):
            left = LABELS + place * (6 * 32 + GAP)
            strip = board[row * (32 + GAP) :][:32, left : left + 6 * 32]
            made = [corrupt(corruption, IMAGES, severity, "scenes/test")[index] for severity in SEVERITIES]
            assert np.array_equal(strip, np.concatenate([IMAGES[index], *made], axis=1))
