"""The projection of features into the space of the texts, where it belongs to the encoder and is merged with it."""

from torch import nn


class Projection(nn.Linear):
    """What stands where timm has a classifier, and is none: features behind it are what heads are for.

    Args:
        width: of the features in front of it.
        embed: of those behind it.
    """

    def __init__(self, width: int, embed: int) -> None:
        super().__init__(width, embed, bias=False)


def projection_of(encoder: nn.Module) -> Projection | None:
    """The projection of its own that an encoder's features are behind, if they are."""
    head = getattr(encoder, "head", None)
    return head if isinstance(head, Projection) else None


def has_projection(encoder: nn.Module) -> bool:
    """Whether an encoder's features are behind a projection of its own."""
    return projection_of(encoder) is not None
