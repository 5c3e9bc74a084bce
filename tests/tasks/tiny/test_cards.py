"""The cards and the README's table say the same, and say it in full."""

import dataclasses
import itertools
import re
from pathlib import Path

import numpy as np
import pytest

import mergebench.tasks.tiny
from mergebench.catalogue.registry import find_task
from mergebench.data.task import SPLITS
from mergebench.tasks.tiny import RENDERED, TASKS, UNRELATED
from mergebench.tasks.tiny.drawing import sources
from mergebench.tasks.tiny.families import faces, unrelated

FOLDER = Path(mergebench.tasks.tiny.__file__).parent
TEXT = (FOLDER / "README.md").read_text()
EVERY = TASKS | UNRELATED


@pytest.mark.parametrize("name", EVERY)
def test_a_card_leaves_nothing_unsaid(name):
    card = EVERY[name].card
    unsaid = [f.name for f in dataclasses.fields(card) if not getattr(card, f.name)]
    assert unsaid == []


def test_the_table_lists_the_cards_in_order():
    rows = [[cell.strip() for cell in row.split("|")[1:-1]] for row in TEXT.splitlines() if re.match(r"\| \d+ \|", row)]
    assert [(int(r[0]), r[1], int(r[4])) for r in rows] == [
        (number, name, len(task.card.classes)) for number, (name, task) in enumerate(TASKS.items(), start=1)
    ]
    assert [find_task(r[2], list(TASKS), "the table") for r in rows] == list(TASKS)
    assert all(reason and real and drawn for _, _, _, reason, _, real, drawn in rows)


def test_the_numbers_of_images_are_the_cards():
    told = re.search(
        r"has ([\d,]+) training \(digits: ([\d,]+)\), (\d+) calibration, (\d+) validation and ([\d,]+) test", TEXT
    )
    train, of_digits, *others = (int(n.replace(",", "")) for n in told.groups())
    for name, task in TASKS.items():
        expected = [of_digits if name == "digits" else train, *others]
        assert [task.card.splits[s] for s in ("train", "calibration", "validation", "test")] == expected


def test_what_a_card_takes_from_a_package_stands_in_the_table_of_terms():
    terms = re.search(r"\| source \| package \| terms.*?\n\n", TEXT, re.DOTALL)[0]
    files = {Path(file).stem.removesuffix("_left") for _, file in sources.PHOTOS.values()}
    assert {file for file in files if not re.search(rf"\b{file}\b", terms)} == set()


def test_only_the_unrelated_images_show_the_retina():
    using = [p.name for p in sorted(FOLDER.rglob("*.py")) if '"retina"' in p.read_text()]
    assert using == ["sources.py", "unrelated.py"] and unrelated.PHOTOGRAPH == "retina"


def test_no_face_is_in_two_splits():
    spans = sorted(faces.BOUNDS.values())
    assert spans[0][0] == 0 and spans[-1][1] == faces.FACES and set(faces.BOUNDS) == set(SPLITS)
    assert all(end == start for (_, end), (start, _) in itertools.pairwise(spans))


@pytest.mark.parametrize("name", EVERY)
def test_splits_draw_other_images_of_the_same_classes(name):
    labels = np.arange(12) % len(EVERY[name].card.classes)
    drawn = {split: {image.tobytes() for image, _ in RENDERED[name].render(split, labels)} for split in SPLITS}
    for one, other in itertools.combinations(drawn.values(), 2):
        assert not one & other
