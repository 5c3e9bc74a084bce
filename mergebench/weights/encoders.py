"""Encoders by name: a function of a module's, or one of timm's."""

import difflib
import importlib
import mmap
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import ModuleType
from typing import Any

import timm
import torch
from timm.layers import QuickGELU
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from mergebench.errors import MergebenchError, UnknownNameError
from mergebench.weights.projection import Projection, projection_of
from mergebench.weights.states import check_state
from mergebench.weights.unfilled import unfilled

REMEDY = (
    "name the encoder and options that it is of (--encoder NAME --encoder-options img_size=...; in a zoo's file "
    "encoder:, options:)"
)
# What timm takes and a model is not made of: weights are read here alone.
FOREIGN = ("checkpoint_path", "cache_dir")
# An option that timm does not have: what its layers' norms add to variances.
NORM_EPS = "norm_eps"
# Another: how long its features are behind a projection that belongs to it.
LENGTH = "projection"
# A third, of timm's where an encoder depends on it: height and width of images.
SIZE = "img_size"
# Files say these numbers, and making a model takes as long, and as much memory, as they say.
LARGEST = 100_000
DEEPEST = 200
HEAVIEST = 2**36  # bytes


@dataclass(frozen=True)
class Encoder:
    """An architecture, without weights.

    Args:
        name: "module:function" of one's own, or a name in timm's registry.
        options: of a name in timm, as `timm.create_model` takes them (`img_size`, `depth`, ...); `norm_eps`, where
            the layers' norms have another epsilon than that model's; and `projection`, the length of its features
            behind a projection that is a part of it.
        scales: mean and std of its images, where they are not the architecture's own.
        alternative: the name that is as likely, where it is known by its shapes alone: they do not tell activations.
    """

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    scales: tuple[tuple[float, ...], tuple[float, ...]] | None = None
    alternative: str = ""

    def make(self) -> nn.Module:
        """The encoder without a classifier. Weights are to be loaded into it: those of timm's are zeros.

        Raises:
            UnknownNameError: timm has no such model.
            MergebenchError: no such function, options that do not fit, or no encoder.
        """
        home = self.home
        encoder = self._own(*home) if home else self._timm()
        check_is_encoder(encoder, f"encoder {self.name!r}")
        return encoder

    def _own(self, module: ModuleType, function: str) -> nn.Module:
        if self.options:  # a file of settings must not call any function with any arguments
            raise MergebenchError(f"encoder {self.name!r} takes no options; those are for names in timm")
        return self._called(getattr(module, function), options={})

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

    def _timm(self) -> nn.Module:
        if not timm.is_model(self.name):
            known = timm.list_models()
            near = difflib.get_close_matches(self.name.lower(), known, n=5, cutoff=0.5)
            raise UnknownNameError("timm model", self.name, near or timm.list_models("vit_*_clip_*"))
        self._check_options()
        with unfilled():  # no time for random numbers that weights replace
            encoder = self._created()
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

    def _created(self) -> nn.Module:
        options = dict(self.options)
        epsilon, length = options.pop(NORM_EPS, None), options.pop(LENGTH, None)
        fixed = {"pretrained": False, "num_classes": 0}
        try:
            encoder = self._called(timm.create_model, self.name, options=options, **fixed)
        except MergebenchError as error:
            if SIZE not in options or SIZE not in str(error.__cause__):
                raise
            side = options.pop(SIZE)  # a network of convolutions takes images of any size
            encoder = self._called(timm.create_model, self.name, options=options, **fixed)
            made: Any = encoder  # torch takes all that a module has for tensors and modules
            made.pretrained_cfg = {**made.pretrained_cfg, "input_size": (3, side, side)}
        if epsilon is not None:
            if type(epsilon) is not float or not 0 < epsilon < 1:
                raise MergebenchError(
                    f"encoder {self.name!r}: {NORM_EPS} is {epsilon!r}, not a number in (0, 1): 1.0e-6"
                )
            for module in encoder.modules():
                if isinstance(module, nn.LayerNorm):
                    module.eps = epsilon
        if length is not None:
            if type(length) is not int or length < 1:
                raise MergebenchError(f"encoder {self.name!r}: {LENGTH} is {length!r}, not a length: 512")
            if not isinstance(encoder, VisionTransformer):
                raise MergebenchError(f"encoder {self.name!r}: {LENGTH} is for vision transformers; leave it out")
            encoder.head = Projection(encoder.num_features, length)
        return encoder

    def _called(
        self, function: Callable[..., nn.Module], *names: str, options: Mapping[str, Any], **fixed: Any
    ) -> nn.Module:
        try:
            return function(*names, **fixed, **options)
        except Exception as error:  # arguments that do not fit end in errors of every kind
            told = (str(error) or type(error).__name__).splitlines()[0]
            raise MergebenchError(f"encoder {self.name!r} cannot be made with {dict(self.options)}: {told}") from error

    @cached_property
    def _made(self) -> nn.Module:
        return self.make()

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of its tensors."""
        return tuple(self._made.state_dict())

    @cached_property
    def width(self) -> int:
        """Length of a feature, behind the projection where that is the encoder's."""
        projection = projection_of(self._made)
        if projection is not None:
            return projection.out_features
        made: Any = self._made  # as above
        width: int = getattr(made, "head_hidden_size", None) or made.num_features
        return width

    @property
    def arguments(self) -> dict[str, Any]:
        """The options that `timm.create_model` takes: not the size of images, where all sizes go through."""
        sized = hasattr(getattr(self._made, "patch_embed", None), "img_size")
        return {name: value for name, value in self.options.items() if name != SIZE or sized}

    @property
    def projection(self) -> int | None:
        """How long features are behind the projection that belongs to it; None where none does."""
        return self.options.get(LENGTH)

    def projected(self, length: int | None) -> "Encoder":
        """The same with a projection of its own to so many numbers; with none, if None."""
        options = {name: value for name, value in self.options.items() if name != LENGTH}
        return replace(self, options=options | ({} if length is None else {LENGTH: length}))

    @cached_property
    def image_size(self) -> int:
        """Height and width in pixels of the images it takes."""
        patches = getattr(self._made, "patch_embed", None)
        told = getattr(patches, "img_size", None) or self.options.get(SIZE) or self._described("input_size")[1:]
        size: tuple[int, ...] = (told, told) if isinstance(told, int) else tuple(told)
        if size[0] != size[1]:
            raise MergebenchError(f"encoder {self.name!r} takes images of {size[0]}x{size[1]}; only squares are made")
        return size[0]

    @property
    def quick_gelu(self) -> bool:
        """Whether its activations are OpenAI's approximation of GELU."""
        return any(isinstance(module, QuickGELU) for module in self._made.modules())

    @property
    def mean(self) -> tuple[float, ...]:
        """Per channel, of images in [0, 1]."""
        return self.scales[0] if self.scales else tuple(self._described("mean"))

    @property
    def std(self) -> tuple[float, ...]:
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


