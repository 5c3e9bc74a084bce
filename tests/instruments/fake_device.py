"""A second device where there is none: tensors in the CPU's memory that behave towards the CPU's own as a GPU's do.

What only a GPU would show, shows here: tensors of both in one operation are refused, and every time that the host is
handed a number, or has to wait for a shape, is noted with the place in the code that asked. How long anything takes
does not show, nor what a GPU's kernels round otherwise.
"""

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._mode_utils import no_dispatch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map, tree_map_only
from torch.utils.backend_registration import _DummyBackendModule, _setup_privateuseone_for_python_backend

NAME = "pretended"
ROOT = Path(__file__).parents[2]
aten = torch.ops.aten

# Operations whose result the host is handed, or whose result's shape it has to wait for.
WAITED_FOR = {
    aten._local_scalar_dense.default: "number",
    aten.equal.default: "number",
    aten.is_nonzero.default: "number",
    aten.nonzero.default: "shape",
    aten.masked_select.default: "shape",
    aten._unique2.default: "shape",
    aten.bincount.default: "shape",
    aten.repeat_interleave.Tensor: "shape",
}
# These take indices that lie on the CPU.
INDEXED = {aten.index.Tensor, aten.index_put.default, aten.index_put_.default, aten._index_put_impl_.default}
# Of a CPU's numbers [] these make rows, as no kernel of a GPU's does.
JOINED = {aten.cat.default, aten.stack.default, aten.cat.out}


class Crossing(NamedTuple):
    """Something that goes between the host and the device.

    Args:
        kind: "number" and "copy" (to the host), "shape" (which the host waits for), or "upload".
        file: from where it was asked, below the project's folder.
        function: in that file.
        line: there.
    """

    kind: str
    file: str
    function: str
    line: int


class DeviceTensor(Tensor):
    """A tensor on the device.

    Args:
        held: the values, on the CPU.
    """

    held: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, held: Tensor) -> "DeviceTensor":
        made = Tensor._make_wrapper_subclass(
            cls,
            held.shape,
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            layout=held.layout,
            device=torch.device(NAME, 0),
        )
        made.held = held
        return made

    @classmethod
    def __torch_dispatch__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise RuntimeError(f"{function} on a device that is not there any more, or not in this thread")

    def __repr__(self, *, tensor_contents: Any = None) -> str:
        return f"DeviceTensor({self.held!r})"

    def numpy(self, *, force: bool = False) -> Any:
        """Refused, as of a GPU's tensor."""
        raise TypeError(f"can't convert {self.device} device type tensor to numpy. Use Tensor.cpu() first")

    def tolist(self) -> Any:
        """As of any tensor, by way of the host."""
        return self.cpu().tolist()

    def __array__(self, dtype: Any = None) -> Any:
        return self.numpy()


