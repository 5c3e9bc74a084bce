"""Training batches: read from memory maps, every image once a pass, dealt out to devices without remainder or loss."""

import numpy as np
import pytest
import torch
from torch import nn

from mergebench.training.batches import Batches, Preparation, TrainingSet, make_streams
from mergebench.weights.states import digest

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)


class Noting(np.ndarray):
    """Notes which images are read."""

    read: list

    def __getitem__(self, wanted):
        self.read.extend(wanted)
        return np.asarray(self)[wanted]


def data(count, seed=0, side=8):
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (count, side, side, 3), dtype=np.uint8)
    return TrainingSet(nn.Identity(), images, rng.integers(0, 5, count))


def batches(sets, batch_size, rank=0, world=1, augment="none", count=4):
    streams = make_streams(sets, batch_size, seed=3)
    return Batches(streams, Preparation(MEAN, STD, augment, seed=3), 0, count, rank, world)


def test_pixels_are_the_images_normalised():
    one = data(6)
    pixels, (labels,) = batches([one], 6)[0]
    expected = ((one.images / 255 - MEAN) / STD).transpose(0, 3, 1, 2)
    order = [int(np.abs(expected - p.numpy()).max((1, 2, 3)).argmin()) for p in pixels]
    assert sorted(order) == list(range(6))
    np.testing.assert_allclose(pixels.numpy(), expected[order], atol=1e-5)
    np.testing.assert_array_equal(labels.numpy(), one.labels[order])


def test_a_pass_reads_every_image_once_and_a_batch_no_more_than_its_own():
    one = data(24)
    noting = one.images.view(Noting)
    noting.read = []
    found = batches([TrainingSet(one.head, noting, one.labels)], 6)
    for step in range(4):
        found[step]
        assert len(noting.read) == 6 * (step + 1)
    assert sorted(noting.read) == list(range(24))


def test_a_memory_map_a_tensor_and_an_array_give_the_same(tmp_path):
    one = data(10)
    np.save(tmp_path / "images.npy", one.images)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    kinds = [one.images, mapped, torch.from_numpy(one.images)]
    sets = [TrainingSet(one.head, images, one.labels) for images in kinds]
    first, *others = [batches([s], 7)[1][0] for s in sets]
    assert all(torch.equal(first, other) for other in others)
    told = digest({"images": torch.from_numpy(one.images), "labels": torch.from_numpy(one.labels)})
    assert {s.identity for s in sets} == {told}


def test_a_digest_that_is_told_spares_reading_the_images():
    assert TrainingSet(nn.Identity(), None, None, "told").identity == "told"


@pytest.mark.parametrize("world", [2, 3, 7])
@pytest.mark.parametrize("augment", ["none", "affine"])
def test_the_devices_shares_are_the_batch_of_one(world, augment):
    sets = [data(9), data(13, seed=1)]
    for step in range(3):
        whole, told = batches(sets, 11, augment=augment)[step]
        shares = [batches(sets, 11, rank, world, augment)[step] for rank in range(world)]
        torch.testing.assert_close(torch.cat([pixels for pixels, _ in shares]), whole)
        assert all(len(pixels) for pixels, _ in shares)
        for task in range(2):
            assert torch.equal(torch.cat([labels[task] for _, labels in shares]), told[task])