def check_is_encoder(encoder: nn.Module, who: str) -> None:
    """Refuses, by a MergebenchError, a model that is no encoder as timm makes them.

    Args:
        encoder: only its structure is looked at.
        who: says so.
    """
    if not (hasattr(encoder, "get_classifier") and hasattr(encoder, "num_features")):
        raise MergebenchError(
            f"{who} is a {type(encoder).__name__}; merging needs a timm encoder (timm.create_model(..., num_classes=0))"
        )
    if any(hasattr(module, "attention_bias_cache") for module in encoder.modules()):
        raise MergebenchError(
            f"{who} is a {type(encoder).__name__}, which keeps attention biases from pass to pass: other weights that "
            "are put into it would be run with them; no such encoder is merged"
        )


def check_base(state: Mapping[str, Tensor], encoder: Encoder, who: str) -> None:
    """Hold a base's weights to the encoder that they are to be loaded into; raises as `check_state` does."""
    expected = encoder.make().state_dict()
    check_state(state, expected, who, f"encoder {encoder.name!r}", f"{REMEDY}, and another size by --image-size")


def structure(encoder: Encoder) -> list[Any]:
    """All that is plain in an encoder's modules (sizes, numbers of heads, kinds of activations), to be compared."""
    made, plain = encoder.make(), (bool, int, float, str, tuple, type(None))
    modules = [
        (name, type(module), {n: v for n, v in vars(module).items() if isinstance(v, plain)})
        for name, module in made.named_modules()
    ]
    return [modules, {name: tensor.shape for name, tensor in made.state_dict().items()}]


def _zeros(like: Tensor) -> Tensor:
    """Zeros that take no memory before they are written to, which torch's own do."""
    pages = mmap.mmap(-1, max(like.nbytes, 1), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    return torch.frombuffer(pages, dtype=torch.uint8)[: like.nbytes].view(like.dtype).view(like.shape)
