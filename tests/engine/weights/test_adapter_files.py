"""What is written as an adapter is what peft adds to the base, and what is read here again."""

import peft
import pytest
import timm
import torch
from transformers import CLIPVisionConfig, CLIPVisionModel

from mergebench.weights.adapted import as_expert
from mergebench.weights.adapter_files import write_adapter
from mergebench.weights.files import open_weights
from mergebench.weights.translation import as_timm

SIZES = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 32,
    "patch_size": 16,
}  # fmt: skip
OPTIONS = {"img_size": 32, "patch_size": 16, "embed_dim": 32, "depth": 2, "num_heads": 2, "mlp_ratio": 1.5}


def clip_vision():
    return CLIPVisionModel(CLIPVisionConfig(**SIZES))


def small_timm():
    return timm.create_model("vit_base_patch16_clip_quickgelu_224", num_classes=0, **OPTIONS)


@pytest.mark.parametrize("make", [clip_vision, small_timm])
@pytest.mark.filterwarnings("ignore")
def test_peft_adds_what_was_written_to_its_own_base(tmp_path, make):
    torch.manual_seed(0)
    model = make()
    base = as_timm({name: tensor.clone() for name, tensor in model.state_dict().items()}, "the base")
    factors = {
        "blocks.1.attn.qkv": (torch.randn(3, 32, 2), torch.randn(3, 2, 32)),
        "blocks.0.mlp.fc1": (torch.randn(1, 48, 2), torch.randn(1, 2, 32)),
    }
    write_adapter(tmp_path / "e", factors, base, None, {"recipe": "{}"})
    expert = as_expert(open_weights(tmp_path / "e"), "e", base)
    theirs = as_timm(peft.PeftModel.from_pretrained(model, tmp_path / "e").merge_and_unload().state_dict(), "peft's")
    for name in base:
        layer = name.removesuffix(".weight")
        expected = base[name].double()
        if layer in factors and name != layer:
            up, down = (factor.double() for factor in factors[layer])
            expected = expected + (up @ down).flatten(0, 1)
            torch.testing.assert_close(torch.matmul(*expert.low_rank(name)), (up @ down).flatten(0, 1))
        torch.testing.assert_close(expert[name].double(), expected, rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(theirs[name].double(), expected, rtol=1e-5, atol=1e-5)
    assert expert.metadata["recipe"] == "{}"
