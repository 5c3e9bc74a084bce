"""A merged encoder whose mean feature is moved to the base's, by its final norm's bias: one plain encoder still."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from mergebench.errors import MergebenchError
from mergebench.merging.method import Needs
from mergebench.merging.pool import ModelPool
from mergebench.weights.projection import has_projection
from mergebench.weights.states import StateDict

# What rounding to a coarse number format may leave of a distance; more, and features do not follow the bias.
LEFT = 0.1
ALL = ""  # the mean over tasks; no task has this name
RECENTRING = Needs(base=True, calibration=True)


@dataclass(frozen=True)
class Recentred:
    """A merged state whose mean feature is the base's.

    Args:
        state: the weights.
        bias: the parameter that was moved.
        samples: images of each task.
        before, after: task, or ALL -> how far the mean feature is from the base's, over the length of that.
    """

    state: StateDict
    bias: str
    samples: int
    before: dict[str, float]
    after: dict[str, float]

    @property
    def noted(self) -> dict[str, str | int]:
        """What a header says of it."""
        return {"bias": self.bias, "samples": self.samples}

    def __str__(self) -> str:
        tasks = ", ".join(f"{t} {b:.2f} -> {self.after[t]:.2f}" for t, b in self.before.items() if t != ALL)
        return (
            f"recentred by {self.bias} on {self.samples} images a task: mean features lay {self.before[ALL]:.2f} of "
            f"their length from the base's, now {self.after[ALL]:.2f}; by task {tasks}"
        )


def moving_bias(encoder: nn.Module) -> str:
    """The name of the bias that is added to every feature as it leaves the encoder.

    Raises:
        MergebenchError: there is none, or something else stands behind it.
    """
    if isinstance(encoder, VisionTransformer) and has_projection(encoder):
        raise MergebenchError("recentre: behind the final norm is a projection, which belongs to it; leave it out")
    if isinstance(encoder, VisionTransformer) and encoder.attn_pool is None:
        name = "norm" if isinstance(encoder.fc_norm, nn.Identity) else "fc_norm"
        if isinstance(getattr(encoder, name), nn.LayerNorm) and getattr(encoder, name).bias is not None:
            return f"{name}.bias"
    raise MergebenchError("recentre: this encoder has no final norm with a bias behind everything; leave it out")


def recentre(pool: ModelPool, state: StateDict, samples: int) -> Recentred:
    """Move a merged encoder's mean feature to the base's, every task weighing alike.

        b' = b + mean_t (mean_x f_base(x) - mean_x f_merged(x)),   x calibration images of task t, b the final norm's

    Experts that learnt to move the mean of the features behind their heads each moved it in a way of their own, and
    their merge bears the mixture, to which no head was fitted.

    Args:
        pool: needs `base` and `calibration`.
        state: the merged weights.
        samples: images of each task.

    Raises:
        MergebenchError: an encoder whose features the final norm's bias does not move alone.
    """
    bias = moving_bias(pool.encoder())
    base, merged = (_means(pool, weights, samples) for weights in (pool.base, state))
    shift = torch.stack([base[t] - merged[t] for t in pool.tasks]).mean(0)
    moved = {**state, bias: (state[bias].double() + shift.cpu()).to(state[bias].dtype)}
    before, after = _distances(base, merged), _distances(base, _means(pool, moved, samples))
    if after[ALL] > LEFT * before[ALL] and after[ALL] > torch.finfo(state[bias].dtype).eps:
        raise MergebenchError(
            f"recentre: {bias} does not move this encoder's features as it should (from {before[ALL]:.3g} of the "
            f"mean's length to {after[ALL]:.3g}); leave it out"
        )
    return Recentred(moved, bias, samples, before, after)


def _means(pool: ModelPool, weights: Mapping[str, Tensor], samples: int) -> dict[str, Tensor]:
    """Task -> the mean feature [width] of its calibration images, float64."""
    encoder, means = pool.encoder(weights), {}
    for task in pool.tasks:
        with torch.no_grad():
            features = [encoder(images).double() for images in pool.calibration(task, samples)]
        if features[0].ndim != 2:
            raise MergebenchError(
                f"recentre: features are {tuple(features[0].shape[1:])}, and not pooled; leave it out"
            )
        means[task] = torch.cat(features).mean(0)
    return means


def _distances(base: dict[str, Tensor], other: dict[str, Tensor]) -> dict[str, float]:
    """How far mean features are from the base's, relative to these: of each task, and of all together."""
    pairs = {task: (base[task], other[task]) for task in base}
    of_base, of_other = (torch.stack(list(means.values())).mean(0) for means in (base, other))
    pairs[ALL] = of_base, of_other
    return {name: ((b - o).norm() / b.norm().clamp(min=1e-12)).item() for name, (b, o) in pairs.items()}
