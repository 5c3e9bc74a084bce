"""Running a merge method under its contract."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from mergebench.errors import CheckpointError, MethodError, NeedsError
from mergebench.merging.allocation import keep_freed_memory
from mergebench.merging.method import MergeMethod
from mergebench.merging.pool import Find, ModelPool
from mergebench.merging.surroundings import kept_as_they_are
from mergebench.seeds import seeded
from mergebench.weights.states import StateDict, check_state


class PerTask(dict[str, Mapping[str, Tensor]]):
    """What a reference that is not one model returns: task -> its own weights."""


def run_method(function: MergeMethod, pool: ModelPool, resolved: Mapping[str, Any], find: Find) -> StateDict | PerTask:
    """Call a method and hold its result to the contract.

    Args:
        function: the merge method.
        pool: its inputs.
        resolved: all its hyper-parameters.
        find: how the method that it starts from is found, where its card says that it starts from one.

    Returns:
        The merged state (or, from a `ceiling` reference, one per task), with the base's names, shapes and dtypes.

    Raises:
        MethodError: the result breaks the contract; the message names the tensor.
    """
    name = function.card.name
    starts = function.card.starts
    pool.find = find if starts else None
    pool.start = (resolved[starts], resolved.get(f"{starts}_settings") or {}) if starts else None
    if lack := function.card.lacks(len(pool.tasks), pool.layout.in_sequence):
        raise MethodError(lack)
    keep_freed_memory()
    # Methods that draw from torch's global generator are reproducible too, and leave the caller's as it was.
    with kept_as_they_are(), seeded(pool.generator().initial_seed(), pool.device):
        result: StateDict | PerTask = function(pool, **resolved)
    states: Mapping[str, Mapping[str, Tensor]] = result if isinstance(result, PerTask) else {"": result}
    if isinstance(result, PerTask) and function.card.role != "ceiling":
        raise MethodError(f"method {name!r} returned one model per task; only role='ceiling' may")
    reference = {n: torch.empty(s, dtype=pool.layout.dtypes[n], device="meta") for n, s in pool.layout.shapes.items()}
    for task, state in states.items():
        who = f"method {name!r}: the result" + (f" for task {task!r}" if task else "")
        if not isinstance(state, Mapping):
            raise MethodError(f"{who} is a {type(state).__name__}, not a state dict")
        try:
            check_state(state, reference, who, hint="a result has the base's names and shapes")
        except CheckpointError as error:
            raise MethodError(str(error)) from None
        for key, dtype in pool.layout.dtypes.items():
            if state[key].dtype != dtype:
                raise MethodError(f"{who}: {key!r} is {state[key].dtype}, but {dtype} in the base")
    if not isinstance(result, PerTask) and function.card.role == "method":
        result = _outside_averaged(result, pool)
    return result


def start_from(pool: ModelPool, method: str, settings: Mapping[str, Any] | None = None) -> StateDict:
    """Another method's result on the same inputs, for a method whose card declares `starts`.

    Args:
        pool: the inputs.
        method: a registered name, or `path/to/file.py:function`.
        settings: its hyper-parameters; the others have their defaults.

    Returns:
        Its merged state; what it reported stands under `start` in the pool's report.

    Raises:
        MergebenchError: no such method, settings that do not fit, or needs that the card does not cover.
    """
    # Else that method's code would be no part of this one's source, nor its needs of this one's.
    if pool.find is None or pool.start is None:
        raise NeedsError(f"starting from {method!r} must be declared: add starts=, a hyper-parameter, to the card")
    function, resolved, needs = pool.find(method, settings or {})
    if function.card.role == "ceiling":
        raise MethodError(f"{method!r} is one model per task: nothing can start from it")
    lent = pool.lent_to(function.card.name, needs)
    if (method, dict(settings or {})) != pool.start:  # whose code would be no part of this one's source
        name, given = pool.start
        raise NeedsError(
            f"start_from({method!r}, {dict(settings or {})}): the hyper-parameters say {name!r}, {given}; hand in those"
        )
    state = run_method(function, lent, resolved, pool.find)
    assert not isinstance(state, PerTask)  # which a ceiling alone may give
    pool.report(start=lent.diagnostics)
    return state


def _outside_averaged(state: StateDict, pool: ModelPool) -> StateDict:
    """The state with the experts' average outside the pool's region, and for what is measured and not trained."""
    if all(map(pool.inside, state)):
        return state
    return {n: tensor if pool.inside(n) else pool.unmerged(n) for n, tensor in state.items()}
