"""No image takes memory or time without end, or is run: what cannot be read is refused with its name and a remedy."""

import os

import hostile_images
import numpy as np
import pytest
from guard import bounded
from PIL import Image

from mergebench.data import source, torchvision_sets
from mergebench.data.image_cache import load_split
from mergebench.errors import MergebenchError


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Folders of two classes, in which some training image's name is at the beginning of every part."""
    root = tmp_path_factory.mktemp("data") / "pictures"
    for number in range(24):
        path = root / "ab"[number % 2] / f"{number:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (24, 24, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
    return root


@pytest.mark.parametrize("name", hostile_images.KINDS)
def test_kinds(name, data, placed):
    made, refused = hostile_images.KINDS[name]
    file = data / "a" / f"zz-{name}"
    file.write_bytes(made())
    try:
        with bounded(name):
            error = _error(placed, data)
    finally:
        file.unlink()
    if refused:
        assert error is not None
    if error is not None:
        line = str(error)
        assert str(file) in line and "\n" not in line.strip(), line
        assert any(remedy in line for remedy in ("replace it", "scale it down")), line


def test_pil_says_nothing_beside_a_refusal(tmp_path, capfd):
    """Its warnings and its log would be lines of their own."""
    tag = hostile_images.TAG
    tags = [tag(256, 4, 1, 9), tag(257, 4, 1, 9), tag(258, 3, 1, 8), tag(262, 3, 1, 2), tag(277, 3, 1, 7939)]
    (tmp_path / "a.tif").write_bytes(b"II*\0\x08\0\0\0\x05\0" + b"".join(tags) + bytes(4))
    with pytest.raises(MergebenchError, match="it is empty, damaged or no image; replace it"):
        source.open_image(tmp_path / "a.tif")
    assert capfd.readouterr().err == ""


def _error(placed, data):
    try:
        task = placed(data=str(data), allow_duplicates=True)
        for split in ("test", "validation", "calibration", "train"):
            load_split(task, split)
    except MergebenchError as error:
        return error
    return None


def test_a_file_beyond_all_images_is_not_read(data, placed):
    files = [data / "a" / "zz-1.png", data / "a" / "zz-2.png"]
    for file in files:
        with file.open("wb") as opened:
            opened.truncate(source.FILE + 1)
    try:
        with bounded("sparse files"):
            assert "zz-" in str(error := _error(placed, data)) and "more than 1,000,000,000 bytes" in str(error)
    finally:
        for file in files:
            file.unlink()


def test_torchvision_opens_no_program_and_nothing_too_large(tmp_path, monkeypatch):
    folder = tmp_path / "torchvision" / "ImageFolder" / "a"
    folder.mkdir(parents=True)
    (folder / "1.png").write_bytes(hostile_images.KINDS["program.png"][0]())
    (folder / "2.png").write_bytes(hostile_images.KINDS["above.png"][0]())
    (folder / "3.png").write_bytes(hostile_images._whole())
    monkeypatch.setenv("PATH", str(_gs(tmp_path)), prepend=os.pathsep)
    images = torchvision_sets._opened("ImageFolder", "train", "", folder.parent, False)
    part = torchvision_sets._part(images, "ImageFolder", "train", folder.parent)
    table = part.table(16)
    for index in (0, 1):
        with pytest.raises(MergebenchError, match="cannot be decoded"):
            table.image(index)
    assert table.image(2).shape == (16, 16, 3) and not (tmp_path / "canary").exists()
    with pytest.raises(MergebenchError, match="torchvision:LSUN keeps a pickle beside its files"):
        torchvision_sets._opened("LSUN", "train", "", folder, False)


def _gs(folder):
    """A folder of a Ghostscript that leaves a canary."""
    program = folder / "bin" / "gs"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\ntouch {folder / 'canary'}\n")
    program.chmod(0o755)
    return program.parent


def test_a_table_names_what_lies_beside_it(data, placed, tmp_path):
    other = tmp_path / "elsewhere.png"
    Image.new("RGB", (24, 24), (1, 2, 3)).save(other)
    (data / "link.png").symlink_to(other)
    (data / "folder").symlink_to(tmp_path)
    rows = [f"{'ab'[n % 2]}/{n:02}.png,{'ab'[n % 2]}" for n in range(24)]
    up = f"../{os.path.relpath(other, data.parent)}"
    for place in (other, up, "link.png", "folder/elsewhere.png", "a/../link.png"):
        (data / "t.csv").write_text("\n".join(["image,label", *rows, f"{place},a"]))
        with pytest.raises(MergebenchError, match=r"t.csv, line 26: .* does not lie in the file's folder; .*--outside"):
            placed(data=str(data / "t.csv"))
        assert placed(data=str(data / "t.csv"), outside=True).card.classes == ("a", "b")
    (data / "t.csv").write_text("\n".join(["image,label", *rows, "a/../b/01.png,b"]))
    assert placed(data=str(data / "t.csv"), allow_duplicates=True).card.classes == ("a", "b")
    for name in ("t.csv", "link.png", "folder"):
        (data / name).unlink()


def test_links_in_a_folder_of_images_are_followed(data, placed, tmp_path):
    """ImageNet often is a link itself, or holds links; only those back to where they lie in are refused."""
    (tmp_path / "whole").symlink_to(data)
    assert placed(data="whole").card.classes == ("a", "b")
    (tmp_path / "mixed").mkdir()
    for name in "ab":
        (tmp_path / "mixed" / name).symlink_to(data / name)
    assert placed(data="mixed").card.classes == ("a", "b")
    (tmp_path / "round" / "a").mkdir(parents=True)
    (tmp_path / "round" / "a" / "again").symlink_to(tmp_path / "round")
    with pytest.raises(MergebenchError, match="a link back to a folder that it lies in"), bounded("a loop"):
        placed(data="round")
