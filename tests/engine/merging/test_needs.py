"""Needs are enforced: what was not declared cannot be read, and what was declared must be given."""

import pytest
import torch

from mergebench import ModelPool, Needs, StateDict, merge_method
from mergebench.errors import NeedsError

EVERYTHING = {"base", "calibration", "labels", "test_inputs", "heads"}


def method(needs, body):
    """A method that runs `body` on the pool, then returns the average."""

    @merge_method("peeker", title="Peeker", needs=needs)
    def peeker(pool: ModelPool) -> StateDict:
        body(pool)
        return pool.map_experts(lambda experts: experts.mean(0))

    return peeker


def given(mini):
    images = mini.calibration()
    labelled = {t: [(b, torch.zeros(len(b), dtype=torch.long)) for b in batches] for t, batches in images.items()}
    return {"calibration": labelled, "test_inputs": images, "heads": mini.heads()}


READS = {
    "base": [
        lambda pool: pool.base["cls_token"],
        lambda pool: pool.map_tensors(lambda base, experts: base),
    ],
    "calibration": [
        lambda pool: next(pool.calibration("cars", 4)),
        lambda pool: next(pool.stream("calibration", "cars", 4)),
        lambda pool: next(pool.labelled_calibration("cars", 4)),
    ],
    "labels": [lambda pool: next(pool.labelled_calibration("cars", 4))],
    "test_inputs": [lambda pool: next(pool.stream("test_inputs", "cars", 4))],
    "heads": [lambda pool: pool.heads["cars"]],
}
CASES = [(need, i) for need, bodies in READS.items() for i in range(len(bodies))]


@pytest.mark.parametrize(("need", "index"), CASES)
def test_reading_what_was_not_declared_fails_and_says_what_to_declare(mini, need, index):
    base = mini.encoder()
    peeker = method(Needs(**{n: n != need for n in EVERYTHING}), READS[need][index])
    with pytest.raises(NeedsError) as caught:
        mini.run(peeker, base, mini.experts(base), **given(mini))
    message = str(caught.value)
    assert "'peeker'" in message
    assert f"reads {need}," in message
    assert f"needs=Needs({need}=True)" in message
    assert "@merge_method" in message


@pytest.mark.parametrize(("need", "index"), CASES)
def test_reading_what_was_declared_works(mini, need, index):
    base = mini.encoder()
    reader = method(Needs(**dict.fromkeys(EVERYTHING, True)), READS[need][index])
    mini.run(reader, base, mini.experts(base), **given(mini))


@pytest.mark.parametrize("need", ["calibration", "test_inputs", "heads"])
def test_what_is_declared_must_be_given_for_every_task(mini, need):
    base = mini.encoder()
    peeker = method(Needs(**{need: True}), lambda pool: None)
    inputs = given(mini)
    missing = {k: v for k, v in inputs.items() if k != need}
    with pytest.raises(NeedsError, match=rf"'peeker' needs {need}: give {need}= for task birds, cars, digits"):
        mini.run(peeker, base, mini.experts(base), **missing)
    partial = dict(inputs, **{need: {t: v for t, v in inputs[need].items() if t != "cars"}})
    with pytest.raises(NeedsError, match=rf"'peeker' needs {need}: give {need}= for task cars$"):
        mini.run(peeker, base, mini.experts(base), **partial)


def test_declared_labels_must_come_with_the_images(mini):
    base = mini.encoder()
    peeker = method(Needs(calibration=True, labels=True), lambda pool: list(pool.labelled_calibration("cars", 4)))
    with pytest.raises(NeedsError, match=r"'peeker' needs labels: give task 'cars' \(images, labels\) pairs"):
        mini.run(peeker, base, mini.experts(base), calibration=mini.calibration())


def test_labels_are_not_handed_out_with_unlabelled_images(mini):
    base, seen = mini.encoder(), []
    peeker = method(Needs(calibration=True), lambda pool: seen.extend(pool.calibration("cars", 4)))
    mini.run(peeker, base, mini.experts(base), **given(mini))
    assert [type(s) for s in seen] == [torch.Tensor]


def test_an_encoder_made_without_weights_tells_nothing_of_the_base(mini):
    base, seen = mini.encoder(), []
    peeker = method(Needs(), lambda pool: seen.append(pool.encoder()))
    mini.run(peeker, base, mini.experts(base))
    for name, value in seen[0].state_dict().items():
        assert torch.isnan(value).all(), name


@pytest.mark.parametrize(
    ("needs", "family"),
    [
        (Needs(), "data-free"),
        (Needs(base=True, heads=True), "data-free"),
        (Needs(calibration=True), "calibration"),
        (Needs(labels=True, calibration=True), "calibration"),
        (Needs(test_inputs=True), "test-time"),
        (Needs(test_inputs=True, calibration=True), "test-time"),
    ],
)
def test_the_family_follows_from_the_needs(needs, family):
    assert needs.family == family


def test_needs_can_depend_on_a_hyper_parameter(mini):
    @merge_method(
        "either",
        title="Either",
        needs=Needs(heads=True),
        needs_when={("start", "base"): Needs(base=True)},
    )
    def either(pool: ModelPool, *, start: str = "heads") -> StateDict:
        state = pool.map_experts(lambda experts: experts.mean(0))
        return pool.finish(pool.base) if start == "base" else (pool.heads and state)

    base = mini.encoder()
    experts = mini.experts(base)
    merged, _ = mini.run(either, base, experts, start="base")
    assert torch.equal(merged["cls_token"], base.state_dict()["cls_token"])
    with pytest.raises(NeedsError, match="needs heads"):
        mini.run(either, base, experts)


@pytest.mark.parametrize("declared", ["positional", "untyped", "without default"])
def test_hyper_parameters_must_be_keyword_only_typed_and_defaulted(declared):
    def positional(pool, scaling: float = 1.0): ...

    def untyped(pool, *, scaling=1.0): ...

    def without_default(pool, *, scaling: float): ...

    function = {"positional": positional, "untyped": untyped, "without default": without_default}[declared]
    with pytest.raises(Exception, match=r"method 'm': 'scaling' must be a keyword-only argument with a type and a"):
        merge_method("m", title="M")(function)


def test_a_role_that_does_not_exist_is_refused():
    with pytest.raises(Exception, match=r"role='roof' is not one of method, floor, ceiling"):
        merge_method("m", title="M", role="roof")(lambda pool: None)
