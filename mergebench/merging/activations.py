"""How much memory an encoder's activations take, by the shapes of what its modules give."""

from timm.models.vision_transformer import VisionTransformer
from torch import nn

from mergebench.weights.passes import image_size_of, outputs_of

# Numbers that a forward pass holds at once, for each number of a token: queries, keys, values, an MLP's hidden layer.
FORWARD = 12
# What a block keeps for its backward pass, in numbers for each of its input: 19 was measured.
BACKWARD = 20
# The same for each number that a module of another encoder gives: its output, and what is made of it in place.
OF_LARGEST, OF_ALL = 3, 2
SIDE = 224  # of images, where an encoder does not tell


def patches_of(encoder: nn.Module) -> int:
    """How many patches an encoder makes of an image; a B/16's, where it does not tell, as one of somebody's own."""
    return getattr(getattr(encoder, "patch_embed", None), "num_patches", None) or 196


def largest_activation(encoder: nn.Module) -> int:
    """About how many numbers a forward pass of one image holds at once."""
    if isinstance(encoder, VisionTransformer):
        return patches_of(encoder) * encoder.embed_dim * FORWARD
    return OF_LARGEST * max(_outputs(encoder))


def held_activations(encoder: nn.Module) -> int:
    """About how many numbers one image's backward pass needs."""
    if isinstance(encoder, VisionTransformer):
        tokens: int = encoder.patch_embed.num_patches + encoder.num_prefix_tokens
        return tokens * encoder.embed_dim * len(encoder.blocks) * BACKWARD
    return OF_ALL * sum(_outputs(encoder))


def _outputs(encoder: nn.Module) -> list[int]:
    return outputs_of(encoder, image_size_of(encoder, SIDE))
