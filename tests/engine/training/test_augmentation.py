"""Augmentations keep shape and range, follow their numbers, and treat the parts of a batch as they would the whole."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from mergebench.training.augmentation import AUGMENTATIONS


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_augmentations_keep_shape_and_range(name):
    images, augmentation = torch.rand(4, 3, 32, 32), AUGMENTATIONS[name]
    numbers = augmentation.draw(4, torch.Generator().manual_seed(0))
    augmented = augmentation.apply(images, numbers)
    assert augmented.shape == images.shape
    assert augmented.min() >= 0 and augmented.max() <= 1
    assert torch.equal(numbers, augmentation.draw(4, torch.Generator().manual_seed(0)))
    assert torch.equal(augmented, augmentation.apply(images, numbers))


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_a_part_of_a_batch_is_changed_as_in_the_whole(name):
    images, augmentation = torch.rand(5, 3, 16, 16), AUGMENTATIONS[name]
    numbers = augmentation.draw(5, torch.Generator().manual_seed(0))
    whole = augmentation.apply(images, numbers)
    torch.testing.assert_close(augmentation.apply(images[2:4], numbers[:, 2:4]), whole[2:4])


def test_a_shift_is_numpy_s_with_edges_repeated():
    images = torch.rand(1, 3, 32, 32)
    moved = AUGMENTATIONS["shift"].apply(images, torch.tensor([[1.0], [-0.5]]))
    padded = np.pad(images[0].numpy(), ((0, 0), (2, 2), (2, 2)), mode="edge")
    np.testing.assert_array_equal(moved[0].numpy(), padded[:, 4:36, 1:33])


def test_an_affine_change_is_scipy_s():
    image, numbers = torch.rand(1, 1, 17, 17), torch.tensor([[0.7], [-0.4], [0.3], [-0.9]])
    found = AUGMENTATIONS["affine"].apply(image, numbers)[0, 0].numpy()
    angle, scale = np.deg2rad(7), 0.96
    turn = scale * np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])  # rows before columns
    middle = np.array([8.0, 8.0])
    move = np.array([-0.9, 0.3]) / 16 * 17
    expected = ndimage.affine_transform(
        image[0, 0].numpy(), turn, middle - turn @ middle + move, order=1, mode="nearest"
    )
    np.testing.assert_allclose(found, expected, atol=1e-5)
