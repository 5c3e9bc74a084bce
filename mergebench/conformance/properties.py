"""What must hold for every merge method, whoever wrote it, checked on random miniature models in seconds."""

import textwrap
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor, nn

from mergebench.catalogue import discovery
from mergebench.conformance.candidate import (
    NONE,
    Candidate,
    Result,
    Settings,
    generator_states,
    generators_kept,
    lengthens,
    set_generators,
    tensors,
)
from mergebench.conformance.miniature import Inputs
from mergebench.errors import MergebenchError, MethodError, in_words
from mergebench.merging.contract import PerTask
from mergebench.merging.method import Needs
from mergebench.tuning.space import make_space

# Of a tensor's largest magnitude: a few dozen roundings of float32.
ROUNDING = 1e-5
COUNTS = (1, 2, 20)
# A weight, a norm and a bias.
FROZEN = ("blocks.0.attn.qkv.weight", "blocks.1.norm2.weight", "blocks.1.mlp.fc1.bias")
EVERYTHING = Needs(**{f.name: True for f in fields(Needs)})


class Broken(Exception):
    """A property does not hold; the message says where."""


class DoesNotApply(Exception):
    """A property says nothing about this method; the message says why."""


Check = Callable[[Candidate], str | None]


@dataclass(frozen=True)
class Property:
    """Something that must hold.

    Args:
        title: what it promises.
        check: raises if it is broken or does not apply; may return a remark.
    """

    title: str
    check: Check


@dataclass(frozen=True)
class Finding:
    """What came out for one property.

    Args:
        title: the property's.
        status: `ok`, `FAIL`, or `-` where it does not apply.
        detail: what went wrong, or why it does not apply; one line.
    """

    title: str
    status: str
    detail: str = ""


PROPERTIES: list[Property] = []


def promises(title: str) -> Callable[[Check], Check]:
    """Adds a check to the properties."""

    def decorate(check: Check) -> Check:
        PROPERTIES.append(Property(title, check))
        return check

    return decorate


def check(candidate: Candidate) -> Iterator[Finding]:
    """Hold one method to every property: a finding for each, as soon as it is known."""
    for promise in PROPERTIES:
        try:
            with candidate.overheard(), generators_kept():
                detail = promise.check(candidate)
            yield Finding(promise.title, "ok", detail or "")
        except DoesNotApply as reason:
            yield Finding(promise.title, "-", str(reason))
        # Whatever a method raises is what is looked for; so is its leaving the process.
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001
            yield Finding(promise.title, "FAIL", _one_line(error, candidate))


def _one_line(error: BaseException, candidate: Candidate) -> str:
    """What went wrong; for a mistake of the method's own, with its type and its place in the method's file."""
    card = candidate.card
    text = in_words(error).removeprefix(f"{type(error).__name__}: ")
    said = textwrap.shorten(text.removeprefix(f"method {card.name!r}: "), 300)
    if isinstance(error, (Broken, MergebenchError)):
        return said
    places = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == card.path]
    return f"{type(error).__name__}: {said}" + (f" (line {places[-1].lineno})" if places else "")


@contextmanager
def _under(candidate: Candidate, condition: str) -> Iterator[None]:
    """Says under which condition it was that something went wrong in the block."""
    try:
        yield
    except (DoesNotApply, KeyboardInterrupt):
        raise
    except BaseException as error:  # noqa: BLE001
        raise Broken(f"{condition}: {_one_line(error, candidate)}") from error


def _as_text(settings: Settings) -> str:
    """A condition in words."""
    return "with " + ", ".join(f"{n}={v}" for n, v in settings.items())


def _hold(found: Mapping[str, Tensor], expected: Mapping[str, Tensor], where: str, tolerance: float = 0.0) -> None:
    """Hold tensors to expected ones.

    Args:
        found: what they are called -> tensor; those that nothing is expected of are left out.
        expected: the same names.
        where: what is expected, as the end of the sentence: "'cls_token'[0] is 1, but 2 ...".
        tolerance: relative to the largest magnitude of the expected tensor.
    """
    gaps = {n: (found[n].double() - e.double()).abs() for n, e in expected.items()}
    wrong = [n for n, g in gaps.items() if not g.max() <= tolerance * max(1e-3, float(expected[n].abs().max()))]
    if wrong:
        name, gap = wrong[0], gaps[wrong[0]]
        place = torch.unravel_index(gap.argmax(), gap.shape)
        index = f"[{', '.join(str(int(i)) for i in place)}]" if place else ""
        values = f"{float(found[name][place]):.9g}, but {float(expected[name][place]):.9g}"
        more = f"; {len(wrong) - 1} more tensors differ" if len(wrong) > 1 else ""
        raise Broken(f"{name}{index} is {values} {where}{more}")


