"""What a pickle may name beside tensors: classes that hold values and do nothing, as training loops write them.

timm's `args` are a Namespace, and the best accuracy so far often is one of NumPy's numbers. Whatever else a pickle
names is code, and is not run.
"""

import argparse
import pathlib
from collections.abc import Callable
from types import SimpleNamespace
from typing import cast

import numpy as np

# NumPy's numbers are read by one function, which was elsewhere before NumPy 2. (Other things' `__reduce__` may give a
# text.)
_scalar = cast(Callable[..., object], np.float64(0).__reduce__()[0])

HARMLESS: list[Callable[..., object] | tuple[Callable[..., object], str]] = [
    argparse.Namespace,
    SimpleNamespace,
    pathlib.PosixPath,
    pathlib.PurePosixPath,
    (pathlib.PurePosixPath, "pathlib.WindowsPath"),
    np.dtype,
    (_scalar, "numpy._core.multiarray.scalar"),
    (_scalar, "numpy.core.multiarray.scalar"),
    *(type(np.dtype(kind)) for kind in ("?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8")),
]
