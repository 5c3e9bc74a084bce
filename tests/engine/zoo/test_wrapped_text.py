"""A zoo's base that training code wrapped is a whole CLIP all the same, and a SigLIP is none."""

import pytest
import torch
from safetensors.torch import save_file
from transformers import CLIPConfig, CLIPModel, SiglipConfig, SiglipModel

from mergebench.errors import MergebenchError
from mergebench.weights.encoders import Encoder
from mergebench.weights.states import digest
from mergebench.zoo.zoo import Zoo

TOWER = {"hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 128}
VISION = TOWER | {"image_size": 32, "patch_size": 16}
OPTIONS = {"img_size": 32, "embed_dim": 64, "depth": 1, "num_heads": 1, "mlp_ratio": 2.0}


@pytest.fixture
def zoo_of(write, tmp_path):
    """Writes a state dict as the base of a zoo; gives the zoo."""

    def make(state, name, encoder="vit_base_patch16_clip_quickgelu_224"):
        save_file({n: t.contiguous().clone() for n, t in state.items()}, tmp_path / f"{name}.safetensors")
        task = {"data": "none", "classes": ["dog", "cat"], "templates": ["a {}"]}
        fields = {"base": f"{name}.safetensors", "encoder": encoder, "options": OPTIONS, "experts": "{task}"}
        return Zoo(write(name, title="z", **fields, tasks={"pets": task}))

    return make


def test_a_base_in_a_wrapper_has_the_same_heads(zoo_of):
    torch.manual_seed(0)
    model = CLIPModel(CLIPConfig(text_config=TOWER, vision_config=VISION, projection_dim=16))
    state = model.state_dict()
    plain, wrapped = zoo_of(state, "plain"), zoo_of({f"module._orig_mod.{n}": t for n, t in state.items()}, "wrapped")
    assert plain.files.has_text and wrapped.files.has_text and digest(plain.base) == digest(wrapped.base)
    assert digest(plain.head("pets").state_dict()) == digest(wrapped.head("pets").state_dict())


def test_a_siglip_makes_no_heads_from_prompts(zoo_of):
    torch.manual_seed(0)
    model = SiglipModel(SiglipConfig(text_config=TOWER | {"vocab_size": 99}, vision_config=VISION))
    zoo = zoo_of(model.state_dict(), "siglip", "vit_base_patch16_siglip_224")
    assert not zoo.files.has_text and set(zoo.base) == set(zoo.make_empty_encoder().state_dict())
    with pytest.raises(MergebenchError, match="task 'pets' has no head, and the base .* no text tower: give head:"):
        zoo.head("pets")


def test_an_encoder_that_a_zoo_does_not_name_may_be_named(zoo_of):
    torch.manual_seed(0)
    model = CLIPModel(CLIPConfig(text_config=TOWER, vision_config=VISION, projection_dim=16))
    path = str(zoo_of(model.state_dict(), "plain")._folder / "plain.yaml")
    name = "vit_base_patch16_clip_quickgelu_224"
    assert Zoo(path, encoder=Encoder(name)).encoder.options == OPTIONS
    assert Zoo(path, encoder=Encoder(name, OPTIONS)).encoder.name == name
    for other in (Encoder("vit_base_patch16_clip_224"), Encoder(name, OPTIONS | {"depth": 2})):
        with pytest.raises(MergebenchError, match="--encoder .*: zoo 'plain' names vit_base_patch16_clip_quickgelu"):
            Zoo(path, encoder=other)