def _hold_alike(candidate: Candidate, inputs: Inputs, usual: Inputs, where: str, settings: Settings = NONE) -> None:
    """Hold the merge of some inputs to that of the usual ones, bit for bit."""
    expected = tensors(candidate.merge(usual, settings))
    try:
        _hold(tensors(candidate.merge(inputs, settings)), expected, where)
    except Broken:
        again = tensors(candidate.merge(usual, settings))
        if not all(torch.equal(again[n], e) for n, e in expected.items()):
            raise DoesNotApply("two runs on the same inputs differ already") from None
        raise


def _of_each(result: Result, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What is expected where every model in a result should hold this state."""
    return tensors(PerTask({t: dict(state) for t in result}) if isinstance(result, PerTask) else dict(state))


@promises("names, order, shapes and dtypes are the base's; all values are finite")
def result_fits(candidate: Candidate) -> None:
    # Names, shapes, dtypes and values are refused by every run already.
    result, expected = candidate.merge(candidate.inputs()), list(candidate.inputs().base.state_dict())
    states = result if isinstance(result, PerTask) else {"the result": result}
    if isinstance(result, PerTask) and set(result) != set(candidate.inputs().experts):
        raise Broken(f"there are states of {', '.join(result)}, but experts of {', '.join(candidate.inputs().experts)}")
    for who, state in states.items():
        for name, there in zip(expected, state, strict=True):
            if name != there:
                raise Broken(
                    f"{who}: {there!r} stands where the base has {name!r}; pool.finish(state) puts it in order"
                )


@promises("inputs are left bit for bit as they were, and share no memory with the result")
def inputs_untouched(candidate: Candidate) -> None:
    inputs = candidate.inputs().copy()
    for module in (inputs.base, *inputs.heads.values()):
        module.train()
    before = inputs.copy()
    result, _ = candidate.run(inputs)
    _hold(_named(inputs), _named(before), "before the merge")
    for who, module in _modules(inputs):
        if not all(part.training for part in module.modules()):
            raise Broken(f"{who} was in training mode, and is not after the merge")
        for name, parameter in module.named_parameters():
            if parameter.grad is not None or not parameter.requires_grad:
                left = "has a gradient" if parameter.grad is not None else "takes no gradients any more"
                raise Broken(f"{who}: {name!r} {left} after the merge")
    memory = {v.untyped_storage().data_ptr(): n for n, v in _named(inputs).items()}
    for name, value in tensors(result).items():
        if value.untyped_storage().data_ptr() in memory:
            raise Broken(f"{name} shares memory with {memory[value.untyped_storage().data_ptr()]}")


def _modules(inputs: Inputs) -> list[tuple[str, nn.Module]]:
    return [("the base", inputs.base), *((f"the head of {t!r}", head) for t, head in inputs.heads.items())]


def _named(inputs: Inputs) -> dict[str, Tensor]:
    """All tensors that a method is given, by what they are called in a message."""
    states = {who: module.state_dict() for who, module in _modules(inputs)}
    states |= {f"expert {t!r}": e for t, e in inputs.experts.items()} | {"the joint model": inputs.joint or {}}
    named = {f"{who}: {n!r}": v for who, state in states.items() for n, v in state.items()}
    for task, batches in inputs.calibration.items():
        for number, (images, labels) in enumerate(batches):
            named[f"calibration batch {number} of {task!r}"] = images
            if labels is not None:
                named[f"labels of calibration batch {number} of {task!r}"] = labels
    for task, unlabelled in inputs.test_inputs.items():
        named |= {f"test batch {number} of {task!r}": images for number, images in enumerate(unlabelled)}
    return named


@promises("same seed, same bits, wherever other generators stand; these are left there")
def seeded(candidate: Candidate) -> None:
    first = candidate.merge(candidate.inputs(), generators=1)
    second = candidate.merge(candidate.inputs(), generators=2)
    left = generator_states()
    set_generators(2)
    moved = [whose for whose, place in generator_states().items() if place != left[whose]]
    _hold(tensors(second), tensors(first), "in another run of the same seed; draw from pool.generator()")
    if moved:
        raise Broken(f"{' and '.join(moved)}'s global generator was moved; draw from pool.generator()")


@promises("the order in which experts are given does not matter")
def order_irrelevant(candidate: Candidate) -> None:
    _hold_alike(candidate, candidate.inputs().turned(), candidate.inputs(), "in the opposite order")


@promises("what the card declares is enough")
def needs_suffice(candidate: Candidate) -> None:
    for settings in candidate.conditions():
        with _under(candidate, f"given {_told(candidate, settings)} alone"):
            candidate.merge(candidate.inputs().only(candidate.needs(settings)), settings)


def _told(candidate: Candidate, settings: Settings) -> str:
    declared = ", ".join(["experts", *candidate.needs(settings).names()])
    return f"{declared} ({_as_text(settings)})" if settings else declared


@promises("what the card does not declare is not read")
def nothing_else_read(candidate: Candidate) -> None:
    usual, other = candidate.inputs(), candidate.inputs(other=True)
    for settings in candidate.conditions():
        declared = candidate.needs(settings)
        others = [n for n in EVERYTHING.names() if n not in declared.names()]
        try:
            _hold_alike(candidate, usual.exchanged(other, declared), usual, f"with other {', '.join(others)}", settings)
        except Broken:
            for need in others:  # which of them is it?
                exchanged = usual.exchanged(other, replace(EVERYTHING, **{need: False}))
                _hold_alike(candidate, exchanged, usual, f"with other {need}, which it does not declare", settings)
            raise


@promises("what the card declares is read")
def needs_read(candidate: Candidate) -> str | None:
    if not any(candidate.needs(settings).names() for settings in candidate.conditions()):
        raise DoesNotApply("it declares no needs")
    (_, usual), *others = ((settings, _unread(candidate, settings)) for settings in candidate.conditions())
    if usual:
        raise Broken(f"declared, but never read: {', '.join(usual)}; the leaderboard would show it")
    # Needs that depend on two hyper-parameters cannot be declared exactly, so this is no failure.
    return "; ".join(f"{_as_text(s)}, not {', '.join(unread)}" for s, unread in others if unread) or None


def _unread(candidate: Candidate, settings: Settings) -> list[str]:
    """Which of the needs declared under these settings a merge makes no use of."""
    _, read = candidate.run(candidate.inputs().copy(), settings)
    return [need for need in candidate.needs(settings).names() if need not in read]


@promises("copies of one expert give that expert")
def idempotent(candidate: Candidate) -> None:
    if not candidate.card.idempotent:
        raise DoesNotApply("the card does not say idempotent=True")
    state = next(iter(candidate.inputs().experts.values()))
    result = candidate.merge(candidate.inputs().alike(state))
    _hold(tensors(result), _of_each(result, state), "in every expert", ROUNDING)


@promises("experts that are all the base give the base")
def nothing_changed(candidate: Candidate) -> None:
    base = candidate.inputs().base.state_dict()
    result = candidate.merge(candidate.inputs().alike(base))
    _hold(tensors(result), _of_each(result, base), "in base and experts", ROUNDING)


@promises("experts and base may be in half, bfloat16 or double precision")
def precisions(candidate: Candidate) -> None:
    with _under(candidate, "experts in float64, the base in float32"):
        candidate.merge(candidate.inputs().with_experts(torch.float64))
    for dtype in (torch.float16, torch.bfloat16, torch.float64):
        with _under(candidate, f"experts, base and images in {str(dtype).removeprefix('torch.')}"):
            candidate.merge(candidate.inputs(dtype=dtype))
    experts = candidate.inputs().with_experts(torch.float16, torch.bfloat16)
    with _under(candidate, "experts in float16 and bfloat16, the base in float32"):
        # Widening is exact, so whoever computes in single precision cannot tell the two apart.
        widened = experts.with_experts(torch.float32)
        _hold_alike(candidate, experts, widened, "from the same values in float32")


@promises("1, 2 and 20 experts are merged")
def any_number(candidate: Candidate) -> str | None:
    exactly = candidate.card.experts
    for count in (exactly,) if exactly else COUNTS:
        with _under(candidate, _experts(count)):
            candidate.merge(candidate.inputs(count))
    for count in COUNTS if exactly else ():
        if count != exactly and not _refuses(candidate, count):
            raise Broken(f"{_experts(count)}: merged, though the card says {exactly}")
    return f"only {exactly}, as the card says" if exactly else None


def _experts(count: int) -> str:
    return f"{count} expert{'s' if count > 1 else ''}"


def _refuses(candidate: Candidate, count: int) -> bool:
    try:
        candidate.merge(candidate.inputs(count))
    except MethodError:
        return True
    return False


@promises("what no expert changed stays the base's")
def frozen_stays(candidate: Candidate) -> None:
    inputs = candidate.inputs()
    base = inputs.base.state_dict()
    for name in FROZEN:
        with _under(candidate, f"{name} frozen"):
            result = candidate.merge(inputs.frozen(name))
            _hold(tensors(result), _of_each(result, {name: base[name]}), "in base and experts", ROUNDING)


@promises("every end of the card's ranges gives a finite result")
def ranges_hold(candidate: Candidate) -> None:
    ranges = candidate.card.ranges
    if not ranges:
        raise DoesNotApply("the card gives no ranges")
    for name, values in ranges.items():
        for value in values:
            with _under(candidate, f"{name}={value}"):
                # The ends of what makes a method long are held to their type alone.
                if lengthens(name):
                    candidate.resolve({name: value})
                else:
                    candidate.merge(candidate.inputs(), {name: value})
    make_space(discovery.load_function(candidate.card), {}, ())  # what `tune` would refuse
