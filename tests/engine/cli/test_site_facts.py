"""What pages are told of methods and tasks, and which tasks' images they show."""

import io
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from mergebench.catalogue import registry
from mergebench.cli import contact_sheet
from mergebench.cli.contact_sheet import may_be_shown, sheet_of
from mergebench.cli.site_facts import known_of
from mergebench.data import image_cache
from mergebench.leaderboard.site.known import sheet_path


def of(method, *tasks):
    """A board, or a series, as far as it is looked at."""
    named = [SimpleNamespace(method=method)]
    return SimpleNamespace(rows=named, lines=named, tasks=tasks)


def test_cards_are_gathered_of_what_is_registered_and_of_nothing_else(tmp_path):
    known = known_of([of("ties", "digits", "gone"), of("mine")], [of("average")], tmp_path)
    assert set(known.methods) == {"ties", "average"} and set(known.tasks) == {"digits"}
    ties = known.methods["ties"]
    assert (ties.year, ties.facts["paper"]) == (2023, "arXiv:2306.01708 (2023)") and "gamma" in ties.text
    assert "density" in [one.name for one in ties.settings] and "Args:" not in ties.text
    assert known.tasks["digits"].facts["licence"] == registry.tasks()["digits"].card.licence


@pytest.mark.parametrize(
    ("licence", "drawn", "shown"),
    [
        ("CC0 1.0", "nothing", True),
        ("CC BY-SA 4.0", "", True),
        ("MIT, as the hub's card says", "nothing", True),
        ("not stated", "nothing", False),
        ("for non-commercial use", "nothing", False),
        ("CC BY-NC 4.0", "nothing", False),
        ("public domain; for the rest the package states none", "nothing", False),
        ("", "nothing", False),
        ("the package states none", "the letters", True),
    ],
)
def test_images_are_shown_where_they_are_drawn_here_or_free(licence, drawn, shown):
    card = replace(registry.tasks()["digits"].card, licence=licence, drawn=drawn)
    assert may_be_shown(card) is shown


def test_a_sheet_is_made_of_images_that_are_there_once(tmp_path, monkeypatch):
    monkeypatch.setenv("MERGEBENCH_CACHE", str(tmp_path / "cache"))
    images, labels = np.zeros((4, 8, 8, 3), np.uint8), np.array([0, 0, 1, 1])
    images[2:] = 255
    splits = dict.fromkeys(("train", "calibration", "validation", "test"), 4)
    card = replace(registry.tasks()["signs"].card, classes=("black", "white"), splits=splits)
    task = replace(registry.tasks()["signs"], card=card, fingerprint="one", load=lambda split: (images, labels))
    assert sheet_of(task, tmp_path)[0] is None, "nothing is made for it"
    image_cache.load_split(task, "test")
    picture, note = sheet_of(task, tmp_path)
    shown = np.asarray(Image.open(io.BytesIO(picture)).convert("L"))
    assert shown.shape == (16, 80) and note == "The first test images of every class, a row for each."
    assert shown[:8, :16].max() < 20 and shown[8:, :16].min() > 235

    there = tmp_path / sheet_path("signs", "one")
    there.parent.mkdir()
    there.write_bytes(b"as it was")
    assert sheet_of(task, tmp_path)[0] == b"as it was"
    assert sheet_of(replace(task, fingerprint="two"), tmp_path)[0] is None


def test_a_sheet_that_would_be_large_is_made_smaller_or_left_out(tmp_path, monkeypatch):
    noise = np.random.default_rng(0).integers(0, 256, (40, 64, 64, 3), dtype=np.uint8)
    monkeypatch.setattr(image_cache, "kept_images", lambda task, split: (noise, np.arange(40) % 4))
    task = registry.tasks()["signs"]
    picture, _ = sheet_of(task, tmp_path)
    assert picture is None or len(picture) <= contact_sheet.BYTES
    monkeypatch.setattr(contact_sheet, "BYTES", 10)
    picture, note = sheet_of(task, tmp_path)
    assert picture is None and note
