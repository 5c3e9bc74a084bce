"""Every method on a device beside the CPU: the CPU's weights, and no traffic with the host that grows with its work.

The device is pretended (`fake_device`): what is held here are the places of tensors and what the host is handed, in
counts. Times, and what a GPU's kernels round otherwise, are not.
"""

import inspect
import typing
from collections import Counter
from dataclasses import replace
from functools import cache

import pytest
import torch
from fake_device import fake_device

from mergebench.catalogue import registry
from mergebench.catalogue.ready import ready
from mergebench.conformance.candidate import SHORT, Candidate, tensors
from mergebench.data.images import ExplicitBatches
from mergebench.merging.contract import PerTask, run_method
from mergebench.merging.pool import ModelPool
from mergebench.precisions import Precision

pytestmark = pytest.mark.long

CARDS = registry.methods()
# Of a tensor's largest magnitude: attention takes other kernels on a device, and solutions pass their roundings on.
ROUNDING = 1e-5

# Where the host waits for the device again and again, and why that is left so.
WAITING = {
    ("fisher", "methods/squares.py"): "per batch, layer and class, which rows have a gradient: data, for all it knows",
    ("adarank", "methods/components.py"): "per step and matrix, which components are in: six times the product if all",
}
# Whose large tensors are float64 on the device, and why.
DECOMPOSED = "decompositions, in which the blocking by threads would show (design)"
SOLVED = "normal equations, whose condition is the inputs' squared"
DOUBLE = {
    **dict.fromkeys(
        (
            "adarank",
            "aswudi",
            "cart",
            "core_space",
            "dc_merge",
            "doge_am",
            "doge_ta",
            "dop",
            "iso_c",
            "iso_cts",
            "knots",
            "opcm",
            "subspace_boosting",
            "svc",
            "swudi",
            "tsv_m",
        ),
        DECOMPOSED,
    ),
    **dict.fromkeys(("ace_merging", "actmat", "esm", "featcal", "lot_merging", "regmean", "regmean++"), SOLVED),
    **dict.fromkeys(
        ("karcher", "nuslerp", "slerp"),
        "the angle between tensors that are nearly parallel, of which float32 leaves little",
    ),
}
SMALL = 64  # entries: numbers by task, class or channel


class Counted(ExplicitBatches):
    """Batches that count how many of them were asked for."""

    asked = 0

    def once(self, samples, batch_size):
        for batch in super().once(samples, batch_size):
            self.asked += 1
            yield batch


def merged(candidate, inputs, device, settings):
    """The method's tensors, and how many batches it asked for."""
    resolved = candidate.resolve(settings)
    images, fresh = (
        {task: Counted(batches, task) for task, batches in given.items()}
        for given in (inputs.calibration, inputs.test_inputs)
    )
    pool = ModelPool(
        candidate.card.name,
        registry.needs_of(candidate.card, resolved),
        inputs.base,
        inputs.base.state_dict(),
        inputs.experts,
        calibration=images,
        test_inputs=fresh,
        heads=inputs.heads,
        joint=inputs.joint,
        device=device,
    )
    result = run_method(candidate._function, pool, resolved, ready)
    if isinstance(result, PerTask):  # read when it is asked for
        result = PerTask({task: dict(state) for task, state in result.items()})
    return tensors(result), sum(source.asked for source in (*images.values(), *fresh.values()))


def longer(candidate, inputs, settings):
    """Twice the batches of images, and twice the steps of whatever is done in steps."""
    twice = {kind: {t: 2 * b for t, b in getattr(inputs, kind).items()} for kind in ("calibration", "test_inputs")}
    steps = {
        name: 2 * value
        for name, value in candidate.resolve(settings).items()
        if name.rpartition("_")[2] in SHORT.keys() - {"samples"} and isinstance(value, int)
    }
    return replace(inputs, **twice), {**settings, **steps}


def cases():
    """Every method with its defaults, and with every other choice that a hyper-parameter gives, but for a precision.

    A pretended device has no kernels of its own that a lower precision could choose.
    """
    for name, card in CARDS.items():
        function = Candidate(card)._function
        hints = typing.get_type_hints(function)
        yield name, ()
        for hyper, parameter in inspect.signature(function).parameters.items():
            hint = hints[hyper]
            choices = typing.get_args(hint) if typing.get_origin(hint) is typing.Literal and hint != Precision else ()
            yield from ((name, ((hyper, choice),)) for choice in choices if choice != parameter.default)


CASES = list(cases())


@cache
def on_device(name, choice, work=1):
    """A method's run on a device of its own: what was seen there, its tensors, how many batches it asked for.

    Args:
        name: the method.
        choice: of hyper-parameters, as pairs.
        work: 2 for twice the batches and steps.
    """
    candidate, settings = Candidate(CARDS[name]), dict(choice)
    inputs = candidate.inputs()
    if work == 2:
        inputs, settings = longer(candidate, inputs, settings)
    with fake_device() as device:
        return device, *merged(candidate, inputs, device.device, settings)


def grown(name, choice) -> Counter:
    """What the host was handed more often with twice the work."""
    return on_device(name, choice, 2)[0].crossings - on_device(name, choice)[0].crossings


@pytest.mark.parametrize(("name", "choice"), CASES, ids=["-".join([n, *(str(v) for _, v in c)]) for n, c in CASES])
def test_on_a_device_a_method_gives_the_cpus_weights(name, choice):
    candidate = Candidate(CARDS[name])
    expected, _ = merged(candidate, candidate.inputs(), "cpu", dict(choice))
    device, found, _ = on_device(name, choice)
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        assert found[key].dtype == value.dtype and type(found[key]) is torch.Tensor
        worst = (found[key].double() - value.double()).abs().max()
        assert worst <= ROUNDING * value.abs().max().clamp(min=1), key
    large = {place: size for place, size in device.doubles.items() if size > SMALL}
    assert name in DOUBLE or large == {}


@pytest.mark.parametrize(("name", "choice"), CASES, ids=["-".join([n, *(str(v) for _, v in c)]) for n, c in CASES])
def test_the_host_is_handed_no_more_for_more_batches_and_steps(name, choice):
    needs = CARDS[name].needs
    if not (needs.calibration or needs.test_inputs or needs.labels or "steps" in str(CARDS[name].hyperparameters)):
        return
    allowed = {file for method, file in WAITING if method == name}
    assert {c: n for c, n in grown(name, choice).items() if c.file not in allowed} == {}
    (few, _, asked), (many, _, asked_more) = (on_device(name, choice, work) for work in (1, 2))
    # The images themselves, and their labels, once a batch.
    each = 2 if needs.labels else 1
    assert sum(many.uploads.values()) - sum(few.uploads.values()) == each * (asked_more - asked)


@pytest.mark.parametrize("name", DOUBLE)
def test_the_table_of_float64_names_no_method_that_has_none(name):
    assert max(on_device(name, ())[0].doubles.values()) > SMALL


@pytest.mark.parametrize(("name", "file"), WAITING)
def test_the_table_of_waits_names_no_method_that_does_not_wait(name, file):
    assert {c.file for c in grown(name, ())} == {file}
