"""LoRA adapters on the command line: merged as experts, read in zoos, refused in one line, written by finetune."""

import json

import peft
import pytest
import torch
import transformers
from safetensors import safe_open

from mergebench.weights.adapted import as_expert
from mergebench.weights.files import open_weights
from mergebench.weights.states import digest
from mergebench.weights.translation import as_timm
from mergebench.zoo.zoo import Zoo

pytestmark = pytest.mark.filterwarnings("ignore")
SIZES = {
    "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 1, "intermediate_size": 256, "image_size": 32,
    "patch_size": 16,
}  # fmt: skip


def adapter(model, folder, seed=0):
    """Writes an adapter of random factors on a model."""
    config = peft.LoraConfig(r=2, lora_alpha=4, target_modules=["q_proj", "v_proj", "fc1"])
    adapted = peft.get_peft_model(model, config)
    torch.manual_seed(seed)
    for name, parameter in adapted.named_parameters():
        if ".lora_" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    adapted.save_pretrained(folder)
    adapted.unload()
    return folder


@pytest.fixture
def clip(tmp_path):
    """A base's folder, and two adapters' on it."""
    torch.manual_seed(0)
    model = transformers.CLIPVisionModel(transformers.CLIPVisionConfig(**SIZES))
    model.save_pretrained(tmp_path / "base")
    return tmp_path / "base", [adapter(model, tmp_path / name, seed) for seed, name in enumerate(("one", "two"))]


@pytest.mark.parametrize("method", ["task_arithmetic", "knots", "core_space"])
def test_folders_of_peft_s_are_merged_as_experts(command, clip, tmp_path, method):
    base, (one, two) = clip
    output = tmp_path / "merged.safetensors"
    done = command("merge", "--method", method, "--base", base, "--experts", one, two, "--output", output)
    assert done.status == 0, done.err
    assert f"expert 'one' ({one}): a LoRA adapter of rank 2" in done.err and "added to the base" in done.err
    start = as_timm(open_weights(base / "model.safetensors"), "the base")
    experts = {f.name: as_expert(open_weights(f), f.name, start) for f in (one, two)}
    with safe_open(output, "pt") as file:
        noted = json.loads(file.metadata()["recipe"])
        assert noted["experts"] == {name: digest(expert) for name, expert in experts.items()}
        if method == "task_arithmetic":
            name = "blocks.1.attn.qkv.weight"
            expected = start[name] + 0.3 * sum(expert[name] - start[name] for expert in experts.values())
            torch.testing.assert_close(file.get_tensor(name), expected)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"use_dora": True}, "adapter_config.json: use_dora (DoRA's magnitudes) makes more of it"),
        ({"peft_type": "IA3"}, "adapter_config.json: adapters of type 'IA3' are not read"),
    ],
)
def test_what_cannot_be_added_is_refused_in_one_line(refused, clip, tmp_path, fields, told):
    base, (one, two) = clip
    file = one / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | fields))
    output = tmp_path / "out" / "merged.safetensors"
    line = refused("merge", "--method", "average", "--base", base, "--experts", one, two, "--output", output)
    assert told in line and "merge_and_unload" in line and not output.exists()


def test_an_adapter_is_no_base(refused, clip, tmp_path):
    _, (one, two) = clip
    line = refused(
        "merge", "--method", "average", "--base", one, "--experts", two, "--output", tmp_path / "m.safetensors"
    )
    assert f"the base ({one}) has" in line and "is of a LoRA adapter, a difference from its base" in line


def test_an_expert_s_place_in_a_zoo_may_be_an_adapter_s(hub, options, command):
    place = hub / "tanganke/clip-vit-base-patch32_mnist"
    for file in place.iterdir():
        file.unlink()
    adapter(transformers.CLIPModel.from_pretrained(hub / "openai/clip-vit-base-patch32").vision_model, place)
    zoo = Zoo(str(hub / "mini-clip.yaml"), hub)
    expert = zoo.expert("mnist")
    changed = {name for name in zoo.base if not torch.equal(expert[name], zoo.base[name])}
    assert changed == {f"blocks.{i}.{n}.weight" for i in (0, 1) for n in ("attn.qkv", "mlp.fc1")}
    (place / "adapter_model.safetensors").unlink()
    done = command("fetch", *options)
    assert done.status == 2 and "and no adapter_model.safetensors" in done.err


def test_finetune_writes_what_merge_reads(command, refused, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = ("--task", "digits", "--format", "peft", "--steps", 2, "--device", "cpu")
    assert "give their rank, --lora" in refused("finetune", *given)
    assert "writes a folder" in refused("finetune", *given, "--lora", 2, "--output", "e.safetensors")
    done = command("finetune", *given, "--lora", 2)
    assert done.status == 0 and "wrote digits" in done.out, done.err
    base = Zoo("tiny").base
    expert = as_expert(open_weights("digits"), "digits", base)
    up, down = expert.low_rank("blocks.0.attn.qkv.weight")
    assert up.shape[1] == len(down) == 6 and up.abs().max() > 0
    with safe_open(tmp_path / "digits" / "adapter_model.safetensors", "pt") as file:
        recipe = json.loads(file.metadata()["recipe"])
    assert (recipe["lora"], recipe["base"], recipe["tasks"]) == (2, digest(base), ["digits"])
    done = command(
        "merge", "--method", "core_space", "--base", "tiny", "--experts", "digits", "--output", "m.safetensors"
    )
    assert done.status == 0 and "other weights than the base's" not in done.err, done.err
