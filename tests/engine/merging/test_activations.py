"""How much activations take, by shapes alone."""

import pytest
import timm

from mergebench.merging.activations import held_activations, largest_activation
from mergebench.weights.encoders import Encoder


def test_larger_images_take_more():
    small, large = (Encoder("resnet18", {"img_size": size}).make() for size in (64, 256))
    assert largest_activation(large) == 16 * largest_activation(small) > 0
    assert held_activations(large) > 15 * held_activations(small)
    # The first convolution gives most: 64 channels at half the side; three of the like are held.
    assert largest_activation(small) == 3 * 64 * 32 * 32


def test_a_transformer_s_are_by_its_tokens():
    encoder = timm.create_model("vit_tiny_patch16_224", num_classes=0, depth=2)
    assert largest_activation(encoder) == 196 * 192 * 12
    assert held_activations(encoder) == 197 * 192 * 2 * 20


def test_an_encoder_stays_in_the_mode_that_it_was_in():
    encoder = Encoder("resnet18", {"img_size": 32}).make().train()
    encoder.layer1.eval()
    assert largest_activation(encoder) > 0  # in training its last batch norms would refuse a map of one pixel
    assert encoder.training and encoder.bn1.training and not encoder.layer1[0].bn1.training


@pytest.mark.long
def test_modules_that_give_several_tensors_are_counted():
    assert largest_activation(timm.create_model("sequencer2d_s", num_classes=0)) > 0
