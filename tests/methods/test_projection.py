"""A projection that belongs to the encoder is merged by every method, as one more matrix behind the final norm."""

import copy
from functools import cache

import pytest
import torch
from torch import Tensor, nn

import mergebench
from mergebench.catalogue import registry
from mergebench.conformance.candidate import SHORT
from mergebench.conformance.miniature import EMBED, WIDTH, Inputs, make_inputs
from mergebench.weights.projection import Projection
from mergebench.weights.rules import PROJECTION
from mergebench.zoo.heads import ZeroShotHead

METHODS = [name for name, card in registry.methods().items() if card.role == "method"]
PAIR = {name for name, card in registry.methods().items() if card.experts == 2}


@cache
def projected(experts: int = 3) -> Inputs:
    """The miniature, whose encoder ends in a projection that each expert moved."""
    inputs = make_inputs(0, experts).copy()
    draw = torch.Generator().manual_seed(1)
    inputs.base.head = Projection(WIDTH, EMBED)
    inputs.base.head.weight.data = torch.randn(EMBED, WIDTH, generator=draw) / WIDTH**0.5
    own = inputs.base.state_dict()[PROJECTION]
    for state in (*inputs.experts.values(), inputs.joint):
        state[PROJECTION] = own + 0.05 * torch.randn(EMBED, WIDTH, generator=draw)
    inputs.heads = {t: ZeroShotHead(None, h.text_features, h.logit_scale).eval() for t, h in inputs.heads.items()}
    return inputs


def merged(name: str, inputs: Inputs, **given: object) -> Tensor:
    """The projection that a method gives."""
    card = registry.methods()[name]
    short = {n: v for n, v in SHORT.items() if n in card.hyperparameters}
    given = {**short, **given}
    labelled = inputs.calibration if card.needs.labels else None
    images = labelled or {t: [b for b, _ in batches] for t, batches in inputs.calibration.items()}
    parts = {"calibration": images, "heads": inputs.heads, "test_inputs": inputs.test_inputs, "joint": inputs.joint}
    return mergebench.merge(name, inputs.base, inputs.experts, **parts, **given)[PROJECTION]


@pytest.mark.parametrize("name", METHODS)
def test_every_method_merges_it(name):
    inputs = projected(2 if name in PAIR else 3)
    base, found = inputs.base.state_dict()[PROJECTION], merged(name, inputs)
    change = torch.stack([e[PROJECTION] for e in inputs.experts.values()]).mean(0) - base
    # Not the base's, and moved to where the experts' mean lies.
    assert not torch.allclose(found, base, atol=1e-6)
    assert ((found - base) * change).sum() > 0


@pytest.mark.parametrize("name", [n for n in METHODS if registry.methods()[n].idempotent])
def test_copies_of_one_expert_give_its_own(name):
    inputs = projected(2 if name in PAIR else 3)
    own = next(iter(inputs.experts.values()))
    torch.testing.assert_close(merged(name, inputs.alike(own)), own[PROJECTION], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["iso_c", "tsv_m"])
def test_spectral_methods_treat_it_as_a_matrix(name):
    """As the same matrix at another place gives it: both have the shape [EMBED, WIDTH] in turn."""
    inputs = projected()
    elsewhere = inputs.copy()
    twin, states = "blocks.0.attn.proj.weight", [elsewhere.base.state_dict(), *elsewhere.experts.values()]
    square = [torch.cat([s[PROJECTION], s[PROJECTION].flip(0)]) for s in states]
    for state, matrix in zip(states, square, strict=True):
        state[twin].copy_(matrix)
    twice = mergebench.merge(name, elsewhere.base, elsewhere.experts)[twin]
    elsewhere.base.head = Projection(WIDTH, WIDTH)
    elsewhere.base.head.weight.data = square[0]
    for state, matrix in zip(elsewhere.experts.values(), square[1:], strict=True):
        state[PROJECTION] = matrix
    torch.testing.assert_close(mergebench.merge(name, elsewhere.base, elsewhere.experts)[PROJECTION], twice)


def features(encoder: nn.Module, state: dict[str, Tensor], images: list[Tensor]) -> Tensor:
    """What the projection is fed with [N, WIDTH], float64."""
    encoder = copy.deepcopy(encoder).double()
    encoder.load_state_dict(state)
    encoder.head = nn.Identity()
    with torch.no_grad():
        return torch.cat([encoder(batch.double()) for batch in images])


@pytest.mark.parametrize("name", ["regmean", "regmean++"])
def test_regmean_solves_it_on_the_features_behind_the_final_norm(name):
    inputs, alpha = projected(), 0.7
    draw = torch.Generator().manual_seed(2)
    images = {t: [torch.randn(48, 3, 32, 32, generator=draw)] for t in inputs.experts}
    state = mergebench.merge(name, inputs.base, inputs.experts, calibration=images, alpha=alpha)
    left, right = torch.zeros(WIDTH, WIDTH).double(), torch.zeros(WIDTH, EMBED).double()
    for task, expert in inputs.experts.items():
        fed = features(inputs.base, state if name == "regmean++" else expert, images[task])
        gram = fed.T @ fed / len(fed)
        gram = alpha * gram + (1 - alpha) * gram.diagonal().diag()
        left, right = left + gram, right + gram @ expert[PROJECTION].double().T
    expected = torch.linalg.solve(left, right).T.float()
    torch.testing.assert_close(state[PROJECTION], expected, rtol=1e-3, atol=1e-4)
    if name == "regmean++":
        assert torch.equal(state["norm.weight"], inputs.base.state_dict()["norm.weight"])
