"""What a head scores before training is told, and a warning where it was fitted to its own images alone."""

import numpy as np
import pytest
import torch

from mergebench.data.content import Split
from mergebench.measuring.results import TaskScore
from mergebench.training.head_fit import HeadFit, head_fit
from mergebench.training.linear_probe import fit_linear_head

SCALES = {"mean": (0.5,) * 3, "std": (0.25,) * 3}


def score(correct, total):
    return TaskScore(correct=correct, total=total, predictions="0" * 16)


@pytest.mark.parametrize(
    ("train", "validation", "warned"),
    [
        ((100, 100), (56, 100), True),
        ((100, 100), (91, 100), False),  # not far
        ((15, 15), (12, 15), False),  # far, but so few images may do that
        ((785, 1000), (560, 1000), True),
        ((50, 100), (70, 100), False),
    ],
)
def test_a_gap_is_warned_of_where_it_is_large_and_no_chance(train, validation, warned):
    fit = HeadFit(score(*train), score(*validation))
    assert bool(fit.warning) == warned
    if warned:
        percent = f"{100 * validation[0] / validation[1]:.1f} %"
        assert percent in fit.warning and percent in str(fit) and "--probe cosine or logistic" in fit.warning


def test_it_is_the_accuracy_of_head_and_encoder(mini):
    rng, encoder = np.random.default_rng(0), mini.encoder()
    images, labels = rng.integers(0, 256, (120, 32, 32, 3), dtype=np.uint8), np.arange(120) % 4
    train, other = Split(images[:60], labels[:60], "a"), Split(images[60:], labels[60:], "b")
    head = fit_linear_head(encoder, train.images, train.labels, 4, **SCALES, probe="logistic")
    before = {n: t.clone() for n, t in encoder.state_dict().items()}
    fit = head_fit(encoder, head, train, other, **SCALES)
    with torch.no_grad():
        pixels = (torch.from_numpy(images).float() / 255 - 0.5) / 0.25
        right = head(encoder(pixels.permute(0, 3, 1, 2))).argmax(1).numpy() == labels
    assert (fit.train.correct, fit.train.total) == (right[:60].sum(), 60)
    assert (fit.validation.correct, fit.validation.total) == (right[60:].sum(), 60)
    assert fit.train.accuracy > 0.7 and fit.validation.accuracy < 0.5 and fit.warning  # noise, learnt by heart
    assert all(torch.equal(t, before[n]) for n, t in encoder.state_dict().items())


def test_of_many_training_images_a_part_is_looked_at(mini, monkeypatch):
    monkeypatch.setattr("mergebench.training.head_fit.LOOKED_AT", 10)
    images, labels = np.zeros((50, 32, 32, 3), np.uint8), np.arange(50) % 2
    fit = head_fit(mini.encoder(), mini.head(0, 2), Split(images, labels, "a"), Split(images, labels, "b"), **SCALES)
    assert (fit.train.total, fit.validation.total) == (10, 50)
