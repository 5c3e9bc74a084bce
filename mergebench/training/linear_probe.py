"""A head for a task of one's own, fitted to the frozen base's features: by cosines, or a logistic regression.

The encoder is then fine-tuned behind it: a head that fits from the start leaves the features where they are good, after
Kumar et al., "Fine-tuning can distort pretrained features and underperform out-of-distribution", arXiv:2202.10054 (who
go on training the head; here it stays, as every head does).
"""

from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from mergebench.data.images import normalise
from mergebench.errors import MergebenchError
from mergebench.training.cosine_probe import cosine_regression
from mergebench.zoo.heads import Head, LinearHead

Probe = Literal["logistic", "cosine"]


def usual_probe(labels: np.ndarray, classes: int) -> Probe:
    """How a head is fitted unless told otherwise: by cosines, but where a class has no two images to part.

    Args:
        labels: integers [N].
        classes: how many there are.
    """
    return "logistic" if np.bincount(labels, minlength=classes).min() == 1 else "cosine"


def fit_linear_head(
    encoder: nn.Module,
    images: np.ndarray,
    labels: np.ndarray,
    classes: int,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    device: str = "cpu",
    batch_size: int = 256,
    probe: Probe = "cosine",
) -> Head:
    """Fits a head; nothing in it is random.

    Args:
        encoder: images [B, 3, H, W] -> features [B, width].
        images: uint8 [N, H, W, 3], possibly memory-mapped.
        labels: integers [N].
        classes: how many there are.
        mean, std: per channel, of images scaled to [0, 1].
        device: where to compute.
        batch_size: images at once.
        probe: how: `logistic_regression`, or `cosine_regression`.

    Raises:
        MergebenchError: a class has no image, or too few.
    """
    missing = np.setdiff1d(np.arange(classes), labels)
    if len(missing):
        raise MergebenchError(f"no training image of class {missing[0]}: a linear head needs some of each")
    encoder = encoder.to(device).eval()
    starts = range(0, len(images), batch_size)
    batches = (torch.tensor(images[start : start + batch_size]).to(device) for start in starts)
    with torch.no_grad():
        features = torch.cat([encoder(normalise(batch, mean, std)) for batch in batches])
    fit = cosine_regression if probe == "cosine" else logistic_regression
    return fit(features, torch.tensor(labels).long().to(device), classes)


def logistic_regression(features: Tensor, labels: Tensor, classes: int) -> LinearHead:
    """The multinomial logistic regression on standardised features, in terms of the features as they are.

        min  sum_i CE(W z_i + b, y_i) + 1/2 ||W||^2,   z = (x - mean) / std

    Args:
        features: [N, width]; computed with in float64.
        labels: int64 [N].
        classes: how many there are.
    """
    inputs = features.to(torch.float64, copy=True)
    centre, spread = inputs.mean(0), inputs.std(0, correction=0)
    spread = torch.where(spread > 0, spread, 1.0)  # a feature that is always the same tells nothing
    inputs.sub_(centre).div_(spread)  # of a million images it is 8 GB: in place
    weight = torch.zeros(classes, inputs.shape[1], dtype=inputs.dtype, device=inputs.device, requires_grad=True)
    bias = torch.zeros(classes, dtype=inputs.dtype, device=inputs.device, requires_grad=True)
    search = torch.optim.LBFGS([weight, bias], max_iter=1000, tolerance_grad=1e-6, line_search_fn="strong_wolfe")

    def objective() -> Tensor:
        search.zero_grad()
        fit = nn.functional.cross_entropy(nn.functional.linear(inputs, weight, bias), labels)
        loss = fit + weight.square().sum() / (2 * len(labels))
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    search.step(objective)  # type: ignore[no-untyped-call]
    weight, bias = weight.detach() / spread, bias.detach()
    return LinearHead(weight.cpu(), (bias - weight @ centre).cpu()).eval()
