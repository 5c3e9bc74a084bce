"""A cosine head for a task of one's own: ridge regression on unit features, as strong as held-out folds ask for."""

from typing import NamedTuple

import numpy as np
import torch
from scipy.linalg import solve
from scipy.optimize import minimize_scalar
from scipy.sparse import csr_matrix
from sklearn.model_selection import StratifiedKFold
from torch import Tensor

from mergebench.errors import MergebenchError
from mergebench.zoo.heads import ZeroShotHead

# Of ||W||^2, beside sums over images of unit length.
STRENGTHS = tuple(10.0**power for power in np.arange(-3, 2.5, 0.5))
FOLDS = 5
LARGEST_SCALE = 1000.0


def unit(rows: np.ndarray) -> np.ndarray:
    """The same rows [N, d] with length one, in place; zero rows stay."""
    lengths = np.sqrt(np.einsum("ij,ij->i", rows, rows))  # which makes no other array of their size, as a norm does
    rows /= np.maximum(lengths, np.finfo(rows.dtype).tiny)[:, None]
    return rows


class Moments(NamedTuple):
    """All that a ridge regression asks of images: those of some are those of all less those of the others.

    Args:
        gram: X^T X [d, d], of unit features X [N, d].
        towards: X^T Y [d, classes], of one-hot targets Y.
    """

    gram: np.ndarray
    towards: np.ndarray

    @classmethod
    def of(cls, inputs: np.ndarray, truth: np.ndarray, classes: int) -> "Moments":
        """Those of unit features [N, d] and labels [N]."""
        places = (np.ones(len(truth)), (truth, np.arange(len(truth))))
        return cls(inputs.T @ inputs, (csr_matrix(places, shape=(classes, len(truth))) @ inputs).T)

    def directions(self, strength: float) -> np.ndarray:
        """The classes' unit rows [classes, d] of the ridge regression (X^T X + a I)^-1 X^T Y."""
        return unit(solve(self.gram + strength * np.eye(len(self.gram)), self.towards, assume_a="pos").T.copy())


def cosine_regression(features: Tensor, labels: Tensor, classes: int) -> ZeroShotHead:
    """A classifier by cosines, of the form that CLIP's have; nothing in it is random.

        logits = s <x / |x|, w_k / |w_k|>,   W = argmin sum_i |W z_i - onehot(y_i)|^2 + a |W|^2,   z = x / |x|

    a is the strength with the best accuracy on held-out folds (the larger of equal ones), s the scale with the least
    cross-entropy there, with labels smoothed by 1 / (N + 2): what is fitted to its own images looks more certain than
    it is, and classes that lie apart would have no least one.

    Args:
        features: [N, width]; computed with in float64.
        labels: int64 [N].
        classes: how many there are.

    Raises:
        MergebenchError: a class with one image, which cannot be both fitted and held out.
    """
    inputs, truth = unit(features.to("cpu", torch.float64, copy=True).numpy()), labels.cpu().numpy()
    counts = np.bincount(truth, minlength=classes)
    if counts.min() < 2:
        raise MergebenchError(
            f"--probe cosine: class {counts.argmin()} has {counts.min()} training images; held-out folds need 2 of "
            "each: add some, or take --probe logistic"
        )
    whole, folds = Moments.of(inputs, truth, classes), []
    for _, other in StratifiedKFold(min(FOLDS, int(counts.min()))).split(inputs, truth):
        apart = Moments.of(inputs[other], truth[other], classes)
        folds.append((other, Moments(whole.gram - apart.gram, whole.towards - apart.towards)))

    def held_out(strength: float) -> np.ndarray:
        cosines = np.empty((len(truth), classes))
        for other, fitted in folds:
            cosines[other] = inputs[other] @ fitted.directions(strength).T
        return cosines

    best = max(STRENGTHS, key=lambda strength: ((held_out(strength).argmax(1) == truth).mean(), strength))
    cosines, right = torch.from_numpy(held_out(best)), torch.from_numpy(truth).long()
    # What no image contradicts may yet be wrong once in two images more (Laplace's rule of succession): without that
    # the best scale of classes that lie apart is infinite, and no loss is left to train on.
    loss, unseen = torch.nn.functional.cross_entropy, 1 / (len(truth) + 2)
    found = minimize_scalar(
        lambda power: loss(cosines * np.exp(power), right, label_smoothing=unseen).item(),
        bounds=(0, np.log(LARGEST_SCALE)),
        method="bounded",
    )
    directions = torch.from_numpy(whole.directions(best))
    return ZeroShotHead(torch.eye(inputs.shape[1]), directions, torch.tensor(float(np.exp(found.x)))).eval()
