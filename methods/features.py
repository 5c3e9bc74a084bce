"""One layer calibrated so that its outputs on a student's features come near what experts give on their own."""

from typing import TypeGuard

import torch
from timm.layers.norm import LayerNorm2d
from torch import Tensor, nn
from torch.nn import functional as F

from mergebench.merging.layout import BATCH_NORMS, BatchNorm, input_rows
from mergebench.merging.least_squares import SINGULAR, solve_positive

SMALLEST_NORM = 1e-8  # of a second moment, before it is divided by

# Of some rows with weights w: sum w, and w times whatever is averaged.
Sums = tuple[Tensor, ...]


def is_norm(module: nn.Module) -> TypeGuard[nn.LayerNorm | BatchNorm]:
    """Whether a module scales and shifts each of its inputs' channels after it has normalised them."""
    return isinstance(module, (nn.LayerNorm, *BATCH_NORMS)) and module.weight is not None


def multiplied(module: nn.Module, inputs: Tensor) -> Tensor:
    """What a layer's weight multiplies: its inputs as rows [B, ..., d], normalised if it is a norm."""
    if not is_norm(module):
        return input_rows(module, inputs)
    if isinstance(module, (LayerNorm2d, *BATCH_NORMS)) and inputs.ndim == 4:
        inputs = inputs.permute(0, 2, 3, 1)
    if isinstance(module, nn.LayerNorm):
        return F.layer_norm(inputs, module.normalized_shape, eps=module.eps)
    assert module.running_mean is not None and module.running_var is not None  # what has none, no encoder merges
    return (inputs - module.running_mean) * (module.running_var + module.eps).rsqrt()


def pair_sums(student: Tensor, teacher: Tensor, weights: Tensor) -> Sums:
    """Sums of w, w s, w t, w s s^T and w s t^T over rows s and t, in float64.

    Args:
        student, teacher: features [..., d].
        weights: w, of any shape that broadcasts over the features' leading dimensions.
    """
    root = weights.double().sqrt().expand(student.shape[:-1]).flatten()
    s, t = (root[:, None] * rows.double().flatten(0, -2) for rows in (student, teacher))
    return root @ root, root @ s, root @ t, s.T @ s, s.T @ t


def channel_sums(features: Tensor, weights: Tensor) -> Sums:
    """Sums of w, w z and w z^2 over rows z, channel by channel, in float64; arguments as `pair_sums` has them."""
    rows, weights = features.double().flatten(0, -2), weights.double().expand(features.shape[:-1]).flatten()
    return weights.sum(), weights @ rows, weights @ rows.square()


class LinearCalibration:
    """Weight and bias of a linear layer, or of some of its rows; `featcal` states the problem.

    Solved for the deviation from the anchor, so that a direction that no input takes stays there, ridge or not.

    Args:
        weight, bias: the anchor [out, d] and [out]; None if the layer has no bias.
        ridge: lambda.
        teacher: alpha.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, *, ridge: float, teacher: float) -> None:
        self._weight, self._bias = weight.double(), None if bias is None else bias.double()
        self._ridge, self._teacher = ridge, teacher
        self._left = ridge * torch.eye(weight.shape[1], dtype=torch.float64, device=weight.device)
        self._right = torch.zeros_like(self._weight.T)
        self._outputs = torch.zeros_like(self._weight[:, 0])
        self._inputs = torch.zeros_like(self._weight[0])
        self._total = 0.0

    def add(self, sums: Sums, weight: Tensor, bias: Tensor | None) -> None:
        """Add an expert: the `pair_sums` of its task, its weight [out, d] and its bias [out]."""
        total, *rest = sums
        student, teacher, within, across = (part / total for part in rest)
        share = 1 / torch.linalg.matrix_norm(within).clamp(min=SMALLEST_NORM)
        weight = weight.double()
        self._left += share * within
        self._right += share * (torch.lerp(within, across, self._teacher) @ weight.T - within @ self._weight.T)
        self._outputs += share * weight @ torch.lerp(student, teacher, self._teacher)
        if bias is not None:
            self._outputs += share * bias.double()
        self._inputs += share * student
        self._total += share

    def solve(self) -> tuple[Tensor, Tensor | None, float]:
        """The weight, the bias, and the condition number of the system behind the weight."""
        deviation, condition = solve_positive(self._left, self._right)
        weight = self._weight + deviation.T
        if self._bias is None:
            return weight, None, condition
        bias = self._outputs - weight @ self._inputs + self._ridge * self._bias
        return weight, bias / (self._total + self._ridge), condition


class NormCalibration:
    """Scale and shift of a norm, channel by channel; `featcal` states the problem.

    Args:
        scale, shift: the anchor [d].
        ridge: lambda.
    """

    def __init__(self, scale: Tensor, shift: Tensor, *, ridge: float) -> None:
        self._anchor = torch.stack([scale, shift], -1).double()
        self._left = ridge * torch.eye(2, dtype=torch.float64, device=scale.device).repeat(len(scale), 1, 1)
        self._right = torch.zeros_like(self._anchor)

    def add(self, sums: Sums, scale: Tensor, shift: Tensor | None) -> None:
        """Add an expert: the `channel_sums` of its task's normalised inputs, its scale and its shift [d]."""
        assert shift is not None  # as the anchor has one
        total, *rest = sums
        mean, power = (part / total for part in rest)
        gram = torch.unflatten(torch.stack([power, mean, mean, torch.ones_like(mean)], -1), -1, (2, 2))
        deviation = torch.stack([scale, shift], -1).double() - self._anchor
        self._left += gram
        self._right += (gram @ deviation[..., None])[..., 0]

    def solve(self) -> tuple[Tensor, Tensor, float]:
        """The scale, the shift, and the worst condition number of the channels' systems."""
        inverse = torch.linalg.pinv(self._left, hermitian=True, rtol=1 / SINGULAR)
        scale, shift = (self._anchor + (inverse @ self._right[..., None])[..., 0]).unbind(-1)
        return scale, shift, torch.linalg.cond(self._left).max().item()
