"""The zero-shot classifier of a task: frozen, never merged."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


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


def average_prompts(prompt_features: Sequence[Tensor]) -> Tensor:
    """Class embeddings from prompt embeddings, as CLIP does: normalise, average over templates, normalise.

    Args:
        prompt_features: per class, the text tower's output for every template [templates, embed].

    Returns:
        Unit rows [classes, embed].
    """
    means = [nn.functional.normalize(p, dim=-1).mean(0) for p in prompt_features]
    return nn.functional.normalize(torch.stack(means), dim=-1)
