"""The tiny world's encoder: a Vision Transformer on 4x4 tokens behind a small convolutional stem."""

from typing import Any

from timm.models import register_model
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from mergebench.data import images as engine_images

MEAN = (0.45, 0.43, 0.42)  # per channel, of images in [0, 1]
STD = (0.29, 0.28, 0.28)

ENCODER = "mergebench_tiny_vit"  # its name in timm's registry
WIDTH, DEPTH, HEADS, MLP_RATIO = 160, 5, 5, 1.25


class ConvStem(nn.Module):
    """32x32 pixels to 4x4 tokens by three stride-2 convolutions: learns far faster than linear 8x8 patches.

    Takes the arguments timm gives to an `embed_layer`; only `embed_dim` is free. There is no batch norm in it:
    its running statistics could not be merged.
    """

    num_patches = 16

    def __init__(self, img_size: int, patch_size: int, in_chans: int, embed_dim: int, **unused: Any) -> None:
        super().__init__()
        if (img_size, patch_size) != (32, 8):
            raise ValueError(f"the stem turns 32x32 images into 8x8 patches, not {img_size} into {patch_size}")
        self.layers = nn.Sequential(
            nn.Conv2d(in_chans, 24, 3, stride=2, padding=1),
            nn.GELU(),
            nn.Conv2d(24, 48, 3, stride=2, padding=1),
            nn.GELU(),
            nn.Conv2d(48, 80, 3, stride=2, padding=1),
            nn.GELU(),
            nn.Conv2d(80, embed_dim, 1),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Images [B, 3, 32, 32] -> tokens [B, 16, embed_dim]."""
        return self.layers(images).flatten(2).transpose(1, 2)


@register_model
def mergebench_tiny_vit(pretrained: bool = False, **options: Any) -> VisionTransformer:
    """The encoder by its registered name, as open_clip's timm vision tower asks for it."""
    if pretrained:
        raise ValueError("timm has no weights for this model; they are in mergebench/tasks/tiny/weights")
    model = VisionTransformer(
        img_size=32,
        patch_size=8,
        num_classes=options.get("num_classes", 0),
        global_pool=options.get("global_pool", "token"),
        embed_dim=WIDTH,
        depth=DEPTH,
        num_heads=HEADS,
        mlp_ratio=MLP_RATIO,
        embed_layer=ConvStem,
    )
    model.default_cfg = {"input_size": (3, 32, 32), "mean": MEAN, "std": STD}
    return model


def create_encoder() -> VisionTransformer:
    """A freshly initialised encoder without a classifier: images [B, 3, 32, 32] -> features [B, width]."""
    return mergebench_tiny_vit()


def normalise(images: Tensor) -> Tensor:
    """uint8 [B, H, W, 3] -> float32 [B, 3, H, W], as the encoder was trained to see them."""
    return engine_images.normalise(images, MEAN, STD)
