"""Pixels are those of the experts' own pipeline, to the bit: datasets decodes, transformers resizes and cuts."""

import io

import datasets
import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from transformers import CLIPImageProcessorPil

from mergebench.data.preprocessing import square

SIZES = [(40, 60), (61, 37), (33, 224), (300, 225), (24, 24), (7, 5), (224, 224), (225, 230), (1, 90), (224, 227)]


def image(height, width, mode="RGB", seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels).convert(mode)


def encoded(picture, **options):
    file = io.BytesIO()
    picture.save(file, "PNG", **options)
    return file.getvalue()


def turned(orientation):
    """What `save` takes so that the file says how the image is to be turned."""
    note = Image.Exif()
    note[0x0112] = orientation
    return {"exif": note}


def reference(content, size):
    """A file's pixels as the published experts' pipeline has them, before they are scaled."""
    decoded = datasets.Image().decode_example({"bytes": content, "path": None})
    processor = CLIPImageProcessorPil(
        size={"shortest_edge": size}, crop_size=size, do_rescale=False, do_normalize=False
    )
    return np.asarray(processor(decoded, return_tensors="np")["pixel_values"][0]).transpose(1, 2, 0)


@pytest.mark.parametrize("size", [24, 224])
@pytest.mark.parametrize(("height", "width"), SIZES)
def test_pixels_are_those_of_datasets_and_transformers(height, width, size):
    made = square(image(height, width), size)
    assert made.shape == (size, size, 3) and made.dtype == np.uint8
    assert np.array_equal(made, reference(encoded(image(height, width)), size))


@pytest.mark.parametrize("mode", ["L", "P", "1", "RGBA", "LA", "I;16"])
def test_so_are_those_of_other_kinds_of_image(mode):
    odd = image(40, 51, "L").convert("I").convert(mode) if mode == "I;16" else image(40, 51, mode)
    content = encoded(odd)
    assert np.array_equal(square(Image.open(io.BytesIO(content)), 16), reference(content, 16))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_so_are_those_of_an_image_that_a_camera_noted_how_to_turn(orientation):
    content = encoded(image(40, 60), **turned(orientation))
    made = square(Image.open(io.BytesIO(content)), 32)
    assert np.array_equal(made, reference(content, 32))
    assert np.array_equal(made, square(image(40, 60), 32)) == (orientation == 1)


def test_notes_in_disorder_leave_the_image_as_it_is():
    content = encoded(image(40, 60), exif=b"Exif\x00\x00no notes at all")
    with pytest.raises(SyntaxError, match="not a TIFF file"):
        Image.open(io.BytesIO(content)).getexif()
    assert np.array_equal(square(Image.open(io.BytesIO(content)), 32), square(image(40, 60), 32))


@pytest.mark.parametrize("mode", ["CMYK", "I", "F"])
def test_kinds_that_no_png_holds_are_made_rgb_first_as_pil_does_it(mode):
    assert np.array_equal(square(image(40, 50, mode), 16), square(image(40, 50, mode).convert("RGB"), 16))


# Of these sizes no number of pixels to spare leaves a remainder of 3 to 4.
@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize(("height", "width"), [(40, 61), (37, 61), (24, 24), (7, 5), (32, 34)])
def test_but_for_half_a_pixel_open_clip_s_are_the_same(height, width, mode):
    transform = open_clip.image_transform(32, is_train=False, mean=(0, 0, 0), std=(1, 1, 1))
    reference = transform(image(height, width, mode)) * 255
    assert torch.equal(torch.tensor(square(image(height, width, mode), 32)).permute(2, 0, 1), reference.byte())
    assert torch.equal(reference, reference.round())
