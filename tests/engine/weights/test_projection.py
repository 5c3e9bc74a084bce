"""A projection that belongs to the encoder: read from every library's names, and written back."""

import pytest
import torch

from mergebench.errors import CheckpointError, MergebenchError
from mergebench.weights.encoders import Encoder
from mergebench.weights.rules import PROJECTION
from mergebench.weights.states import shape_of
from mergebench.weights.translation import as_timm, from_timm

ENCODER = Encoder(
    "vit_base_patch32_clip_quickgelu_224",
    {"img_size": 32, "patch_size": 8, "embed_dim": 128, "depth": 3, "num_heads": 2, "mlp_ratio": 1.5, "projection": 16},
)


@pytest.mark.parametrize("before", ["", "model.", "module.image_encoder.model."])
def test_an_open_clip_state_gives_it_transposed_and_takes_it_back(open_clip_whole, pixels, before):
    whole = {before + name: tensor for name, tensor in open_clip_whole.state_dict().items()}
    state = as_timm(whole, "it", ENCODER.names)
    assert list(state)[-1] == PROJECTION and shape_of(state, PROJECTION) == (16, 128)
    assert before + "visual.proj" not in state.others
    encoder = ENCODER.make()
    encoder.load_state_dict(dict(state))
    with torch.no_grad():
        torch.testing.assert_close(encoder.eval()(pixels), open_clip_whole.encode_image(pixels), rtol=1e-4, atol=1e-4)
    others = {name.removeprefix(before): whole[name] for name in state.others}
    back = from_timm(dict(state), "open_clip", others)
    assert all(torch.equal(back[n], t) for n, t in open_clip_whole.state_dict().items())


def test_a_hugging_face_model_has_it_beside_its_tower(hf_whole, pixels):
    state = as_timm(hf_whole.state_dict(), "it", ENCODER.names)
    assert torch.equal(state[PROJECTION], hf_whole.visual_projection.weight)
    back = from_timm(dict(state), "hf", {n: state.source[n] for n in state.others})
    assert torch.equal(back["visual_projection.weight"], hf_whole.visual_projection.weight)
    assert back.keys() == hf_whole.state_dict().keys()


def test_timm_s_names_keep_it(open_clip_whole):
    state = dict(as_timm(open_clip_whole.state_dict(), "it", ENCODER.names))
    assert as_timm(state, "it", ENCODER.names) is state and from_timm(state, "timm").keys() == state.keys()


def test_without_it_the_projection_is_left_aside_as_before(open_clip_whole):
    state = as_timm(open_clip_whole.state_dict(), "it", ENCODER.projected(None).names)
    assert PROJECTION not in state and "visual.proj" in state.others


def test_a_state_without_one_is_refused_with_the_remedy(hf_vision):
    with pytest.raises(CheckpointError, match=r"^expert 'a' holds no projection of images .* projection: base\)$"):
        as_timm(hf_vision().state_dict(), "expert 'a'", ENCODER.names)


@pytest.mark.parametrize("length", [0, -1, 1.5, "16", True])
def test_a_length_that_is_none_is_refused(length):
    with pytest.raises(MergebenchError, match="projection is .*, not a length"):
        ENCODER.projected(length).make()
