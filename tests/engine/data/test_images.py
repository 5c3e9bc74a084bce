"""Where images come from: a draw is exact, nested, seeded and recorded; explicit batches are used as they are."""

import itertools

import numpy as np
import pytest
import torch

from mergebench.data.images import DrawnImages, ExplicitBatches, JoinedImages, normalise
from mergebench.errors import MergebenchError

TOTAL = 40
MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)


def draw(task="cars", seed=0, total=TOTAL):
    """Images whose every pixel tells their index, labelled by it."""
    index = np.arange(total)
    images = np.broadcast_to(index[:, None, None, None], (total, 2, 2, 3)).astype(np.uint8)
    return DrawnImages(images, index.astype(np.int64), (0.0,) * 3, (1.0,) * 3, task, seed)


def indices(source, samples, batch_size=16):
    """What was drawn, by the pixels; the labels must tell the same."""
    found = []
    for images, labels in source.once(samples, batch_size):
        assert images.dtype == torch.float32
        assert images.shape[1:] == (3, 2, 2)
        by_pixel = (images[:, 0, 0, 0] * 255).round().long()
        assert torch.equal(by_pixel, labels)
        found += by_pixel.tolist()
    return found


@pytest.mark.parametrize("batch_size", [1, 7, 16, 64])
def test_exactly_as_many_images_as_asked_for_each_once(batch_size):
    for samples in range(1, TOTAL + 1):
        found = indices(draw(), samples, batch_size)
        assert len(found) == len(set(found)) == samples


def test_no_batch_is_larger_than_asked_for():
    assert [len(b) for b, _ in draw().once(20, 8)] == [8, 8, 4]


def test_a_smaller_draw_is_part_of_a_larger_one():
    drawn = [set(indices(draw(), n)) for n in range(1, TOTAL + 1)]
    assert all(a < b for a, b in itertools.pairwise(drawn))


def test_the_draw_is_shuffled_over_the_whole_split():
    # Twenty of forty: the first half of the file in order would be a broken shuffle.
    found = set(indices(draw(), 20))
    assert 3 < len(found & set(range(20))) < 17


def test_the_same_seed_draws_the_same_images_and_another_does_not():
    assert indices(draw(seed=3), 10) == indices(draw(seed=3), 10)
    assert indices(draw(), 10, batch_size=4) != indices(draw(seed=1), 10, batch_size=4)
    assert set(indices(draw(), 10)) != set(indices(draw(seed=1), 10))
    assert set(indices(draw("cars"), 10)) != set(indices(draw("birds"), 10))


def test_reading_one_source_twice_gives_the_same_images():
    source = draw()
    assert indices(source, 9) == indices(source, 9)


def test_more_than_there_are_is_refused():
    with pytest.raises(MergebenchError, match=r"samples=41, but task 'cars' has 40 calibration images; ask for fewer"):
        list(draw().once(TOTAL + 1, 8))


def test_streams_give_full_batches_and_reshuffle_every_pass():
    batches = list(itertools.islice(draw().forever(16), 8))
    assert [len(b) for b, _ in batches] == [16] * 8
    passes = [torch.cat([labels for _, labels in batches[i : i + 2]]).tolist() for i in (0, 2, 4, 6)]
    assert all(len(set(p)) == 32 for p in passes)  # within a pass no image comes twice
    assert len({tuple(p) for p in passes}) == 4
    again = list(itertools.islice(draw().forever(16), 8))
    assert all(torch.equal(a[0], b[0]) for a, b in zip(batches, again, strict=True))


def test_a_stream_reaches_every_image():
    source = draw()
    seen = {i for _, labels in itertools.islice(source.forever(16), 30) for i in labels.tolist()}
    assert seen == set(range(TOTAL))


def test_a_batch_larger_than_the_split_is_the_split():
    images, labels = next(draw(total=5).forever(16))
    assert sorted(labels.tolist()) == list(range(5))
    assert len(images) == 5


def test_the_fingerprint_tells_which_images_were_drawn():
    def after(samples, **other):
        source = draw(**other)
        list(source.once(samples, 8))
        return source.fingerprint

    assert draw().fingerprint == ""
    assert after(10) == after(10)
    assert len({after(10), after(11), after(10, seed=1), after(10, task="birds")}) == 4


def test_the_fingerprint_does_not_depend_on_how_the_images_were_batched():
    first, second = draw(), draw()
    list(first.once(12, 5))
    list(second.once(12, 12))
    list(second.once(3, 1))  # part of the larger draw: nothing new
    assert first.fingerprint == second.fingerprint


def test_the_draw_works_on_a_memory_map(tmp_path):
    path = tmp_path / "images.npy"
    index = np.arange(TOTAL)
    np.save(path, np.broadcast_to(index[:, None, None, None], (TOTAL, 2, 2, 3)).astype(np.uint8))
    mapped = DrawnImages(np.load(path, mmap_mode="r"), index, (0.0,) * 3, (1.0,) * 3, "cars", 0)
    assert indices(mapped, 13) == indices(draw(), 13)


def test_normalising_is_per_channel():
    images = np.random.default_rng(0).integers(0, 256, (2, 4, 5, 3)).astype(np.uint8)
    expected = ((images / 255 - np.array(MEAN)) / np.array(STD)).transpose(0, 3, 1, 2)
    found = normalise(torch.from_numpy(images), MEAN, STD)
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5, atol=1e-6)


def test_explicit_batches_are_all_used_in_order_again_and_again():
    batches = [torch.full((n, 3, 4, 4), float(n)) for n in (3, 1, 2)]
    source = ExplicitBatches(iter(batches), "cars")
    for _ in range(2):
        given = list(source.once(samples=1, batch_size=1))
        assert all(torch.equal(a, b) for (a, _), b in zip(given, batches, strict=True))
        assert all(labels is None for _, labels in given)
    endless = itertools.islice(source.forever(64), 7)
    assert [len(images) for images, _ in endless] == [3, 1, 2, 3, 1, 2, 3]


@pytest.mark.parametrize("pair", [tuple, list])
def test_explicit_pairs_keep_their_labels(pair):
    images, labels = torch.zeros(2, 3, 4, 4), torch.tensor([5, 6])
    ((found, kept),) = ExplicitBatches([pair((images, labels))], "cars").once(1, 1)
    assert torch.equal(found, images)
    assert kept.tolist() == [5, 6]


def test_joined_arrays_give_the_rows_of_their_concatenation_and_read_no_others():
    read = []

    class Watched(np.ndarray):
        def __getitem__(self, rows):
            read.append(len(rows))
            return np.asarray(self)[rows]

    rng = np.random.default_rng(0)
    arrays = [rng.integers(0, 256, (count, 4, 5, 3), dtype=np.uint8) for count in (3, 0, 7, 1)]
    joined, whole = JoinedImages([array.view(Watched) for array in arrays]), np.concatenate(arrays)
    assert len(joined) == len(whole) == 11
    for rows in (np.arange(11), np.array([10, 3, 2, 2, 9]), np.array([4]), np.array([], dtype=np.int64)):
        read.clear()
        made = joined[rows]
        assert made.dtype == np.uint8 and np.array_equal(made, whole[rows]) and sum(read) == len(rows)
    with pytest.raises(MergebenchError, match="images of different sizes"):
        JoinedImages([arrays[0], arrays[0][:, :2]])
