"""The zero-shot classifier of a task: frozen, never merged."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mergebench.errors import MergebenchError


class ZeroShotHead(nn.Module):
    """Cosine classifier on projected features, as CLIP scores an image against class prompts.

    Args:
        projection: visual projection [embed, width] (no bias), as `nn.Linear` holds it.
        text_features: one unit-norm text embedding per class [classes, embed].
        logit_scale: the multiplier of the cosines (already exponentiated), a scalar.
    """

    def __init__(self, projection: Tensor, text_features: Tensor, logit_scale: Tensor) -> None:
        super().__init__()
        self.register_buffer("projection", projection.float())
        self.register_buffer("text_features", text_features.float())
        self.register_buffer("logit_scale", logit_scale.float())

    def forward(self, features: Tensor) -> Tensor:
        """Features [B, width] -> logits [B, classes]."""
        embedded = nn.functional.normalize(features @ self.projection.to(features.dtype).T, dim=-1)
        return self.logit_scale.to(features.dtype) * embedded @ self.text_features.to(features.dtype).T


def joint_head(heads: Sequence[ZeroShotHead]) -> ZeroShotHead:
    """One classifier over the classes of several tasks.

    Raises:
        MergebenchError: heads of different projections or scales, whose scores cannot stand beside each other.
    """
    first = heads[0]
    for head in heads[1:]:
        same = torch.equal(head.projection, first.projection) and torch.equal(head.logit_scale, first.logit_scale)
        if not same:
            raise MergebenchError("heads of different projections or logit scales cannot be joined into one classifier")
    return ZeroShotHead(first.projection, torch.cat([h.text_features for h in heads]), first.logit_scale).eval()


def average_prompts(prompt_features: Sequence[Tensor]) -> Tensor:
    """Class embeddings from prompt embeddings, as CLIP does: normalise, average over templates, normalise.

    Args:
        prompt_features: per class, the text tower's output for every template [templates, embed].

    Returns:
        Unit rows [classes, embed].
    """
    means = [nn.functional.normalize(p, dim=-1).mean(0) for p in prompt_features]
    return nn.functional.normalize(torch.stack(means), dim=-1)
