"""Encoders by name: a function of a module's, or one of timm's vision transformers, also found from a description."""

import difflib
import importlib
import math
import mmap
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import ModuleType
from typing import Any

import timm
import torch
from timm.layers import QuickGELU
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from mergebench.errors import CheckpointError, MergebenchError, UnknownNameError
from mergebench.weights.states import check_state, shape_of

# What timm's CLIP vision transformers of a size are: width, depth, heads, hidden width.
SIZES = {
    "base": (768, 12, 12, 3072), "large": (1024, 24, 16, 4096), "huge": (1280, 32, 16, 5120),
    "giant": (1408, 40, 16, 6144), "gigantic": (1664, 48, 16, 8192),
}  # fmt: skip
HEADS = {width: heads for width, _, heads, _ in SIZES.values()}

# A Hugging Face configuration leaves out what is as in the original ViT-B/32.
CONFIG = {
    "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12,
    "image_size": 224, "patch_size": 32, "num_channels": 3, "hidden_act": "quick_gelu", "layer_norm_eps": 1e-5,
}  # fmt: skip

# What timm takes and a model is not made of: weights are read here alone.
FOREIGN = ("checkpoint_path", "cache_dir")
# Files say these numbers, and making a model takes as long, and as much memory, as they say.
LARGEST = 100_000
DEEPEST = 200
HEAVIEST = 2**36  # bytes


