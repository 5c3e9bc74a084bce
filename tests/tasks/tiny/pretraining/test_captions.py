"""Captions as poor as their recipe, and tokens that the text tower can pool."""

import dataclasses

import numpy as np
import pytest
import torch

from mergebench.tasks.tiny.families import vehicles
from mergebench.tasks.tiny.pretraining.captions import CONTEXT, Recipe, Vocabulary, caption

VEHICLES = dataclasses.replace(vehicles.TASK, classes=("hatchback", "panel van"))


def captions(recipe, count=200):
    rng = np.random.default_rng(0)
    return [caption(VEHICLES, 1, {"colour": "red"}, recipe, rng) for _ in range(count)]


def test_good_captions_name_the_class_and_its_facts():
    assert all("panel van" in text and "red" in text for text in captions(Recipe(1.0, 0.0, 1.0)))


def test_poor_captions_do_not():
    assert not any("van" in text or "red" in text for text in captions(Recipe(0.0, 0.0, 0.0)))


def test_wrong_names_are_the_family_s_own():
    share = np.mean(["hatchback" in text for text in captions(Recipe(1.0, 1.0, 0.0))])
    assert 0.35 < share < 0.65


@pytest.fixture(scope="module")
def words():
    return Vocabulary.of(["a photo of a panel van", "a red hatchback"])


def test_the_end_token_has_the_highest_number(words):
    tokens = words(["a photo of a red van", "a van"])
    assert tokens.shape == (2, CONTEXT) and tokens.dtype == torch.int64
    assert (tokens.max(1).values == words.end).all() and words.end == words.size - 1
    assert (tokens[:, 0] == words.start).all()
    assert tokens.argmax(1).tolist() == [7, 3]


def test_a_long_text_still_ends(words):
    assert words(["van " * 40])[0, -1] == words.end


def test_a_word_never_seen_is_named(words):
    with pytest.raises(ValueError, match="zebra"):
        words(["a photo of a zebra"])


def test_a_vocabulary_comes_back_from_its_file(words, tmp_path):
    words.write(tmp_path / "vocabulary.json")
    assert torch.equal(Vocabulary.read(tmp_path / "vocabulary.json")(["a red van"]), words(["a red van"]))
