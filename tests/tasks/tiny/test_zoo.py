"""The shipped weights: complete, of one shape, in float16, small enough, and what the cards say."""

from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import mergebench.tasks.tiny
from mergebench.catalogue import registry
from mergebench.data.corruption import corrupt
from mergebench.suites.bench import Bench
from mergebench.tasks.tiny import TASKS, model
from mergebench.tasks.tiny.pretraining.captions import Vocabulary
from mergebench.tasks.tiny.pretraining.pretrain import class_features, create_pair
from mergebench.zoo.heads import ZeroShotHead

WEIGHTS = Path(mergebench.tasks.tiny.__file__).parent / "weights"


@pytest.fixture(scope="module")
def base():
    return load_file(WEIGHTS / "base.safetensors")


def encoder_with(state):
    encoder = model.create_encoder()
    encoder.load_state_dict({name: tensor.float() for name, tensor in state.items()})
    return encoder.eval()


def head_of(task):
    return ZeroShotHead(**load_file(WEIGHTS / "heads" / f"{task}.safetensors"))


@torch.no_grad()
def accuracy(state, task, count=300, damage=lambda images: images):
    images, labels = TASKS[task].load("validation")
    features = encoder_with(state)(model.normalise(torch.from_numpy(damage(images[:count]))))
    return (head_of(task)(features).argmax(1) == torch.from_numpy(labels[:count])).float().mean().item()


@pytest.mark.parametrize("task", TASKS)
def test_an_expert_fits_the_base_and_beats_it(task, base):
    expert = load_file(WEIGHTS / "experts" / f"{task}.safetensors")
    assert {name: t.shape for name, t in expert.items()} == {name: t.shape for name, t in base.items()}
    assert all(t.dtype == torch.float16 and t.isfinite().all() for t in expert.values())
    assert all(torch.equal(expert[n], base[n]) for n in base if n.startswith("patch_embed"))
    assert accuracy(expert, task) > accuracy(base, task)


@pytest.mark.parametrize("name", registry.corruptions())
def test_severity_five_costs_experts_more_than_severity_one(name):
    corruption, mean = registry.corruptions()[name], {}
    experts = {t: load_file(WEIGHTS / "experts" / f"{t}.safetensors") for t in Bench("corruptions").variants[0].merge}
    for severity in (1, 5):
        damage = partial(corrupt, corruption, severity=severity, key="validation")
        mean[severity] = sum(accuracy(e, t, 200, damage) for t, e in experts.items()) / len(experts)
    assert mean[5] < mean[1]


@pytest.mark.parametrize("task", TASKS)
def test_a_head_has_a_unit_row_per_class(task):
    head = head_of(task)
    assert head.text_features.shape[0] == len(TASKS[task].card.classes)
    assert torch.allclose(head.text_features.norm(dim=1), torch.tensor(1.0), atol=1e-2)
    assert head.projection.shape == (head.text_features.shape[1], model.WIDTH)


def test_the_text_tower_makes_the_heads_again():
    words = Vocabulary.read(WEIGHTS / "vocabulary.json")
    pair = create_pair(words.size)
    state = {name: tensor.float() for name, tensor in load_file(WEIGHTS / "text_tower.safetensors").items()}
    pair.text.load_state_dict(state, strict=False)
    features = class_features(pair, words, TASKS["vehicles"].card)
    assert torch.allclose(features, head_of("vehicles").text_features, atol=1e-2)


def test_the_files_are_small():
    assert sum(file.stat().st_size for file in WEIGHTS.rglob("*.safetensors")) < 42e6


def test_the_joint_model_serves_all_tasks_of_tiny_8_nearly_as_well_as_the_experts(base):
    bench = Bench("tiny-8")
    joint = dict(bench.joint(bench.variants[0]))
    assert all(t.dtype == torch.float16 for t in joint.values())
    assert all(torch.equal(joint[n], base[n]) for n in base if n.startswith("patch_embed"))
    tasks = bench.variants[0].merge
    experts = {t: load_file(WEIGHTS / "experts" / f"{t}.safetensors") for t in tasks}
    lead = [accuracy(experts[t], t, 200) - accuracy(joint, t, 200) for t in tasks]
    assert abs(sum(lead) / len(lead)) < 0.05
