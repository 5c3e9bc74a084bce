"""What is told of experts that are not what they seem to be."""

import pytest
import torch

from mergebench.errors import CheckpointError
from mergebench.weights.dialects import DIALECTS
from mergebench.weights.states import check_state
from mergebench.weights.translation import TranslatedState
from mergebench.zoo.expert_signs import odd_experts
from mergebench.zoo.heads import LinearHead, check_own_head

BASE = {"w": torch.randn(64, 64, generator=torch.Generator().manual_seed(0)), "b": torch.zeros(3)}


def near(seed, scale=0.02):
    generator = torch.Generator().manual_seed(seed)
    return {n: t + scale * torch.randn(t.shape, generator=generator) for n, t in BASE.items()}


def test_experts_of_which_nothing_is_odd_are_not_spoken_of():
    halved = {n: t.half() for n, t in near(3).items()}
    assert not list(odd_experts(BASE, {"x": near(1), "y": near(2), "z": halved}))


def test_equal_experts_and_the_base_itself_are_told():
    told = list(odd_experts(BASE, {"x": near(1), "y": near(1), "z": dict(BASE)}))
    assert [t.partition(":")[0] for t in told] == [
        "expert 'y' is bit for bit expert 'x'", "expert 'z' is bit for bit the base",
    ]  # fmt: skip


@pytest.mark.parametrize(("scale", "odd"), [(1e-4, True), (1e-3, True), (0.1, False)])
@pytest.mark.parametrize("coarse_base", [True, False])
def test_rounding_that_is_most_of_the_change_is_told_with_both_norms(scale, odd, coarse_base):
    base = {n: t.bfloat16() for n, t in BASE.items()} if coarse_base else BASE
    expert = {n: t.bfloat16() for n, t in near(1, scale).items()}
    told = list(odd_experts(base, {"x": expert}))
    assert len(told) == odd
    if odd and not coarse_base:
        error = sum((expert[n].float() - t).square().sum() for n, t in near(1, scale).items()) ** 0.5
        said = float(told[0].partition("about ")[2].partition(";")[0])
        assert said == pytest.approx(float(error), rel=0.1) and "in bfloat16" in told[0]


def test_what_is_left_exactly_alone_was_not_rounded():
    base = {n: t.bfloat16() for n, t in BASE.items()}
    assert not list(odd_experts(base, {"x": base | {"b": torch.ones(3).bfloat16()}}))


@pytest.mark.parametrize(("dialect", "name"), [("open_clip", "visual.proj"), ("timm", "visual.head.proj.weight")])
@pytest.mark.parametrize("of_base", ["same", "other", "none"])
def test_a_projection_that_is_not_the_base_s_is_told(dialect, name, of_base, mini):
    from mergebench.weights.translation import from_timm

    encoder = dict(mini.encoder().state_dict())
    prefix = {"open_clip": "visual.", "timm": "visual.trunk."}[dialect]
    projection = torch.randn(8, 32)

    def made(shift, tensor):
        state = from_timm({n: t + shift for n, t in encoder.items()}, dialect, prefix=prefix)
        state |= {} if tensor is None else {name: tensor.T.contiguous() if name == "visual.proj" else tensor}
        return TranslatedState(state, DIALECTS[dialect], prefix)

    theirs = {"same": projection, "other": projection + 0.1, "none": None}[of_base]
    told = list(odd_experts(made(0, theirs), {"x": made(0.1, projection)}))
    assert len(told) == (of_base != "same")
    assert all(f"its projection {name!r}" in t and "left aside" in t for t in told)


@pytest.mark.parametrize("dtype", [torch.complex64, torch.float8_e4m3fn, torch.int8])
def test_numbers_that_would_lose_something_are_refused(dtype):
    state = near(1) | {"w": near(1)["w"].to(dtype)}
    with pytest.raises(
        CheckpointError, match=rf"^x: 'w' is {str(dtype)[6:]}, which cannot be merged; save it in float"
    ):
        check_state(state, BASE, "x")


def test_sparse_tensors_are_refused():
    with pytest.raises(CheckpointError, match="'w' is sparse_coo, which cannot be merged"):
        check_state(near(1) | {"w": BASE["w"].to_sparse()}, BASE, "x")


@pytest.mark.parametrize(
    ("own", "expected", "fits"),
    [
        ({"tasks": ["a"]}, {"tasks": ["a"]}, True),
        ({"tasks": ["a"]}, {"tasks": ["a", "b"]}, True),
        ({}, {"tasks": ["a"]}, True),
        ({"tasks": ["b"]}, {"tasks": ["a"]}, False),
        ({"tasks": ["a"], "classes": ["x", "y"]}, {"tasks": ["a"], "classes": ["y", "x"]}, False),
    ],
)
def test_a_head_is_held_to_the_expert_that_it_goes_with(own, expected, fits):
    import json

    head, expert = LinearHead(torch.zeros(2, 4), torch.zeros(2)), LinearHead(torch.zeros(2, 4), torch.zeros(2))
    head.metadata, expert.metadata = ({"recipe": json.dumps(recipe)} for recipe in (own, expected))
    if fits:
        check_own_head(head, expert, "the head", "expert 'a'")
    else:
        with pytest.raises(CheckpointError, match="^the head says that its .*: give each expert the head that was"):
            check_own_head(head, expert, "the head", "expert 'a'")
