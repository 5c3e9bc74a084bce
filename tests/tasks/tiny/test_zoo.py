"""The shipped weights: complete, of one shape, in float16, small enough, and what the cards say."""

from functools import cache, partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import mergebench.tasks.tiny
from mergebench.catalogue import registry
from mergebench.catalogue.yaml_files import read_suite, read_zoo
from mergebench.data.corruption import corrupt
from mergebench.suites.bench import Bench
from mergebench.tasks.tiny import TASKS, build, model
from mergebench.tasks.tiny.pretraining.captions import Vocabulary
from mergebench.tasks.tiny.pretraining.pretrain import class_features, create_pair
from mergebench.weights.states import digest, recipe_of
from mergebench.zoo.heads import ZeroShotHead
from mergebench.zoo.zoo import Zoo

NOTED = ("tasks", "seed", "base")
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


@cache
def validation(task):
    """A task's validation split, drawn once."""
    return TASKS[task].load("validation")


@torch.no_grad()
def accuracy(state, task, count=300, damage=lambda images: images):
    images, labels = validation(task)
    features = encoder_with(state)(model.normalise(torch.from_numpy(damage(images[:count]))))
    return (head_of(task)(features).argmax(1) == torch.from_numpy(labels[:count])).float().mean().item()


@pytest.mark.long
@pytest.mark.parametrize("task", TASKS)
def test_an_expert_fits_the_base_and_beats_it(task, base):
    expert = load_file(WEIGHTS / "experts" / f"{task}.safetensors")
    assert {name: t.shape for name, t in expert.items()} == {name: t.shape for name, t in base.items()}
    assert all(t.dtype == torch.float16 and t.isfinite().all() for t in expert.values())
    assert all(torch.equal(expert[n], base[n]) for n in base if n.startswith("patch_embed"))
    assert accuracy(expert, task) > accuracy(base, task)


@pytest.mark.long
@pytest.mark.parametrize("task", read_zoo("tiny-lora").tasks)
def test_a_lora_expert_is_of_low_rank_on_attention_and_beats_the_base(task, base):
    zoo, attention = Zoo("tiny-lora"), (("qkv", 3), ("proj", 1))
    expert = zoo.expert(task)
    assert {n for n in base if not torch.equal(expert[n], base[n])} == {
        f"blocks.{i}.attn.{n}.weight" for i in range(model.DEPTH) for n, _ in attention
    }
    for name, parts in attention:
        up, down = expert.low_rank(f"blocks.2.attn.{name}.weight")
        assert up.shape[1] == len(down) == parts * build.LORA["lora"]
    files = sorted(file.name for file in (WEIGHTS / "lora" / task).iterdir())
    assert files == ["adapter_config.json", "adapter_model.safetensors"]
    assert all(t.dtype == torch.float16 for t in load_file(WEIGHTS / "lora" / task / files[1]).values())
    assert accuracy(expert, task) > accuracy(base, task)


def test_lora_experts_share_base_and_heads_with_the_tiny_zoo():
    lora, tiny = Zoo("tiny-lora"), Zoo("tiny")
    assert lora.config.tasks == tiny.config.tasks[:8] == build.LORA_TASKS
    assert (digest(lora.base), lora.identity) == (digest(tiny.base), tiny.identity)
    assert digest(lora.head("signs").state_dict()) == digest(tiny.head("signs").state_dict())
    recipe = recipe_of(lora.expert("signs"))
    assert recipe == {**build.LORA, "lora_layers": list(build.LORA["lora_layers"]), **{n: recipe[n] for n in NOTED}}
    assert (recipe["tasks"], recipe["base"]) == (["signs"], digest(tiny.base))
    size = sum(file.stat().st_size for file in (WEIGHTS / "lora").rglob("*") if file.is_file())
    assert size < 0.9e6 and sum(1 for _ in (WEIGHTS / "lora").iterdir()) == 8
    suite, full = read_suite("tiny-8-lora"), read_suite("tiny-8")
    assert (suite.merge, suite.hyperparameters) == (full.merge, full.hyperparameters)


@pytest.mark.long
@pytest.mark.parametrize("name", registry.corruptions())
def test_severity_five_costs_experts_more_than_severity_one(name):
    corruption, mean = registry.corruptions()[name], {}
    experts = {t: load_file(WEIGHTS / "experts" / f"{t}.safetensors") for t in Bench("corruptions").variants[0].merge}
    for severity in (1, 5):
        damage = partial(corrupt, corruption, severity=severity, key="validation")
        mean[severity] = sum(accuracy(e, t, 100, damage) for t, e in experts.items()) / len(experts)
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
    assert sum(file.stat().st_size for file in WEIGHTS.rglob("*.safetensors")) < 43e6


def test_the_joint_model_serves_all_tasks_of_tiny_8_nearly_as_well_as_the_experts(base):
    bench = Bench("tiny-8")
    joint = dict(bench.joint(bench.variants[0]))
    assert all(t.dtype == torch.float16 for t in joint.values())
    assert all(torch.equal(joint[n], base[n]) for n in base if n.startswith("patch_embed"))
    tasks = bench.variants[0].merge
    experts = {t: load_file(WEIGHTS / "experts" / f"{t}.safetensors") for t in tasks}
    lead = [accuracy(experts[t], t, 200) - accuracy(joint, t, 200) for t in tasks]
    assert abs(sum(lead) / len(lead)) < 0.05