@dataclass(frozen=True)
class Encoder:
    """A vision transformer's architecture, without weights.

    Args:
        name: "module:function" of one's own, or a name in timm's registry.
        options: of a name in timm, as `timm.create_model` takes them (`img_size`, `depth`, ...).
        scales: mean and std of its images, where they are not the architecture's own.
        alternative: the name that is as likely, where it is known by its shapes alone: they do not tell activations.
    """

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    scales: tuple[tuple[float, ...], tuple[float, ...]] | None = None
    alternative: str = ""

    def make(self) -> VisionTransformer:
        """The encoder without a classifier. Weights are to be loaded into it: those of timm's are zeros.

        Raises:
            UnknownNameError: timm has no such model.
            MergebenchError: no such function, options that do not fit, or no VisionTransformer.
        """
        encoder = self._own() if self.home else self._timm()
        if not isinstance(encoder, VisionTransformer):
            raise MergebenchError(
                f"encoder {self.name!r} makes a {type(encoder).__name__}; merging needs a timm VisionTransformer"
            )
        return encoder

    def _own(self) -> VisionTransformer:
        if self.options:  # a file of settings must not call any function with any arguments
            raise MergebenchError(f"encoder {self.name!r} takes no options; those are for names in timm")
        return self._called(getattr(*self.home))

    @property
    def home(self) -> tuple[ModuleType, str] | None:
        """The module and the function in it that make it; None where timm does.

        Raises:
            MergebenchError: there is no such function.
        """
        name, colon, function = self.name.partition(":")
        if not colon:
            return None
        try:
            module = importlib.import_module(name)
            getattr(module, function)
            return module, function
        except (ImportError, AttributeError, ValueError) as error:
            raise MergebenchError(f"no encoder at {self.name!r}; write module:function ({error})") from None

    def _timm(self) -> VisionTransformer:
        if not timm.is_model(self.name):
            known = timm.list_models()
            near = difflib.get_close_matches(self.name.lower(), known, n=5, cutoff=0.5)
            raise UnknownNameError("timm model", self.name, near or timm.list_models("vit_*_clip_*"))
        self._check_options()
        with torch.device("meta"):  # no time for random numbers that weights replace
            encoder = self._created()
        if not isinstance(encoder, VisionTransformer):
            return encoder
        weight = sum(tensor.nbytes for tensor in (*encoder.parameters(), *encoder.buffers()))
        if weight > HEAVIEST:
            raise MergebenchError(
                f"encoder {self.name!r} with {dict(self.options)} would be {weight / 1e9:,.0f} GB; at most "
                f"{HEAVIEST / 1e9:,.0f} are made"
            )
        try:
            zeros = {n: _zeros(t) for n, t in encoder.state_dict().items()}
        except OSError as error:  # of the system, which has no such room
            raise MergebenchError(f"encoder {self.name!r} with {dict(self.options)}: {error.strerror}") from None
        encoder.load_state_dict(zeros, assign=True)
        if any(buffer.is_meta for buffer in encoder.buffers()):  # no state dict holds it: its value must be computed
            return self._created()
        return encoder

    def _check_options(self) -> None:
        odd = next((name for name in FOREIGN if name in self.options), None)
        if odd is not None:
            raise MergebenchError(f"encoder {self.name!r}: {odd} is no option of a model; leave it out")
        for name, value in self.options.items():
            check_size(name, value, f"encoder {self.name!r}")

    def _created(self) -> VisionTransformer:
        return self._called(timm.create_model, self.name, pretrained=False, num_classes=0)

    def _called(self, function: Callable[..., VisionTransformer], *names: str, **fixed: Any) -> VisionTransformer:
        try:
            return function(*names, **fixed, **self.options)
        except Exception as error:  # arguments that do not fit end in errors of every kind
            told = (str(error) or type(error).__name__).splitlines()[0]
            raise MergebenchError(f"encoder {self.name!r} cannot be made with {dict(self.options)}: {told}") from None

    @cached_property
    def _made(self) -> VisionTransformer:
        return self.make()

    @cached_property
    def width(self) -> int:
        """Length of a feature."""
        return self._made.num_features

    @cached_property
    def image_size(self) -> int:
        """Height and width in pixels of the images it takes."""
        size = getattr(self._made.patch_embed, "img_size", None) or self._described("input_size")[1:]
        if size[0] != size[1]:
            raise MergebenchError(f"encoder {self.name!r} takes images of {size[0]}x{size[1]}; only squares are made")
        return size[0]

    @property
    def quick_gelu(self) -> bool:
        """Whether its activations are OpenAI's approximation of GELU."""
        return isinstance(self._made.blocks[0].mlp.act, QuickGELU)

    @property
    def mean(self) -> tuple[float, float, float]:
        """Per channel, of images in [0, 1]."""
        return self.scales[0] if self.scales else tuple(self._described("mean"))

    @property
    def std(self) -> tuple[float, float, float]:
        """Per channel, of images in [0, 1]."""
        return self.scales[1] if self.scales else tuple(self._described("std"))

    def _described(self, what: str) -> Any:
        told = getattr(self._made, "pretrained_cfg", None) or getattr(self._made, "default_cfg", None) or {}
        if what not in told:
            raise MergebenchError(f"encoder {self.name!r} does not tell its {what} (in a default_cfg, as timm's do)")
        return told[what]

    @property
    def recipe(self) -> dict[str, Any]:
        """What a checkpoint's header says of it, so that it can be made again, or what it is likely to be."""
        scales = {"mean": list(self.scales[0]), "std": list(self.scales[1])} if self.scales else {}
        known = {"name": None, "likely": [self.name, self.alternative]} if self.alternative else {"name": self.name}
        return {**known, "options": dict(self.options), **scales}


def check_size(name: str, value: Any, who: str) -> None:
    """Refuses, by a MergebenchError, an option (or several numbers in one) that would make a model without end.

    Args:
        name: of the option, as timm or a config.json has it.
        value: of any kind; only numbers are looked at.
        who: says so.
    """
    most = DEEPEST if {"depth", "depths", "layers"} & set(name.split("_")) else LARGEST
    for number in value if isinstance(value, (list, tuple)) else (value,):
        if isinstance(number, (int, float)) and not abs(number) <= most:
            told = number if abs(number) < 1e15 or number != number else "beyond 1e15"
            raise MergebenchError(f"{who}: {name} is {told}; at most {most} can be made")


def check_base(state: Mapping[str, Tensor], encoder: Encoder, who: str) -> None:
    """Hold a base's weights to the encoder that they are to be loaded into; raises as `check_state` does."""
    expected = encoder.make().state_dict()
    check_state(state, expected, who, f"encoder {encoder.name!r}", "name the encoder and options that it is of")


