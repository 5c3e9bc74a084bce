"""Modules without values: those that would have been made with them, and nothing else of torch's is touched."""

import pytest
import timm
import torch

from mergebench.weights.unfilled import unfilled


@pytest.mark.parametrize(
    "name",
    [
        "vit_base_patch32_clip_quickgelu_224",
        "vit_base_patch16_siglip_224",
        "eva02_tiny_patch14_224",
        "swin_tiny_patch4_window7_224",
        "convnext_tiny",
        "resnet18",
        "mixer_s16_224",
    ],
)
def test_it_is_the_module_that_would_have_been_filled(name):
    with torch.device("meta"):
        filled = timm.create_model(name, num_classes=0)
    with unfilled():
        made = timm.create_model(name, num_classes=0)

    def told(module):
        """Name -> what is known of a tensor that has no values."""
        tensors = [*module.named_parameters(), *module.named_buffers()]
        return {n: (t.shape, t.stride(), t.dtype, t.device, t.requires_grad, type(t)) for n, t in tensors}

    assert told(made) == told(filled) and str(made) == str(filled)
    assert all(tensor.is_meta for tensor in made.parameters())


def test_what_has_values_is_filled_and_what_is_behind_it_too():
    with unfilled():
        here = torch.zeros(3, device="cpu")
        torch.nn.init.constant_(here, 2.0).mul_(3)
    assert here.tolist() == [6, 6, 6]
    assert torch.nn.Linear(2, 2).weight.abs().sum() > 0 and torch.zeros(2).add_(1).tolist() == [1, 1]


def test_an_error_in_it_leaves_nothing_behind():
    with pytest.raises(ValueError, match="odd"), unfilled():
        raise ValueError("odd")
    assert not torch.zeros(1).is_meta
