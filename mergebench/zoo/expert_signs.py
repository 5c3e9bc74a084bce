"""Signs in experts' weights that something is not as it looks: told before anything is merged, never an error."""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from mergebench.weights.states import digest
from mergebench.weights.translation import TranslatedState

# Bits of the significand, and the exponent of the smallest step, of formats whose rounding may hide what was learnt.
COARSE = {torch.bfloat16: (8, -133), torch.float16: (11, -24)}


def odd_experts(base: Mapping[str, Tensor], experts: Mapping[str, Mapping[str, Tensor]]) -> Iterator[str]:
    """A sentence for every sign that experts are not what they seem to be.

    Args:
        base: the pre-trained weights, timm's names, checked.
        experts: name -> weights, timm's names, checked.
    """
    seen: dict[str, str] = {digest(base): "the base"}
    for name, expert in experts.items():
        known = seen.setdefault(digest(expert), f"expert {name!r}")
        if known != f"expert {name!r}":
            yield f"expert {name!r} is bit for bit {known}: is it the right file?"
        elif told := _rounded_away(base, expert):
            yield f"expert {name!r}: {told}"
        if lost := _left_out(base, expert):
            yield f"expert {name!r}: {lost}"


def _rounded_away(base: Mapping[str, Tensor], expert: Mapping[str, Tensor]) -> str:
    """What to say of an expert whose number format is too coarse for its change; empty if it is fine.

    Rounding to steps of h puts an error of h^2 / 12 into a value's square, on average.
    """
    change = rounding = 0.0
    kinds: set[str] = set()
    for name in expert:
        tensor = expert[name]
        if tensor.dtype not in COARSE:
            continue
        difference = (tensor.double() - base[name].double()).square().sum().item()
        if difference:  # what was left alone was not rounded by a training
            bits, least = COARSE[tensor.dtype]
            steps = torch.exp2((torch.frexp(tensor.float()).exponent - bits).clamp_min(least).double())
            change, rounding = change + difference, rounding + steps.square().sum().item() / 12
            kinds.add(str(tensor.dtype).removeprefix("torch."))
    if rounding <= change / 4:
        return ""
    return (
        f"in {' and '.join(sorted(kinds))} its change from the base has the norm {change**0.5:.2g}, of which rounding "
        f"alone makes about {rounding**0.5:.2g}; give it in float32"
    )


def _left_out(base: Mapping[str, Tensor], expert: Mapping[str, Tensor]) -> str:
    """What to say of other parts of an expert's model that are not the base's; empty if there is nothing to say."""
    if not isinstance(expert, TranslatedState):
        return ""
    own, theirs = projection(expert), projection(base) if isinstance(base, TranslatedState) else None
    if own is not None and (theirs is None or not _same(own[1], theirs[1])):
        whose = "which the base does not have" if theirs is None else "which is not the base's"
        return (
            f"its projection {own[0]!r}, {whose}, is left aside: only the encoder is merged and measured, "
            "which is not the whole model that was published"
        )
    if not isinstance(base, TranslatedState):
        return ""
    both = [n for n in expert.others if n in base.others]
    other = next((n for n in both if not _same(expert.source[n], base.source[n])), None)
    return f"its {other!r} is not the base's, and is left aside: only the encoder is merged" if other else ""


def projection(state: TranslatedState) -> tuple[str, Tensor] | None:
    """The projection of features [embed, width] beside an encoder, with its name there; None if there is none."""
    rule = state.dialect.projection(state.prefix)
    if rule is None or rule.theirs[0] not in state.others:
        return None
    tensor = state.source[rule.theirs[0]]
    return rule.theirs[0], tensor.T if rule.transposed else tensor


def _same(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors hold the same, the coarser format's rounding aside."""
    if one.shape != other.shape:
        return False
    coarse = max(torch.finfo(t.dtype).eps if t.is_floating_point() else 0 for t in (one, other))
    return torch.allclose(one.double(), other.double(), rtol=2 * coarse, atol=1e-7)
