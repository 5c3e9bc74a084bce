"""Images that are not simply 8-bit RGB: 16 bits keep their differences, what can be seen in two ways is refused."""

import io
import threading
import time

import numpy as np
import pytest
from PIL import Image

from mergebench.data import preprocessing, source
from mergebench.data.image_cache import load_split
from mergebench.data.preprocessing import rgb, square
from mergebench.data.source import open_image
from mergebench.errors import MergebenchError


def opened(array, kind):
    if kind == "PPM":
        return open_image(io.BytesIO(b"P5 %d %d 65535\n" % array.shape[::-1] + array.astype(">u2").tobytes()))
    file = io.BytesIO()
    Image.fromarray(array).save(file, kind)
    return open_image(file)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_sixteen_bits_are_scaled_to_eight(kind):
    values = np.array([[0, 257, 20000, 65535]], dtype=np.uint16).repeat(4, 0)
    assert np.asarray(rgb(opened(values, kind)))[0].tolist() == [0, 1, 78, 255]
    assert np.asarray(rgb(opened(values, kind), white=20000))[0].tolist() == [0, 3, 255, 255]
    assert np.asarray(rgb(opened(values, kind), white=255).convert("RGB"))[0, :, 0].tolist() == [0, 255, 255, 255]


def test_floating_point_needs_a_word_on_what_is_white():
    values = np.array([[0, 0.5, 1, 300, np.nan]], dtype=np.float32)
    with pytest.raises(MergebenchError, match="floating-point numbers; say which value is white"):
        rgb(opened(values, "TIFF"))
    assert np.asarray(rgb(opened(values, "TIFF"), white=1))[0].tolist() == [0, 128, 255, 255, 0]


def test_hidden_colours_are_seen_only_where_that_is_said():
    array = np.full((4, 4, 4), (240, 30, 10, 0), dtype=np.uint8)
    array[:2] = (1, 2, 3, 255)
    with pytest.raises(MergebenchError, match="transparent in places; say what is seen there"):
        rgb(opened(array, "PNG"))
    for alpha, seen in {"white": [255] * 3, "black": [0] * 3, "dropped": [240, 30, 10]}.items():
        made = np.asarray(rgb(opened(array, "PNG"), alpha).convert("RGB"))
        assert made[0, 0].tolist() == [1, 2, 3] and made[3, 3].tolist() == seen
    array[..., 3] = 255  # nothing is hidden
    assert rgb(opened(array, "PNG")).mode == "RGBA"


def test_an_image_like_a_thread_is_not_resized_as_a_whole(monkeypatch):
    whole = Image.Image.resize

    def resized(image, size, *args, **more):
        assert max(size) <= 64
        return whole(image, size, *args, **more)

    for shape in ((6000, 1), (1, 5000)):
        image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8))
        with monkeypatch.context() as patch:
            patch.setattr(preprocessing, "LONGEST", 10**9)
            expected = square(image, 16)
        with monkeypatch.context() as patch:
            patch.setattr(Image.Image, "resize", resized)
            assert np.array_equal(square(image, 16), expected)
    assert square(Image.new("L", (10**6, 1), 9), 32).tolist() == [[[9] * 3] * 32] * 32


def test_too_many_pixels_are_refused_with_a_remedy(monkeypatch):
    monkeypatch.setattr(source, "PIXELS", 2 * 10**6)
    with pytest.raises(MergebenchError, match="of 1,500 x 1,500 pixels, more than 2 million; scale it down"):
        opened(np.zeros((1500, 1500), dtype=np.uint8), "PNG")


def folder_of(tmp_path, array, name):
    for label in "ab":
        (tmp_path / name / label).mkdir(parents=True)
        for number in range(6):
            Image.fromarray(array + array.dtype.type(number)).save(tmp_path / name / label / f"{number}{label}.tif")


def test_a_task_is_refused_at_once_and_its_key_knows_what_is_seen(tmp_path, placed):
    folder_of(tmp_path, np.zeros((8, 8), dtype=np.float32), "floats")
    with pytest.raises(MergebenchError, match="task 'flowers': .*0a.tif cannot be decoded: it is of floating-point"):
        placed(data="floats")
    folder_of(tmp_path, np.full((8, 8), 20000, dtype=np.uint16), "deep")
    fields = {"data": "deep", "allow_duplicates": True}
    tasks = [placed(**fields), *(placed(**fields, white=white) for white in (255, 20000, 40000))]
    assert len({task.fingerprint for task in tasks}) == len(tasks)
    assert "65535 is white: see `white`" in tasks[0].told
    assert [int(load_split(task, "test").images[0, 0, 0, 0]) for task in tasks] == [78, 255, 255, 128]


@pytest.mark.parametrize("suffix", [".gif", ".tif", ".webp", ".png"])
def test_pictures_behind_the_first_are_told(image_folder, picture, placed, suffix):
    root = image_folder(a=range(6), b=range(6, 12))
    for name in ("a", "b"):
        frames = [picture(n).resize((20, 20)) for n in (ord(name), 50, 60)]
        frames[0].save(root / name / f"000{suffix}", save_all=True, append_images=frames[1:])
    assert "further pictures of files that hold several: the first is taken" in placed(data="pictures").told


def test_a_damaged_image_is_told_with_the_remedy(image_folder, placed):
    root = image_folder(a=range(6), b=range(6, 12))
    whole = (root / "a/000.png").read_bytes()
    for number in range(6):
        (root / f"a/{number:03}.png").write_bytes(whole[: 100 + number])
    with pytest.raises(MergebenchError, match=r"a/00\d.png cannot be decoded: .*; it is damaged: replace it, or rem"):
        load_split(placed(data="pictures"), "train")


@pytest.mark.parametrize("mode", ["I;16", "F", "RGBA", "LA", "P"])
def test_strips_give_what_the_whole_image_gives(monkeypatch, mode):
    rng = np.random.default_rng(0)
    made = {
        "I;16": lambda: Image.fromarray(rng.integers(0, 65536, (23, 31)).astype(np.uint16)),
        "F": lambda: Image.fromarray(rng.random((23, 31)).astype(np.float32)),
        "P": lambda: Image.fromarray(rng.integers(0, 256, (23, 31, 3), dtype=np.uint8)).quantize(9),
    }.get(mode, lambda: Image.fromarray(rng.integers(0, 256, (23, 31, len(mode)), dtype=np.uint8), mode))()
    if mode == "P":
        made.info["transparency"] = 3
    whole = np.asarray(rgb(made, "black", 0.7 if mode == "F" else None))
    monkeypatch.setattr(preprocessing, "STRIP", 70)
    assert np.array_equal(np.asarray(rgb(made, "black", 0.7 if mode == "F" else None)), whole)
    assert len(list(preprocessing._rows(made))) == 12


def test_large_images_are_decoded_one_at_a_time(image_folder, placed, monkeypatch):
    image_folder(a=range(12), b=range(12, 24))
    at_once, seen, lock = [0], [], threading.Lock()
    whole = preprocessing.square

    def counted(image, size):
        with lock:
            at_once[0] += 1
            seen.append(at_once[0])
        time.sleep(0.01)
        made = whole(image, size)
        with lock:
            at_once[0] -= 1
        return made

    monkeypatch.setattr(preprocessing, "square", counted)
    monkeypatch.setattr(source, "LARGE", 100)
    load_split(placed(data="pictures"), "train")
    assert len(seen) > 8 and max(seen) == 1
