"""mergebench: the benchmark of vision (CLIP ViT) model merging.

What a method author and a script need is here; it is imported when it is first used, so that `import mergebench` and
the command line's help stay light.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mergebench.merging import PerTask, merge, start_from
    from mergebench.method import Needs, merge_method
    from mergebench.pool import ModelPool
    from mergebench.states import StateDict

_HOMES = {
    "ModelPool": "mergebench.pool",
    "Needs": "mergebench.method",
    "PerTask": "mergebench.merging",
    "StateDict": "mergebench.states",
    "merge": "mergebench.merging",
    "merge_method": "mergebench.method",
    "start_from": "mergebench.merging",
}

__all__ = ["ModelPool", "Needs", "PerTask", "StateDict", "merge", "merge_method", "start_from"]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'mergebench' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
