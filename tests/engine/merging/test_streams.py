"""Token streams: the same tokens come back, in memory or from disk, and how much memory they take."""

import tempfile

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import mergebench
from mergebench.errors import MergebenchError
from mergebench.merging.pool import ModelPool
from mergebench.merging.streams import Shelf


def tokens(seed, count=2, dtype=torch.float32):
    return torch.randn(count, 5, 3, generator=torch.Generator().manual_seed(seed)).to(dtype)


@given(st.lists(st.integers(1, 4), min_size=1, max_size=6), st.integers(0, 1500), st.sampled_from([4, 8]))
def test_what_was_put_last_comes_back_whatever_the_limit(counts, limit, size):
    dtype = {4: torch.float32, 8: torch.float64}[size]
    shelf = Shelf(limit)
    streams = [shelf.stream(), shelf.stream()]
    for number, count in enumerate(counts):
        for which, stream in enumerate(streams):
            stream.append(tokens(2 * number + which, count, dtype))
    for i, batch in enumerate(streams[1]):
        streams[1][i] = batch * 2
    for which, stream in enumerate(streams):
        assert len(stream) == len(counts)
        assert stream.images == sum(counts)
        for number, (count, found) in enumerate(zip(counts, stream, strict=True)):
            assert torch.equal(found, tokens(2 * number + which, count, dtype) * (1 + which))


def test_tokens_that_do_not_lie_in_a_row_are_put_whole():
    stream = Shelf(0).stream()
    turned = tokens(0).transpose(1, 2)
    stream.append(turned)
    assert torch.equal(stream[0], turned)


@pytest.mark.parametrize("limit", [0, 150, 10**6])
@pytest.mark.parametrize("count", [1, 7])
def test_batches_may_become_smaller_and_larger(limit, count):
    stream = Shelf(limit).stream()
    for number in range(3):
        stream.keep(number, tokens(number))
    stream.keep(1, tokens(9, count))
    assert torch.equal(stream[0], tokens(0))
    assert torch.equal(stream[1], tokens(9, count))
    assert torch.equal(stream[2], tokens(2))
    assert len(stream) == 3
    stream.keep(1, tokens(1))  # and back
    assert torch.equal(stream[1], tokens(1)) and torch.equal(stream[2], tokens(2))


def test_what_grows_counts_against_the_limit():
    shelf = Shelf(2 * 30 * 4)
    stream = shelf.stream()
    for number in range(2):
        stream.keep(number, tokens(number))
    stream.keep(0, tokens(5, 3))  # 45 numbers, where 30 are left beside the other batch
    held = [piece for piece in stream._pieces if isinstance(piece, torch.Tensor)]
    assert sum(piece.nbytes for piece in held) <= 2 * 30 * 4
    assert torch.equal(stream[0], tokens(5, 3)) and torch.equal(stream[1], tokens(1))


def test_memory_holds_no_more_than_the_limit():
    shelf = Shelf(100 * 4)
    kept = [shelf.put(tokens(i)) for i in range(9)]
    assert sum(piece.nbytes for piece in kept if isinstance(piece, torch.Tensor)) == 3 * 30 * 4


def test_nothing_is_left_behind(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    stream = Shelf(0).stream()
    stream.append(tokens(0))
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_told_with_what_to_do():
    class Full:
        def seek(self, place):
            pass

        def write(self, data):
            raise OSError(28, "No space left on device")

    shelf = Shelf(0)
    shelf._file = Full()
    with pytest.raises(MergebenchError, match="No space left on device.*TMPDIR.*fewer samples"):
        shelf.stream().append(tokens(0))


@pytest.mark.parametrize("method", ["regmean", "regmean++", "featcal", "lot_merging"])
def test_merges_are_the_same_bits_from_disk(mini, monkeypatch, method):
    def merged():
        base = mini.encoder()
        return mergebench.merge(method, base, mini.experts(base), calibration=mini.calibration())

    held = merged()
    monkeypatch.setattr(ModelPool, "room", lambda self, wanted: 1000)
    spilled = merged()
    assert all(torch.equal(tensor, spilled[name]) for name, tensor in held.items())
