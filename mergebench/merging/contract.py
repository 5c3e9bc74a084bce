"""Running a merge method under its contract; `merge` is the library's front door."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from mergebench import discovery, hyperparameters, registry
from mergebench.errors import CheckpointError, MethodError, NeedsError
from mergebench.images import ExplicitBatches
from mergebench.pool import ModelPool
from mergebench.seeds import seeded
from mergebench.states import StateDict, check_state


class PerTask(dict[str, StateDict]):
    """What a reference that is not one model returns: task -> its own weights."""


def run_method(function: Callable, pool: ModelPool, resolved: Mapping[str, Any]) -> StateDict | PerTask:
    """Call a method and hold its result to the contract.

    Args:
        function: the merge method.
        pool: its inputs.
        resolved: all its hyper-parameters.

    Returns:
        The merged state (or, from a `ceiling` reference, one per task), with the base's names, shapes and dtypes.

    Raises:
        MethodError: the result breaks the contract; the message names the tensor.
    """
    name = function.card.name
    pool.starts = bool(function.card.starts)
    if function.card.lacks(len(pool.tasks)):
        raise MethodError(function.card.lacks(len(pool.tasks)))
    # Methods that draw from torch's global generator are reproducible too, and leave the caller's as it was.
    with seeded(pool.generator().initial_seed(), pool.device):
        result = function(pool, **resolved)
    states = result if isinstance(result, PerTask) else {"": result}
    if isinstance(result, PerTask) and function.card.role != "ceiling":
        raise MethodError(f"method {name!r} returned one model per task; only role='ceiling' may")
    reference = {n: torch.empty(s, device="meta") for n, s in pool.layout.shapes.items()}
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
    if not pool.starts:  # else that method's code would be no part of this one's source, nor its needs of this one's
        raise NeedsError(f"starting from {method!r} must be declared: add starts=, a hyper-parameter, to the card")
    card = registry.method(method)
    if card.role == "ceiling":
        raise MethodError(f"{method!r} is one model per task: nothing can start from it")
    function = discovery.load_function(card)
    resolved = hyperparameters.resolve(function, settings or {})
    lent = pool.lent_to(card.name, registry.needs_of(card, resolved))
    state = run_method(function, lent, resolved)
    pool.report(start=lent.diagnostics)
    return state


def _outside_averaged(state: StateDict, pool: ModelPool) -> StateDict:
    """The state with the experts' average outside the pool's region."""
    if all(map(pool.inside, state)):
        return state
    average = pool.map_experts(lambda experts: experts.mean(0))
    return {n: tensor if pool.inside(n) else average[n] for n, tensor in state.items()}


def merge(
    method: str,
    base: nn.Module,
    experts: Mapping[str, Mapping[str, Tensor]],
    *,
    calibration: Mapping[str, Iterable[Tensor | tuple[Tensor, Tensor]]] | None = None,
    heads: Mapping[str, nn.Module] | None = None,
    test_inputs: Mapping[str, Iterable[Tensor]] | None = None,
    joint: Mapping[str, Tensor] | None = None,
    seed: int = 0,
    device: str = "cpu",
    **given: Any,
) -> StateDict:
    """Merge experts into one encoder.

    Args:
        method: a registered name, or `path/to/file.py:function`.
        base: a timm VisionTransformer (num_classes=0) that holds the pre-trained weights; it is not changed.
        experts: task -> state dict with the base's names and shapes; not changed.
        calibration: task -> normalised image batches [B, 3, H, W], or (images, labels [B]) pairs where a method needs
            labels. Every batch is used, in the order given; a method's `samples` and `batch_size` do not apply.
        heads: task -> classifier, features [B, width] -> logits [B, classes], where the method needs it.
        test_inputs: task -> unlabelled batches for test-time methods; the calibration batches if not given.
        joint: weights of one model trained on all tasks, for the reference that shows it.
        seed: of everything random: same seed, same bits.
        device: where to compute.
        **given: the method's hyper-parameters.

    Returns:
        The merged state dict: the base's names, shapes and dtypes; on the CPU.

    Raises:
        MergebenchError: unknown method or hyper-parameter, experts that do not fit the base, missing inputs, a result
            that breaks the contract.

    Example:
        merged = merge("regmean++", base, {"mnist": a, "svhn": b}, calibration={"mnist": x, "svhn": y}, alpha=0.9)
    """
    card = registry.method(method)
    function = discovery.load_function(card)
    resolved = hyperparameters.resolve(function, given)
    base_state = base.state_dict()
    check_state(base_state, base_state, "the base")
    for task, state in experts.items():
        check_state(state, base_state, f"expert {task!r}")
    explicit = {t: ExplicitBatches(b, t) for t, b in (calibration or {}).items()}
    unlabelled = {t: ExplicitBatches(b, t) for t, b in test_inputs.items()} if test_inputs is not None else explicit
    pool = ModelPool(
        card.name,
        registry.needs_of(card, resolved),
        base,
        base_state,
        experts,
        calibration=explicit,
        test_inputs=unlabelled,
        heads=heads,
        joint=joint,
        seed=seed,
        device=device,
    )
    return run_method(function, pool, resolved)
