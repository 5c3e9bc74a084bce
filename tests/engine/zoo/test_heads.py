"""Heads: which kind a checkpoint holds, what is refused, how they are joined, and linear heads in every method."""

import numpy as np
import pytest
import torch
from torch import nn

import mergebench
from mergebench.catalogue import registry
from mergebench.data.image_cache import Split
from mergebench.errors import CheckpointError, MergebenchError
from mergebench.measuring.evaluation import evaluate
from mergebench.zoo.heads import LinearHead, ZeroShotHead, joint_head, load_head

WIDTH = 32
LINEAR = {"weight": torch.randn(3, WIDTH), "bias": torch.randn(3)}
ZERO_SHOT = {
    "projection": torch.randn(6, WIDTH),
    "text_features": nn.functional.normalize(torch.randn(3, 6)),
    "logit_scale": torch.tensor(7.0),
}


def test_a_linear_head_is_torch_s_linear_layer():
    layer, features = nn.Linear(WIDTH, 5), torch.randn(4, WIDTH)
    head = LinearHead(layer.weight.detach(), layer.bias.detach())
    torch.testing.assert_close(head(features), layer(features))
    assert head(features.double()).dtype == torch.float64 and not list(head.parameters())
    assert head.classes == 5


@pytest.mark.parametrize(("state", "kind"), [(LINEAR, LinearHead), (ZERO_SHOT, ZeroShotHead)])
def test_a_checkpoint_s_tensors_say_which_head_it_holds(state, kind):
    head = load_head({n: t.half() for n, t in state.items()}, WIDTH, 3, "it")
    assert type(head) is kind and head.classes == 3 and not head.training
    again = load_head(head.state_dict(), WIDTH, 3, "it")
    assert all(torch.equal(tensor, again.state_dict()[name]) for name, tensor in head.state_dict().items())


@pytest.mark.parametrize(
    ("state", "told"),
    [
        ({}, "it lacks 'projection'"),
        ({"bias": torch.ones(3)}, "it lacks 'weight'"),
        ({"weight": torch.ones(3, WIDTH)}, "it lacks 'bias'"),
        ({"weight": torch.ones(WIDTH, 3)}, r"does not fit features of width 32: weight \(32, 3\), bias \(3,\)"),
        ({"bias": torch.ones(4)}, r"does not fit features of width 32: weight \(3, 32\), bias \(4,\)"),
        ({"weight": torch.ones(())}, "does not fit"),
        ({"weight": torch.ones(4, WIDTH), "bias": torch.ones(4)}, "it has 4 classes, its card 3"),
        ({"bias": torch.tensor([1.0, torch.nan, 0.0])}, "'bias' holds 1 values that are NaN or infinite"),
        (
            {"logit_scale": torch.tensor(1.0)},
            "'logit_scale' of a zero-shot head and 'weight' or 'bias' of a linear one",
        ),
    ],
)
def test_a_head_that_does_not_fit_is_refused(state, told):
    lacks = told.startswith("it lacks")
    with pytest.raises(CheckpointError, match=told):
        load_head(state if lacks else LINEAR | state, WIDTH, 3, "it")


def test_a_head_behind_the_encoder_s_own_projection_holds_texts_alone():
    state = {name: ZERO_SHOT[name] for name in ("text_features", "logit_scale")}
    head, whole = load_head(state, 6, 3, "it", projected=True), load_head(ZERO_SHOT, WIDTH, 3, "it")
    features = torch.randn(4, WIDTH)
    assert head.state_dict().keys() == state.keys()
    torch.testing.assert_close(head(features @ ZERO_SHOT["projection"].T), whole(features))
    joint = joint_head([head, head])
    assert joint.classes == 6 and joint.state_dict().keys() == state.keys()
    with pytest.raises(MergebenchError, match="different projections"):
        joint_head([head, whole])


@pytest.mark.parametrize(
    ("without", "width", "projected", "told"),
    [
        (("projection",), 6, False, "it lacks 'projection'"),
        (("projection",), 7, True, "it does not fit features of width 7"),
        ((), 6, True, "the projection is the encoder's"),
        (("text_features", "projection"), 6, True, "it lacks 'text_features'"),
    ],
)
def test_a_head_for_features_on_the_other_side_of_a_projection_is_refused(without, width, projected, told):
    state = {name: tensor for name, tensor in ZERO_SHOT.items() if name not in without}
    with pytest.raises(CheckpointError, match=told):
        load_head(state, width, 3, "it", projected)


def test_linear_heads_are_joined_row_by_row():
    first, second = load_head(LINEAR, WIDTH, 3, "it"), LinearHead(torch.randn(2, WIDTH), torch.randn(2))
    features = torch.randn(4, WIDTH)
    joint = joint_head([first, second])
    torch.testing.assert_close(joint(features), torch.cat([first(features), second(features)], dim=1))
    assert joint.classes == 5


def test_heads_of_both_kinds_are_not_joined():
    heads = [load_head(state, WIDTH, 3, "it") for state in (LINEAR, ZERO_SHOT)]
    with pytest.raises(MergebenchError, match="zero-shot and linear heads cannot be joined"):
        joint_head(heads)


READING = [name for name, card in registry.methods().items() if card.needs.heads]


@pytest.mark.parametrize("name", READING)
def test_every_method_takes_heads_of_both_kinds(name, mini):
    base = mini.encoder(depth=1)
    tasks = mini.tasks[:2]
    experts = {t: mini.expert(base, i) for i, t in enumerate(tasks)}
    images = {t: [mini.images(i, 4)] for i, t in enumerate(tasks)}
    linear, zero_shot = load_head(LINEAR, WIDTH, 3, "it"), mini.head(0)
    card = registry.methods()[name]
    given = {t: [(b, torch.arange(4) % 3) for b in batches] for t, batches in images.items()}
    calibration = given if card.needs.labels else images
    settings = card.hyperparameters
    quick = {n: 2 for n in ("steps", "shift_steps") if n in settings}
    merged, turned = (
        mergebench.merge(name, base, experts, calibration=calibration, test_inputs=images, heads=heads, **quick)
        for heads in ({"birds": zero_shot, "cars": linear}, {"birds": linear, "cars": zero_shot})
    )
    assert any(not torch.equal(merged[n], turned[n]) for n in merged)  # they are read


def test_evaluation_takes_heads_of_both_kinds(mini):
    base = mini.encoder(depth=1)
    heads = {"birds": mini.head(0), "cars": load_head(LINEAR, WIDTH, 3, "it")}
    images = np.random.default_rng(0).integers(0, 256, (9, 32, 32, 3), dtype=np.uint8)
    splits = {t: Split(images, np.arange(9) % 3, t) for t in heads}
    found = evaluate(base, base.state_dict(), heads, splits, mean=(0.5,) * 3, std=(0.25,) * 3)
    with torch.no_grad():
        features = base((torch.from_numpy(images).permute(0, 3, 1, 2) / 255 - 0.5) / 0.25)
    for task, head in heads.items():
        np.testing.assert_array_equal(found.predictions[task], head(features).argmax(1).numpy())
