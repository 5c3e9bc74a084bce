"""A zoo's heads: whose they are, in what order their classes come, and from which tower their prompts go."""

import json

import pytest
import torch
from PIL import Image
from transformers import CLIPConfig, CLIPModel

from mergebench.errors import MergebenchError
from mergebench.weights.states import recipe_of, save_state
from mergebench.zoo.zoo import Zoo

CLASSES = ("green", "purple", "red")


@pytest.fixture
def own(write, tmp_path):
    """A zoo of one task of one's own on the tiny zoo's base, or on another."""
    for shade, name in enumerate(CLASSES):
        folder = tmp_path / "data" / name
        folder.mkdir(parents=True)
        for number in range(4):
            Image.new("RGB", (8, 8), (number, shade, 0)).save(folder / f"{number}.png")

    def made(task="flowers", base="tiny", text=None, **described):
        fields = {"base": base, "experts": "{task}.bin", "tasks": {task: {"data": "data"} | described}}
        return Zoo(write("mine", title="mine", **fields | ({"text": str(text)} if text else {})))

    return made


def write_head(path, recipe=None):
    metadata = {} if recipe is None else {"recipe": recipe if isinstance(recipe, str) else json.dumps(recipe)}
    save_state({"weight": torch.randn(3, 160), "bias": torch.zeros(3)}, path, metadata)


def test_a_head_whose_classes_are_others_is_refused(own, tmp_path):
    write_head(tmp_path / "h.safetensors", {"classes": CLASSES})
    assert own(head="h.safetensors").head("flowers").classes == 3
    (tmp_path / "data" / "purple").rename(tmp_path / "data" / "violet")
    with pytest.raises(MergebenchError) as refused:
        own(head="h.safetensors").head("flowers")
    told = str(refused.value)
    assert "h.safetensors): its class 1 is 'purple', the task's 'red'; name the classes as it does" in told
    assert "\n" not in told
    remedy = {"classes": list(CLASSES), "labels": ["green", "violet", "red"]}
    assert own(head="h.safetensors", **remedy).head("flowers").classes == 3


@pytest.mark.parametrize("recipe", [None, "of another program", "[1]", {"tasks": ["flowers"]}])
def test_a_head_that_names_no_classes_is_taken_at_its_word(recipe, own, tmp_path):
    write_head(tmp_path / "h.safetensors", recipe)
    assert own(head="h.safetensors").head("flowers").classes == 3


def test_what_a_header_holds_is_read_if_it_is_this_project_s():
    assert recipe_of({"weight": torch.zeros(1)}) == {}


def test_a_task_of_one_s_own_never_takes_the_head_of_a_namesake(own):
    with pytest.raises(MergebenchError) as refused:
        own(classes=["a", "b", "c"]).head("flowers")
    told = "task 'flowers' has no head, and the base (tiny) no text tower: give head:"
    assert str(refused.value).startswith(told)
    assert "flowers" in Zoo("tiny").config.tasks


@pytest.mark.parametrize("activation", ["gelu", "quick_gelu"])
def test_prompts_go_through_the_activation_of_the_tower_that_is_named(activation, own, tmp_path):
    """The tiny zoo's encoder has GELU's exact form, whatever CLIP lends its text tower."""
    torch.manual_seed(0)
    tower = {"hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 128}
    text = tower | {"eos_token_id": 49407, "hidden_act": activation}
    model = CLIPModel(CLIPConfig(text_config=text, vision_config=tower | {"image_size": 32, "patch_size": 16}))
    model.text_model.encoder.layers[0].mlp.fc1.bias.data += torch.randn(128)  # where the two differ
    model.save_pretrained(tmp_path / "clip")
    found = own(text=tmp_path / "clip", classes=list(CLASSES), templates=["{}"]).head("flowers").text_features
    zoo = own(text=tmp_path / "clip" / "model.safetensors", classes=list(CLASSES), templates=["{}"])
    assert torch.equal(zoo.head("flowers").text_features, found)
    from open_clip.tokenizer import SimpleTokenizer

    with torch.no_grad():
        features = model.eval().get_text_features(SimpleTokenizer()(list(CLASSES)))
    features = getattr(features, "pooler_output", features)
    torch.testing.assert_close(found, torch.nn.functional.normalize(features, dim=-1), atol=1e-6, rtol=0)
    # Without a word of it, the image encoder's.
    (tmp_path / "clip" / "config.json").unlink()
    without = own(text=tmp_path / "clip", classes=list(CLASSES), templates=["{}"]).head("flowers").text_features
    assert torch.equal(without, found) == (activation == "gelu")
