"""Evaluation: counts are those of predictions made by hand, in either precision of the encoder."""

import numpy as np
import pytest
import torch

from mergebench.data.image_cache import Split
from mergebench.errors import MergebenchError
from mergebench.measuring.classifier import MultiTaskClassifier
from mergebench.measuring.evaluation import evaluate
from mergebench.measuring.proof import count

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)


@pytest.fixture
def splits(mini):
    rng = np.random.default_rng(0)
    return {
        t: Split(rng.integers(0, 256, (n, 32, 32, 3), dtype=np.uint8), rng.integers(0, 3 + i, n), t)
        for i, (t, n) in enumerate(zip(mini.tasks, (300, 20, 7), strict=True))
    }


def pixels(split):
    return torch.from_numpy(((split.images / 255 - MEAN) / STD).transpose(0, 3, 1, 2)).float()


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_counts_are_those_of_predictions_made_by_hand(precision, mini, splits):
    base, heads = mini.encoder(), mini.heads()
    found = evaluate(base, base.state_dict(), heads, splits, mean=MEAN, std=STD, precision=precision)
    for task, split in splits.items():
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            features = base(pixels(split))
        predicted = heads[task](features.float()).argmax(1).numpy()
        assert (found.predictions[task] == predicted).mean() > 0.98  # another batch size rounds otherwise
        score = found.scores[task]
        assert (score.correct, score.total) == ((found.predictions[task] == split.labels).sum(), len(split.labels))


def test_bfloat16_is_the_encoder_s_alone(mini, splits):
    base, heads = mini.encoder(), mini.heads()
    logits, products = {}, set()
    base.blocks[0].mlp.fc1.register_forward_hook(lambda module, inputs, output: products.add(output.dtype))
    for precision in ("float32", "bfloat16"):
        module = MultiTaskClassifier(base, base.state_dict(), heads, MEAN, STD, precision)
        with torch.no_grad():
            logits[precision] = module(torch.from_numpy(splits["birds"].images[:50]), 0)
    assert products == {torch.float32, torch.bfloat16}
    assert all(value.dtype == torch.float32 for value in logits.values())
    difference = (logits["bfloat16"] - logits["float32"]).abs().max()
    assert 0 < difference < 0.1 * logits["float32"].abs().max()


def test_an_unknown_precision_is_named(mini, splits):
    with pytest.raises(MergebenchError, match="unknown precision 'int8'; there are: float32, bfloat16"):
        evaluate(mini.encoder(), {}, mini.heads(), splits, mean=MEAN, std=STD, precision="int8")


def test_tasks_are_told_as_they_are_done(mini, splits):
    base, done = mini.encoder(depth=1), []
    evaluate(base, base.state_dict(), mini.heads(), splits, mean=MEAN, std=STD, on_task=done.append)
    assert done == list(mini.tasks)


def test_counts_are_held_to_the_metric(mini, splits, monkeypatch):
    """Of two ways to count, neither may be wrong unseen."""
    monkeypatch.setattr("mergebench.measuring.evaluation.count", lambda *ids: count(*ids)._replace(correct=0))
    base = mini.encoder(depth=1)
    with pytest.raises(MergebenchError, match=r"task 'cars': metric 0\.\d+ but 0/20"):
        evaluate(base, base.state_dict(), {"cars": mini.head(1)}, {"cars": splits["cars"]}, mean=MEAN, std=STD)
