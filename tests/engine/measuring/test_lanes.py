"""Batches in lanes: the bits of the plain pass, whatever the number of threads, and nothing left behind."""

import pytest
import torch
from torch import nn

from mergebench.measuring.lanes import PART, Lanes


def plain(encoder, images):
    with torch.inference_mode():
        return torch.cat([encoder(part) for part in images.split(PART)])


@pytest.fixture
def threads():
    """Sets the number of threads, and puts it back."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def in_lanes(encoder, *batches):
    lanes = Lanes(encoder, lambda own, images: own(images))
    try:
        return [lanes(images) for images in batches]
    finally:
        lanes.close()


@pytest.mark.parametrize("count", [1, 2, 3, 9])
def test_features_are_those_of_the_plain_pass_whatever_the_threads(mini, threads, count):
    encoder, images = mini.encoder(), mini.images(0, 3 * PART + 5)
    threads(1)
    expected = plain(encoder, images)
    threads(count)
    few = images[:3]
    found, found_few = in_lanes(encoder, images, few)
    assert torch.equal(found, expected) and torch.equal(found_few, plain(encoder, few))
    assert torch.get_num_threads() == count


def test_weights_that_are_loaded_later_are_the_lanes_too(mini, threads):
    threads(2)
    encoder, images = mini.encoder(), mini.images(0, 2 * PART)
    lanes = Lanes(encoder, lambda own, images: own(images))
    before = lanes(images)
    encoder.load_state_dict(mini.encoder(seed=1).state_dict())
    after = lanes(images)
    lanes.close()
    assert not torch.equal(before, after) and torch.equal(after, plain(mini.encoder(seed=1), images))


def test_what_an_encoder_keeps_in_its_modules_is_kept_lane_by_lane(threads):
    class Remembers(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(3, 4)

        def forward(self, images):
            self.last = images
            made = self.linear(torch.randn(500, 3)).sum() * 0  # meanwhile another lane may have come by
            return self.linear(self.last) + made

    threads(4)
    encoder, images = Remembers(), torch.randn(40 * PART, 3)
    (found,) = in_lanes(encoder, images)
    assert torch.equal(found, plain(encoder, images))


def test_an_error_in_a_lane_is_the_caller_s(threads):
    threads(2)

    class Broken(nn.Module):
        def forward(self, images):
            raise ValueError("no such image")

    with pytest.raises(ValueError, match="no such image"):
        in_lanes(Broken(), torch.zeros(2 * PART, 3))
