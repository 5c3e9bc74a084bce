"""Modules without values: nothing is spent on filling what holds none."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

# What initialisations do to a tensor in place, `torch.nn.init`'s own and torch's.
FILLING = frozenset((
    "uniform_", "normal_", "trunc_normal_", "constant_", "kaiming_uniform_", "kaiming_normal_", "erfinv_", "clamp_",
    "mul_", "add_", "sub_", "div_", "fill_", "zero_",
))  # fmt: skip


@contextmanager
def unfilled() -> Iterator[None]:
    """In the block, modules are made on the device "meta", and what would fill a tensor there is left out.

    That changes nothing: such a tensor has a shape, and no values. Working it out for the normal numbers, cut off at
    both ends, that vision transformers begin with is five sixths of their making.
    """
    with torch.device("meta"), _Unfilled():
        yield


class _Unfilled(TorchFunctionMode):
    """Gives a tensor without values back, as it is, to whoever would fill it."""

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        given = kwargs or {}
        if getattr(function, "__name__", "") in FILLING:
            filled = args[0] if args else given.get("tensor")
            if isinstance(filled, Tensor) and filled.is_meta:
                return filled
        return function(*args, **given)