def _zeros(like: Tensor) -> Tensor:
    """Zeros that take no memory before they are written to, which torch's own do."""
    pages = mmap.mmap(-1, max(like.nbytes, 1), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    return torch.frombuffer(pages, dtype=torch.uint8)[: like.nbytes].view(like.dtype).view(like.shape)


def encoder_of_config(config: Mapping[str, Any], who: str = "config.json") -> Encoder:
    """The timm encoder that a config.json describes.

    Args:
        config: timm's, or Hugging Face's of a CLIP model or of its vision model.
        who: what it is, for messages.

    Raises:
        MergebenchError: it is of another model, or describes what timm's CLIP vision transformers cannot be.
    """
    if not isinstance(config, Mapping):
        raise MergebenchError(f"{who} describes no model; name the encoder")
    if "architecture" in config:
        return _of_timm(config, who)
    vision = config.get("vision_config", config)
    if config.get("model_type") not in ("clip", "clip_vision_model") or not isinstance(vision, Mapping):
        raise MergebenchError(f"{who} is of a {config.get('model_type')!r} model, not of a CLIP vision model")
    told = CONFIG | {name: vision[name] for name in CONFIG if name in vision}
    for name, only in (("num_channels", (3,)), ("layer_norm_eps", (1e-5,)), ("hidden_act", ("quick_gelu", "gelu"))):
        if told[name] not in only:
            raise MergebenchError(f"{who}: {name} is {told[name]!r}; only {' or '.join(map(str, only))} can be made")
    for name, value in told.items():
        if isinstance(CONFIG[name], int) and (type(value) is not int or value < 1):
            raise MergebenchError(f"{who}: {name} is {value!r}, not a whole number above zero")
        check_size(name, value, who)
    width, heads = told["hidden_size"], told["num_attention_heads"]
    if width % heads:
        raise MergebenchError(f"{who}: hidden_size {width} cannot be divided among {heads} heads")
    return _registered(
        {
            "embed_dim": width, "depth": told["num_hidden_layers"], "num_heads": heads,
            "mlp_ratio": _ratio(told["intermediate_size"], width),
            "patch_size": told["patch_size"], "img_size": told["image_size"],
        },
        told["hidden_act"],
    )  # fmt: skip


def _of_timm(config: Mapping[str, Any], who: str) -> Encoder:
    """What a config.json of timm's says: whatever else a model's name leaves open stands there too."""
    told = config.get("pretrained_cfg") or {}
    try:
        scales = (tuple(told["mean"]), tuple(told["std"])) if "mean" in told and "std" in told else None
        return Encoder(str(config["architecture"]), dict(config.get("model_args") or {}), scales)
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
    remedy = "as in no CLIP vision transformer; name its timm model"
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


def _registered(wanted: Mapping[str, Any], hidden_act: str) -> Encoder:
    """The registered CLIP encoder nearest to what is wanted, with options for what differs."""
    near = []
    for name in timm.list_models("vit_*_patch*_clip_*"):
        found = re.fullmatch(r"vit_([a-z]+)_patch(\d+)_clip_(quickgelu_)?(\d+)", name)
        if found and found[1] in SIZES and bool(found[3]) == (hidden_act == "quick_gelu"):
            width, depth, heads, hidden = SIZES[found[1]]
            given = {"embed_dim": width, "depth": depth, "num_heads": heads, "mlp_ratio": _ratio(hidden, width)}
            given |= {"patch_size": int(found[2]), "img_size": int(found[4])}
            near.append(Encoder(name, {option: v for option, v in wanted.items() if v != given[option]}))
    return min(near, key=lambda encoder: len(encoder.options))


def _ratio(hidden: int, width: int) -> float:
    """The ratio that timm multiplies the width by, and rounds down, to have the hidden width."""
    ratio = hidden / width
    return ratio if int(width * ratio) == hidden else (hidden + 0.5) / width
