"""What a folder's configuration cannot say of an encoder is refused before it is merged, with the format that can."""

import pytest

from mergebench.errors import MergebenchError
from mergebench.weights.encoders import Encoder
from mergebench.weights.model_folders import companions

NAME = "vit_base_patch32_clip_224"
SMALL = {"img_size": 32, "patch_size": 8, "embed_dim": 64, "depth": 1, "num_heads": 1}


@pytest.mark.parametrize(
    ("format", "options", "told"),
    [
        ("timm", {"projection": 8}, "--format timm: .* that the projection is the encoder's; write .* hf or open_clip"),
        ("timm", {"norm_eps": 1e-3}, "--format timm: .* that norms have epsilon 0.001; write a folder with"),
        ("hf", {"act_layer": "relu"}, f"encoder '{NAME}' has activations ReLU, which .*; write it with --format timm"),
    ],
)
def test_what_a_configuration_cannot_say_is_refused_with_the_format_that_can(format, options, told):
    encoder = Encoder(NAME, SMALL | options)
    with pytest.raises(MergebenchError, match=told):
        companions(encoder, encoder.make().state_dict(), format)
