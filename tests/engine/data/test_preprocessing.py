"""Pixels are those that CLIP's own pipeline gives, to the bit."""

import io

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Resize

from mergebench.data.preprocessing import square

SIZES = [(40, 60), (61, 37), (33, 224), (300, 225), (24, 24), (7, 5), (224, 224), (225, 230), (1, 90)]


def image(height, width, mode="RGB", seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels).convert(mode)


@pytest.mark.parametrize("size", [24, 224])
@pytest.mark.parametrize(("height", "width"), SIZES)
def test_pixels_are_torchvisions(height, width, size):
    reference = Compose([Resize(size, interpolation=InterpolationMode.BICUBIC), CenterCrop(size)])
    made = square(image(height, width), size)
    assert made.shape == (size, size, 3) and made.dtype == np.uint8
    assert np.array_equal(made, np.asarray(reference(image(height, width))))


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize(("height", "width"), SIZES)
def test_pixels_are_open_clips(height, width, mode):
    transform = open_clip.image_transform(32, is_train=False, mean=(0, 0, 0), std=(1, 1, 1))
    reference = transform(image(height, width, mode)) * 255
    assert torch.equal(torch.tensor(square(image(height, width, mode), 32)).permute(2, 0, 1), reference.byte())
    assert torch.equal(reference, reference.round())


@pytest.mark.parametrize("mode", ["P", "1", "RGBA", "CMYK", "LA", "I", "I;16", "F"])
def test_other_kinds_of_image_are_made_rgb_first_as_pil_does_it(mode):
    odd = image(40, 50, "L").convert("I").convert(mode) if mode == "I;16" else image(40, 50, mode)
    assert np.array_equal(square(odd, 16), square(odd.convert("RGB"), 16))


def test_a_cameras_note_on_how_to_turn_the_image_is_not_read():
    file = io.BytesIO()
    note = Image.Exif()
    note[0x0112] = 6  # to be turned by a quarter
    image(40, 60).save(file, "PNG", exif=note)
    assert Image.open(file).getexif()[0x0112] == 6
    assert np.array_equal(square(Image.open(file), 32), square(image(40, 60), 32))