class FakeDevice(TorchDispatchMode):
    """The device, while it is there: `device` is its name, the rest what was seen of it."""

    def __init__(self) -> None:
        super().__init__()
        self.device = torch.device(NAME, 0)
        self.crossings: Counter[Crossing] = Counter()
        self.uploads: Counter[Crossing] = Counter()
        # Where float64 tensors are made -> the most entries that one of them had.
        self.doubles: dict[tuple[str, str], int] = {}

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        tensors = [t for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)]
        own = {id(t.held): t for t in tensors if isinstance(t, DeviceTensor)}
        others = [t for t in tensors if not isinstance(t, DeviceTensor)]
        asked = kwargs.get("device")
        here = bool(own) if asked is None else torch.device(asked).type == NAME
        if not own and not here:
            return function(*args, **kwargs)
        with self:  # where no gradient may be asked for, what is made of other operations comes whole
            made = function.decompose(*args, **kwargs)
        if made is not NotImplemented:
            return made
        if asked is not None:
            kwargs["device"] = torch.device("cpu")
        if function in (aten.copy_.default, aten._to_copy.default):
            here = isinstance(args[0], DeviceTensor) if function is aten.copy_.default else here
            if own and not here:
                self._note(self.crossings, "copy")
            elif others:
                self._note(self.uploads, "upload")
        else:
            self._check(function, args, kwargs, others)
        if function in WAITED_FOR:
            self._note(self.crossings, WAITED_FOR[function])
        elif function in INDEXED and any(i is not None and i.dtype is torch.bool for i in args[1]):
            self._note(self.crossings, "shape")
        held_args, held_kwargs = tree_map_only(DeviceTensor, lambda t: t.held, (args, kwargs))
        result = function(*held_args, **held_kwargs)
        if torch.Tag.inplace_view in function.tags:  # the wrapper has a shape of its own, which changes too
            with no_dispatch():
                function(*args, **kwargs)
        plain = {id(t) for t in others}

        def wrapped(value: Any) -> Any:
            if not isinstance(value, Tensor) or id(value) in plain:
                return value
            if id(value) in own:  # changed in place
                if own[id(value)].shape != value.shape:
                    raise NotImplementedError(f"{function} gives what it writes to another shape")
                return own[id(value)]
            if not here:
                return value
            # A view of a tensor that gradients may be asked for is one of these too.
            inferred = torch.is_inference_mode_enabled() and not (function.is_view and not args[0].is_inference())
            with torch.inference_mode(inferred):
                return self._made(value)

        return tree_map(wrapped, result)

    def _check(self, function: Any, args: Any, kwargs: dict[str, Any], others: list[Tensor]) -> None:
        """Refuses what a GPU would refuse: tensors of the CPU's beside the device's, single numbers but read."""
        if function in INDEXED:
            refused = not isinstance(args[0], DeviceTensor)
            others = [t for t in (*args[2:],) if isinstance(t, Tensor) and not isinstance(t, DeviceTensor)]
        else:
            refused = function in JOINED and bool(others)
        written = [
            value
            for argument, value in zip(function._schema.arguments, args, strict=False)
            if argument.alias_info is not None and argument.alias_info.is_write
        ]
        written += [value for name, value in kwargs.items() if name.startswith("out")]
        refused |= any(id(t) in {id(w) for w in tree_leaves(written)} for t in others)
        if refused or any(t.ndim for t in others):
            raise RuntimeError(f"{function}: tensors of two devices, {self.device} and cpu, in {_place()}")
        generator = kwargs.get("generator")
        if generator is not None and generator.device.type != NAME:
            raise RuntimeError(f"{function}: expected a generator of {self.device}, but found one of the CPU's")

    def _made(self, held: Tensor) -> DeviceTensor:
        if held.dtype is torch.float64:
            file, function, _ = _place()
            self.doubles[file, function] = max(held.numel(), self.doubles.get((file, function), 0))
        return DeviceTensor(held)

    def _note(self, counted: Counter, kind: str) -> None:
        counted[Crossing(kind, *_place())] += 1


def _place() -> tuple[str, str, int]:
    """The innermost of the project's own lines that are being run: file, function, line."""
    frame = sys._getframe(1)
    while frame is not None:
        file = _own(frame.f_code.co_filename)
        if file:
            return file, frame.f_code.co_name, frame.f_lineno
        frame = frame.f_back
    return "", "", 0


@cache
def _own(file: str) -> str:
    """A file of the project's, tests apart, from the project's folder on; "" of any other."""
    path = Path(file)
    if not path.is_relative_to(ROOT) or path.suffix != ".py":
        return ""
    inner = path.relative_to(ROOT)
    return str(inner) if inner.parts[0] in ("mergebench", "methods", "tasks") else ""


class _Constants(TorchFunctionMode):
    """Tensors made of a program's own numbers, which torch makes where no mode sees it."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if function is Tensor.new_tensor:
            like, *args = args
            kwargs = {"dtype": like.dtype, "device": like.device} | kwargs
        elif function not in (torch.tensor, torch.as_tensor):
            return function(*args, **kwargs)
        device = kwargs.pop("device", None)
        if isinstance(args[0], Tensor):  # itself, or a copy
            return args[0].to(device or args[0].device, copy=function is not torch.as_tensor, **kwargs)
        made = torch.tensor(*args, **kwargs)
        return made if device is None else made.to(device)


class _Module(_DummyBackendModule):
    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16]


@cache
def _registered() -> None:
    """Torch knows the device's name; it cannot forget it again."""
    _setup_privateuseone_for_python_backend(NAME, backend_module=_Module())


@contextmanager
def fake_device() -> Iterator[FakeDevice]:
    """A device that is there while the block lasts, in this thread."""
    _registered()
    overwritten = torch.__future__.get_overwrite_module_params_on_conversion()
    torch.__future__.set_overwrite_module_params_on_conversion(True)  # a module's own tensors become the device's
    try:
        # The device would have a thread of its own for gradients, where it is not there.
        with torch.autograd.set_multithreading_enabled(False), FakeDevice() as device, _Constants():
            yield device
    finally:
        torch.__future__.set_overwrite_module_params_on_conversion(overwritten)
