"""The front door for scripts: experts in, one encoder out."""

from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor, nn

from mergebench.catalogue.ready import ready
from mergebench.data.images import ExplicitBatches
from mergebench.merging.contract import PerTask, run_method
from mergebench.merging.pool import ModelPool
from mergebench.weights.states import StateDict, check_state


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
) -> StateDict | PerTask:
    """Merge experts into one encoder.

    Args:
        method: a registered name, or `path/to/file.py:function`.
        base: a timm encoder (num_classes=0) that holds the pre-trained weights; it is not changed.
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
        The merged state dict: the base's names, shapes and dtypes; on the CPU. (Of the reference that is no one model,
        `finetuned`: task -> state.)

    Raises:
        MergebenchError: unknown method or hyper-parameter, experts that do not fit the base, missing inputs, a result
            that breaks the contract.

    Example:
        merged = merge("regmean++", base, {"mnist": a, "svhn": b}, calibration={"mnist": x, "svhn": y}, alpha=0.9)
    """
    function, resolved, needs = ready(method, given)
    base_state = base.state_dict()
    check_state(base_state, base_state, "the base")
    for task, state in experts.items():
        check_state(state, base_state, f"expert {task!r}")
    explicit = {t: ExplicitBatches(b, t) for t, b in (calibration or {}).items()}
    unlabelled = {t: ExplicitBatches(b, t) for t, b in test_inputs.items()} if test_inputs is not None else explicit
    pool = ModelPool(
        function.card.name,
        needs,
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
    return run_method(function, pool, resolved, ready)
