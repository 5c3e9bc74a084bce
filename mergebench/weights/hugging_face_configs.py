"""What a config.json of Hugging Face's says of an encoder: read back, it describes the very same."""

from typing import Any

from timm.layers import GELUTanh, QuickGELU
from torch import nn

from mergebench.errors import MergebenchError
from mergebench.weights.descriptions import encoder_of_config
from mergebench.weights.dialects import DINOV2, DINOV2_GATED, HUGGING_FACE, SIGLIP, VIT
from mergebench.weights.encoders import Encoder, structure
from mergebench.weights.rules import Dialect
from mergebench.weights.vision_transformers import Transformer, as_transformer

# Model type and class of each dialect's encoder alone.
KINDS = {
    HUGGING_FACE: ("clip_vision_model", "CLIPVisionModel"), VIT: ("vit", "ViTModel"),
    DINOV2: ("dinov2", "Dinov2Model"), DINOV2_GATED: ("dinov2", "Dinov2Model"),
    SIGLIP: ("siglip_vision_model", "SiglipVisionModel"),
}  # fmt: skip
LARGEST_RATIO = 16  # of hidden width to width


def vision_config(encoder: Encoder, dialect: Dialect) -> dict[str, Any]:
    """The configuration of an encoder by itself.

    Args:
        encoder: what the weights are of.
        dialect: whose names they get, one of `KINDS`.

    Raises:
        MergebenchError: an encoder that such a configuration cannot say.
    """
    made, (kind, architecture) = as_transformer(encoder.make()), KINDS[dialect]
    block = made.blocks[0]
    config = {
        "architectures": [architecture], "model_type": kind, "hidden_size": made.embed_dim,
        "num_hidden_layers": len(made.blocks), "num_attention_heads": block.attn.num_heads,
        "image_size": encoder.image_size, "patch_size": made.patch_embed.patch_size[0], "num_channels": 3,
        "hidden_act": activation(encoder, block.mlp.act), "layer_norm_eps": made.norm.eps,
    }  # fmt: skip
    hidden = block.mlp.fc1.out_features
    if kind == "dinov2":
        gated = dialect is DINOV2_GATED
        ratios = ({"mlp_ratio": ratio, "use_swiglu_ffn": gated} for ratio in range(1, LARGEST_RATIO))
        possible = [config | ratio | {"use_mask_token": False} for ratio in ratios]
    else:
        possible = [config | {"intermediate_size": hidden}]
    for candidate in possible:
        if _says(candidate, encoder, made, hidden):
            return candidate
    raise MergebenchError(
        f"--format hf: no config.json of a {dialect.title} says what encoder {encoder.name!r} with "
        f"{dict(encoder.options)} is; write it with --format timm"
    )


def activation(encoder: Encoder, made: nn.Module) -> str:
    """What Hugging Face calls an activation.

    Raises:
        MergebenchError: it has no name for it.
    """
    if isinstance(made, QuickGELU):
        return "quick_gelu"
    if isinstance(made, GELUTanh):
        return "gelu_pytorch_tanh"
    if isinstance(made, nn.GELU | nn.SiLU):  # the latter of gates, where the configuration says nothing of it
        return "gelu"
    raise MergebenchError(
        f"encoder {encoder.name!r} has activations {type(made).__name__}, which no configuration knows; write it with "
        "--format timm"
    )


def _says(config: dict[str, Any], encoder: Encoder, made: Transformer, hidden: int) -> bool:
    try:
        told = encoder_of_config(config)
    except MergebenchError:
        return False
    ratio = told.options.get("mlp_ratio")
    if ratio is not None and int(made.embed_dim * ratio) != hidden:  # seen without making one
        return False
    return structure(told) == structure(encoder)
