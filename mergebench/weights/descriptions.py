"""Which of timm's encoders a config.json describes, or the shapes of weights."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import timm
from timm.layers import QuickGELU
from torch import Tensor, nn

from mergebench.errors import CheckpointError, MergebenchError
from mergebench.weights.encoders import NORM_EPS, REMEDY, SIZE, Encoder, check_size
from mergebench.weights.states import shape_of
from mergebench.weights.unfilled import unfilled
from mergebench.weights.vision_transformers import as_transformer

# Fields of a Hugging Face configuration that are whole numbers, and what timm calls them.
NUMBERS = {
    "hidden_size": "embed_dim", "num_hidden_layers": "depth", "num_attention_heads": "num_heads",
    "patch_size": "patch_size", "image_size": "img_size",
}  # fmt: skip
# What a Hugging Face configuration may say of these, and only says where it differs from the first.
FIXED = {"num_channels": 3, "qkv_bias": True, "vision_use_head": True}
# timm's names of activations by theirs, and what a model of timm's is made of then.
ACTIVATIONS = {
    "gelu": ("gelu", nn.GELU), "quick_gelu": ("quick_gelu", QuickGELU), "gelu_pytorch_tanh": ("gelu_tanh", None),
    "gelu_new": ("gelu_tanh", None),
}  # fmt: skip


@dataclass(frozen=True)
class Family:
    """One kind of encoder, as transformers describes and timm registers it.

    Args:
        title: as messages say it.
        names: of timm's, a regular expression with `size`, `patch` and perhaps `side` in it.
        sizes: of timm's: width, depth, heads, hidden width.
        defaults: what a configuration leaves out where it is this.
        epsilon: of the norms in timm's.
        side: of images in pixels, where timm's names do not say it.
        gated: the size whose blocks have gates.
    """

    title: str
    names: str
    sizes: Mapping[str, tuple[int, int, int, int]]
    defaults: Mapping[str, Any]
    epsilon: float = 1e-6
    side: int = 0
    gated: str = ""


_SIZES = {"base": (768, 12, 12, 3072), "large": (1024, 24, 16, 4096), "huge": (1280, 32, 16, 5120),
          "giant": (1408, 40, 16, 6144), "gigantic": (1664, 48, 16, 8192)}  # fmt: skip
_SMALL = {"tiny": (192, 12, 3, 768), "small": (384, 12, 6, 1536)}
_LARGER = {"so400m": (1152, 27, 16, 4304), "giantopt": (1536, 40, 16, 6144)}
_BASE = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12,
         "image_size": 224, "patch_size": 16, "hidden_act": "gelu"}  # fmt: skip

CLIP = Family(
    "CLIP", r"vit_(?P<size>[a-z]+)_patch(?P<patch>\d+)_clip_(?P<quick>quickgelu_)?(?P<side>\d+)", _SIZES,
    _BASE | {"patch_size": 32, "hidden_act": "quick_gelu", "layer_norm_eps": 1e-5}, epsilon=1e-5,
)  # fmt: skip
VIT = Family(
    "ViT", r"vit_(?P<size>[a-z]+)_patch(?P<patch>\d+)_(?P<side>\d+)", _SMALL | _SIZES,
    _BASE | {"layer_norm_eps": 1e-12},
)  # fmt: skip
DINOV2 = Family(
    "DINOv2", r"vit_(?P<size>[a-z]+)_patch(?P<patch>\d+)_dinov2", _SMALL | _SIZES | {"giant": (1536, 40, 24, 8192)},
    _BASE | {"patch_size": 14, "mlp_ratio": 4, "layer_norm_eps": 1e-6, "use_swiglu_ffn": False},
    side=518, gated="giant",
)  # fmt: skip
SIGLIP = Family(
    "SigLIP", r"vit_(?P<size>[a-z0-9]+)_patch(?P<patch>\d+)_siglip_(?P<side>\d+)", _SIZES | _LARGER,
    _BASE | {"hidden_act": "gelu_pytorch_tanh", "layer_norm_eps": 1e-6},
)  # fmt: skip
FAMILIES = {
    "clip": CLIP, "clip_vision_model": CLIP, "vit": VIT, "dinov2": DINOV2, "siglip": SIGLIP,
    "siglip_vision_model": SIGLIP,
}  # fmt: skip
HEADS = {width: heads for width, _, heads, _ in _SIZES.values()}


def encoder_of_config(config: Mapping[str, Any], who: str = "config.json") -> Encoder:
    """The timm encoder that a config.json describes.

    Args:
        config: timm's, or Hugging Face's of a CLIP or SigLIP (whole, or its vision model), a ViT or a DINOv2.
        who: what it is, for messages.

    Raises:
        MergebenchError: it is of another model, or describes what timm's vision transformers cannot be.
    """
    if not isinstance(config, Mapping):
        raise MergebenchError(f"{who} describes no model; name the encoder")
    if "architecture" in config:
        return _of_timm(config, who)
    vision, kind = config.get("vision_config", config), config.get("model_type")
    family = FAMILIES.get(kind) if isinstance(kind, str) else None
    if family is None or not isinstance(vision, Mapping):
        titles = ", ".join(dict.fromkeys(family.title for family in FAMILIES.values()))
        raise MergebenchError(f"{who} is of a {kind!r} model, and only those of {titles} can be read")
    defaults = {**family.defaults, **FIXED}
    told = defaults | {name: vision[name] for name in defaults if name in vision}
    only: dict[str, tuple[object, ...]] = {name: (value,) for name, value in FIXED.items()}
    only["hidden_act"] = tuple(ACTIVATIONS)
    if family is CLIP:
        only |= {"layer_norm_eps": (1e-5,), "hidden_act": ("quick_gelu", "gelu")}
    for name, possible in only.items():
        if told[name] not in possible:
            raise MergebenchError(
                f"{who}: {name} is {told[name]!r}; only {' or '.join(map(str, possible))} can be made"
            )
    for name in (*NUMBERS, "intermediate_size"):
        if type(told[name]) is not int or told[name] < 1:
            raise MergebenchError(f"{who}: {name} is {told[name]!r}, not a whole number above zero")
        check_size(name, told[name], who)
    width, heads = told["hidden_size"], told["num_attention_heads"]
    if width % heads:
        raise MergebenchError(f"{who}: hidden_size {width} cannot be divided among {heads} heads")
    epsilon = told["layer_norm_eps"]
    if type(epsilon) is not float or not 0 < epsilon < 1:
        raise MergebenchError(f"{who}: layer_norm_eps is {epsilon!r}, not a number in (0, 1)")
    wanted = {ours: told[theirs] for theirs, ours in NUMBERS.items()}
    wanted["mlp_ratio"] = _ratio(_hidden(told, who), width)
    options = {} if epsilon == family.epsilon else {NORM_EPS: epsilon}
    return _registered(family, wanted, told["hidden_act"], bool(told.get("use_swiglu_ffn")), options)


def _hidden(told: Mapping[str, Any], who: str) -> int:
    """How many rows the first matrix of a block's hidden layer has."""
    if "mlp_ratio" not in told:
        stated: int = told["intermediate_size"]
        return stated
    ratio, width = told["mlp_ratio"], told["hidden_size"]
    if type(ratio) not in (int, float) or not 0 < ratio < 100:
        raise MergebenchError(f"{who}: mlp_ratio is {ratio!r}, not a number above zero")
    hidden = int(width * ratio)
    return 2 * ((hidden * 2 // 3 + 7) // 8 * 8) if told["use_swiglu_ffn"] else hidden


def _of_timm(config: Mapping[str, Any], who: str) -> Encoder:
    """What a config.json of timm's says: whatever else a model's name leaves open stands there too."""
    told = config.get("pretrained_cfg") or {}
    if not isinstance(told, Mapping):
        raise MergebenchError(f"{who} cannot be read as timm's (its pretrained_cfg is no section); name the encoder")
    try:
        scales = (tuple(told["mean"]), tuple(told["std"])) if "mean" in told and "std" in told else None
        name, options = str(config["architecture"]), dict(config.get("model_args") or {})
        usual = timm.get_pretrained_cfg(name, allow_unregistered=True) if timm.is_model(name) else None
        size = tuple(told.get("input_size") or ())[1:]
        if usual and size and not usual.fixed_input_size and size != tuple(usual.input_size[1:]):
            # Of convolutions, through which images of any size go; one that is no square is refused where it is used.
            options.setdefault(SIZE, size[0] if len({*size}) == 1 else size)
        return Encoder(name, options, scales)
    except (TypeError, ValueError):
        raise MergebenchError(f"{who} cannot be read as timm's; name the encoder") from None


def infer_encoder(
    state: Mapping[str, Tensor], hidden_act: str = "quick_gelu", heads: int | None = None, who: str = "it"
) -> Encoder:
    """The CLIP vision transformer that these weights are of, from their names and shapes alone.

    Args:
        state: timm's names; nothing is read.
        hidden_act: "quick_gelu" (OpenAI's models and their fine-tuned ones) or "gelu"; no shape tells.
        heads: of attention; if not given, those of CLIP's model of that width, or one for every 64 of it.
        who: what the state is, for messages.

    Raises:
        CheckpointError: a tensor that CLIP's vision transformers do not have, or lack.
    """
    remedy = f"as in no CLIP vision transformer; {REMEDY}"
    needed = ("pos_embed", "patch_embed.proj.weight", "norm_pre.weight", "blocks.0.mlp.fc1.weight")
    lacking = next((name for name in needed if name not in state), None)
    if lacking is not None:
        raise CheckpointError(f"{who} has no {lacking!r}, {remedy}")
    shapes = {name: shape_of(state, name) for name in state}
    odd = next((name for name, dims in zip(needed, (3, 4, 1, 2), strict=True) if len(shapes[name]) != dims), None)
    if odd is not None:
        raise CheckpointError(f"{who}: {odd!r} is {shapes[odd]}, {remedy}")
    (_, tokens, width), hidden = shapes["pos_embed"], shapes["blocks.0.mlp.fc1.weight"][0]
    grid = math.isqrt(tokens - 1)
    if grid**2 != tokens - 1:
        raise CheckpointError(f"{who}: 'pos_embed' is {shapes['pos_embed']}, {remedy}")
    if heads is None and width % 64:
        raise CheckpointError(f"{who} is {width} wide, {remedy}, or its number of heads")
    patch = shapes["patch_embed.proj.weight"][-1]
    encoder = _registered(
        CLIP,
        {
            "embed_dim": width, "depth": len({n.split(".")[1] for n in state if n.startswith("blocks.")}),
            "num_heads": heads or HEADS.get(width, width // 64), "mlp_ratio": _ratio(hidden, width),
            "patch_size": patch, "img_size": grid * patch,
        },
        hidden_act,
    )  # fmt: skip
    expected = {name: tuple(tensor.shape) for name, tensor in encoder.make().state_dict().items()}
    odd = next((name for name in (*shapes, *expected) if shapes.get(name) != expected.get(name)), None)
    if odd is not None:
        has = f": {odd!r} is {shapes[odd]}" if odd in shapes else f" has no {odd!r}"
        raise CheckpointError(f"{who}{has}, {remedy}")
    return encoder


def _registered(
    family: Family,
    wanted: Mapping[str, Any],
    hidden_act: str,
    gated: bool = False,
    more: Mapping[str, Any] | None = None,
) -> Encoder:
    """The registered encoder of a family that is nearest to what is wanted, with options for what differs.

    Args:
        family: of it.
        wanted: sizes, as timm calls them.
        hidden_act: as Hugging Face calls it.
        gated: whether there are gates in its blocks, and no such activations.
        more: options whatever it is.
    """
    near = []
    for name in timm.list_models("vit_*_patch*"):
        found = re.fullmatch(family.names, name)
        if found is None or found["size"] not in family.sizes or gated != (found["size"] == family.gated):
            continue
        if "quick" in found.groupdict() and bool(found["quick"]) != (hidden_act == "quick_gelu"):
            continue
        width, depth, heads, hidden = family.sizes[found["size"]]
        given = {"embed_dim": width, "depth": depth, "num_heads": heads, "mlp_ratio": _ratio(hidden, width)}
        side = family.side or int(found["side"])
        given |= {"patch_size": int(found["patch"]), "img_size": side}
        near.append(Encoder(name, {option: v for option, v in wanted.items() if v != given[option]}))
    nearest = min(near, key=lambda encoder: len(encoder.options))
    options = {**nearest.options, **(more or {})}
    if family is not CLIP and not gated and not _acts(nearest, hidden_act):
        options["act_layer"] = ACTIVATIONS[hidden_act][0]
    return Encoder(nearest.name, options)


def _acts(encoder: Encoder, hidden_act: str) -> bool:
    """Whether a registered encoder has an activation of itself."""
    with unfilled():
        act = as_transformer(timm.create_model(encoder.name, num_classes=0, depth=1)).blocks[0].mlp.act
    name, kind = ACTIVATIONS[hidden_act]
    return type(act) is kind if kind else type(act).__name__ == "GELUTanh"


def _ratio(hidden: int, width: int) -> float:
    """The ratio that timm multiplies the width by, and rounds down, to have the hidden width."""
    ratio = hidden / width
    return ratio if int(width * ratio) == hidden else (hidden + 0.5) / width
