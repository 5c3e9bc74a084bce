"""Objects for other processes: tensors as bytes, whole memory maps by name, all else as ever."""

import pickle
from multiprocessing.reduction import ForkingPickler

import numpy as np
import pytest
import torch
from torch import nn

from mergebench.measuring.portable import Portable


class Carrier(Portable, nn.Module):
    """A module that holds arrays beside its weights."""

    def __init__(self, array):
        super().__init__()
        self.linear, self.array = nn.Linear(300, 300), array


class Plain(Portable):
    """No module."""

    def __init__(self, array):
        self.array = array


@pytest.mark.parametrize("kind", [Carrier, Plain])
@pytest.mark.parametrize("order", ["C", "F"])
def test_a_memory_map_goes_by_its_file_s_name(kind, order, tmp_path):
    array = np.asarray(np.arange(60_000).reshape(300, 200), order=order)
    np.save(tmp_path / "a.npy", array)
    given = kind(np.load(tmp_path / "a.npy", mmap_mode="r"))
    data = pickle.dumps(given.__getstate__()) if kind is Plain else b""
    assert len(data) < 10_000
    again = pickle.loads(pickle.dumps(given))
    assert isinstance(again.array, np.memmap) and np.array_equal(again.array, array)


def test_a_part_of_a_memory_map_is_the_same_part(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(1000))
    part = np.load(tmp_path / "a.npy", mmap_mode="r")[100:300:2]
    assert np.array_equal(pickle.loads(pickle.dumps(Plain(part))).array, part)


def test_weights_go_as_bytes_and_not_through_shared_memory():
    given = Carrier(np.ones(3))
    data = bytes(ForkingPickler.dumps(given))
    assert len(data) > 300 * 300 * 4 and not given.linear.weight.is_shared()
    again = pickle.loads(data)
    assert torch.equal(again.linear.weight, given.linear.weight) and again.linear.weight.requires_grad
