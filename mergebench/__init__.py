"""mergebench: the benchmark of vision (CLIP ViT) model merging.

What a script needs, and whoever adds a method, a task or a corruption, is here; it is imported when it is first used,
so that `import mergebench` and the command line's help stay light.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mergebench.data.corruption import Corruption
    from mergebench.data.task import Task, TaskCard
    from mergebench.library import merge
    from mergebench.merging.contract import PerTask, start_from
    from mergebench.merging.method import Needs, merge_method
    from mergebench.merging.pool import ModelPool
    from mergebench.weights.states import StateDict

_HOMES = {
    "Corruption": "mergebench.data.corruption",
    "ModelPool": "mergebench.merging.pool",
    "Needs": "mergebench.merging.method",
    "PerTask": "mergebench.merging.contract",
    "StateDict": "mergebench.weights.states",
    "Task": "mergebench.data.task",
    "TaskCard": "mergebench.data.task",
    "merge": "mergebench.library",
    "merge_method": "mergebench.merging.method",
    "start_from": "mergebench.merging.contract",
}

__all__ = [
    "Corruption",
    "ModelPool",
    "Needs",
    "PerTask",
    "StateDict",
    "Task",
    "TaskCard",
    "merge",
    "merge_method",
    "start_from",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'mergebench' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
