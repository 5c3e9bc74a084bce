"""mergebench: the benchmark of vision (CLIP ViT) model merging.

What a method author and a script need is here; it is imported when it is first used, so that `import mergebench` and
the command line's help stay light.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mergebench.library import merge
    from mergebench.merging.contract import PerTask, start_from
    from mergebench.merging.method import Needs, merge_method
    from mergebench.merging.pool import ModelPool
    from mergebench.weights.states import StateDict

_HOMES = {
    "ModelPool": "mergebench.merging.pool",
    "Needs": "mergebench.merging.method",
    "PerTask": "mergebench.merging.contract",
    "StateDict": "mergebench.weights.states",
    "merge": "mergebench.library",
    "merge_method": "mergebench.merging.method",
    "start_from": "mergebench.merging.contract",
}

__all__ = ["ModelPool", "Needs", "PerTask", "StateDict", "merge", "merge_method", "start_from"]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'mergebench' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
