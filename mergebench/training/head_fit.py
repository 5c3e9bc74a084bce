"""How well a frozen head fits before an encoder is trained behind it: on what it was fitted to, and on other images."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from mergebench.data.content import Split
from mergebench.measuring.evaluation import evaluate
from mergebench.measuring.facts import TaskScore
from mergebench.zoo.heads import Head

# Training images that are looked at, evenly over the split: enough to tell a percent or two.
LOOKED_AT = 2000
# From how much less on other images a head is said to be overfitted.
FAR_APART = 0.1


@dataclass(frozen=True)
class HeadFit:
    """What a head scores on the base's features.

    Args:
        train: on training images.
        validation: on the validation split.
    """

    train: TaskScore
    validation: TaskScore

    def __str__(self) -> str:
        parts = (f"{100 * s.accuracy:.1f} % of {s.total} {n} images" for n, s in self._by_name())
        return ", ".join(parts) + ", before the encoder is trained"

    def _by_name(self) -> tuple[tuple[str, TaskScore], tuple[str, TaskScore]]:
        return ("training", self.train), ("validation", self.validation)

    @property
    def warning(self) -> str:
        """What is to be said where the two lie far apart, by more than the draw of validation images; else nothing."""
        seen, unseen = self.train.accuracy, self.validation.accuracy
        error = (unseen * (1 - unseen) / self.validation.total) ** 0.5
        if seen - unseen <= max(FAR_APART, 2 * error):
            return ""
        return (
            f"the head is fitted to its training images ({100 * seen:.1f} %) more than to the task "
            f"({100 * unseen:.1f} % of validation images): behind it less loss is left to learn from than there is, "
            "and training may move features more than improve them, which averages badly; give more images, or another "
            "head (--head; --probe cosine or logistic)"
        )


def head_fit(
    encoder: nn.Module,
    head: Head,
    train: Split,
    validation: Split,
    *,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    device: str = "cpu",
) -> HeadFit:
    """Score a head behind an encoder.

    Args:
        encoder: with the base's weights.
        head: a task's classifier.
        train, validation: its splits; of the first a part is looked at if it is large.
        mean, std: per channel, of images scaled to [0, 1].
        device: where to compute.
    """
    rows = np.unique(np.linspace(0, len(train.labels) - 1, min(LOOKED_AT, len(train.labels))).astype(np.int64))
    splits = {"train": Split(train.images[rows], train.labels[rows], train.digest), "validation": validation}
    state = {name: tensor.detach().to("cpu", copy=True) for name, tensor in encoder.state_dict().items()}
    with torch.no_grad():
        scores = evaluate(encoder, state, dict.fromkeys(splits, head), splits, mean=mean, std=std, device=device).scores
    return HeadFit(scores["train"], scores["validation"])
