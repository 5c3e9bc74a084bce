"""Images of several tasks as those of one, draws among some of a task's images, and one classifier over their tasks."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mergebench.data.images import DrawnImages, ExplicitBatches, MixedImages
from mergebench.errors import MergebenchError
from mergebench.zoo.heads import ZeroShotHead, joint_head

SIZES = (12, 20, 16, 9)


def task_images(number, total, candidates=None, seed=0, labelled=True):
    """Images whose channels tell the task, the image's index, and its label (the index modulo 3)."""
    index = np.arange(total)
    pixels = np.stack([np.full(total, number), index, index % 3], axis=1)
    images = np.broadcast_to(pixels[:, None, None, :], (total, 2, 2, 3)).astype(np.uint8)
    labels = (index % 3).astype(np.int64) if labelled else None
    return DrawnImages(images, labels, (0.0,) * 3, (1.0,) * 3, f"task {number}", seed, candidates)


def mixed(tasks=4, seed=0):
    return MixedImages([task_images(i, n, seed=seed) for i, n in enumerate(SIZES[:tasks])])


def pixels(images):
    """(task, index) of every image."""
    return [tuple(v) for v in (images[:, :2, 0, 0] * 255).round().long().tolist()]


def seen(source, samples, batch_size=4):
    return [pair for images, _ in source.once(samples, batch_size) for pair in pixels(images)]


@given(st.integers(1, 4), st.integers(1, 36), st.integers(1, 40))
def test_exactly_as_many_images_as_asked_for_evenly_and_each_once(tasks, samples, batch_size):
    found = seen(mixed(tasks), samples := min(samples, 9 * tasks), batch_size)
    assert len(found) == len(set(found)) == samples
    counts = [sum(task == i for task, _ in found) for i in range(tasks)]
    assert max(counts) - min(counts) <= 1


@given(st.integers(0, 5), st.integers(4, 36))
def test_a_tasks_part_is_the_start_of_its_own_draw(seed, samples):
    found = seen(mixed(seed=seed), samples)
    for number, total in enumerate(SIZES):
        part = [pair for pair in found if pair[0] == number]
        assert sorted(part) == sorted(seen(task_images(number, total, seed=seed), len(part)))


def test_fewer_images_than_tasks_leave_some_out():
    found = seen(mixed(4), 3)
    assert len(found) == len({task for task, _ in found}) == 3


def test_no_batch_is_larger_than_asked_for_and_none_has_labels():
    batches = list(mixed().once(30, 7))
    assert [len(images) for images, _ in batches] == [7, 7, 7, 7, 2]  # as those of one task
    assert all(labels is None for _, labels in batches)
    assert all(labels is None for _, labels in itertools.islice(mixed().forever(5), 8))


def test_what_was_drawn_is_known_to_each_task():
    sources = [task_images(i, n) for i, n in enumerate(SIZES)]
    found = seen(MixedImages(sources), 22)
    for number, source in enumerate(sources):
        assert source.drawn.tolist() == sorted(index for task, index in found if task == number)


def test_a_task_with_too_few_images_is_named():
    with pytest.raises(MergebenchError, match="samples=10, but task 'task 3' has 9 calibration images; ask for fewer"):
        seen(mixed(4), 40)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 5, 6, 8])
def test_every_batch_of_a_stream_is_full_and_mixes_the_tasks(batch_size):
    batches = [pixels(images) for images, _ in itertools.islice(mixed(3).forever(batch_size), 12)]
    assert all(len(batch) == batch_size for batch in batches)
    share = max(1, batch_size // 3)
    for batch in batches:
        counts = [sum(task == number for task, _ in batch) for number in range(3)]
        assert max(counts) - min(counts) <= share
    everywhere = [sum(task == number for batch in batches for task, _ in batch) for number in range(3)]
    assert max(everywhere) - min(everywhere) <= share


def test_a_stream_gives_every_task_the_stream_it_has_alone():
    mix = [pair for images, _ in itertools.islice(mixed(3).forever(6), 8) for pair in pixels(images)]
    for number, total in enumerate(SIZES[:3]):
        stream = itertools.islice(task_images(number, total).forever(2), 8)
        assert [pair for pair in mix if pair[0] == number] == [p for images, _ in stream for p in pixels(images)]


def test_one_task_mixed_is_that_task():
    assert seen(mixed(1), 7) == seen(task_images(0, SIZES[0]), 7)


def test_explicit_batches_can_be_mixed_too():
    sources = [ExplicitBatches([torch.full((2, 3, 2, 2), float(i))], "t") for i in range(3)]
    assert [images[:, 0, 0, 0].tolist() for images, _ in MixedImages(sources).once(3, 4)] == [[0, 0, 1, 1], [2, 2]]


@given(st.sets(st.integers(0, 19), min_size=1), st.integers(0, 3), st.integers(1, 8))
def test_a_draw_among_candidates_is_exact_and_takes_no_other(candidates, seed, batch_size):
    allowed = np.array(sorted(candidates))
    everything = seen(task_images(0, 20, allowed, seed), len(allowed), batch_size)
    assert sorted(index for _, index in everything) == allowed.tolist()
    source = task_images(0, 20, allowed, seed)
    fewer = seen(source, (len(allowed) + 1) // 2, batch_size)
    assert set(fewer) <= set(everything)
    assert source.drawn.tolist() == sorted(index for _, index in fewer)
    stream = itertools.islice(task_images(0, 20, allowed, seed).forever(batch_size), 9)
    assert {index for images, _ in stream for _, index in pixels(images)} <= candidates


def test_all_images_as_candidates_are_no_restriction():
    assert seen(task_images(0, 20, np.arange(20)), 9) == seen(task_images(0, 20), 9)


def test_more_than_there_are_candidates_is_refused():
    with pytest.raises(MergebenchError, match="samples=4, but task 'task 0' has 3 calibration images"):
        seen(task_images(0, 20, np.array([1, 5, 7])), 4)


def test_labels_go_with_the_images_that_were_drawn_or_are_none():
    candidates = np.array([1, 4, 7, 10, 12])
    for images, labels in task_images(0, 20, candidates).once(5, 2):
        assert labels.tolist() == [index % 3 for _, index in pixels(images)]
    bare = task_images(0, 20, candidates, labelled=False)
    assert [labels for _, labels in bare.once(5, 2)] == [None] * 3
    assert next(bare.forever(2))[1] is None
    assert seen(bare, 5) == seen(task_images(0, 20, candidates), 5)


def heads(counts, scale=7.0):
    """Heads with one projection and scale."""
    generator = torch.Generator().manual_seed(1)
    projection = torch.randn(6, 10, generator=generator)
    texts = [torch.nn.functional.normalize(torch.randn(n, 6, generator=generator), dim=-1) for n in counts]
    return [ZeroShotHead(projection.clone(), text, torch.tensor(scale)) for text in texts]


@pytest.mark.parametrize("counts", [(3,), (2, 5), (4, 1, 3)])
def test_a_joint_head_gives_the_heads_logits_side_by_side(counts):
    parts = heads(counts)
    features = torch.randn(50, 10, generator=torch.Generator().manual_seed(2))
    side_by_side = torch.cat([head(features) for head in parts], dim=1)
    joint = joint_head(parts)
    torch.testing.assert_close(joint(features), side_by_side, rtol=1e-5, atol=1e-5)
    assert torch.equal(joint(features).argmax(1), side_by_side.argmax(1))
    assert len(side_by_side.argmax(1).unique()) > 1 and not joint.training


def test_a_joint_head_shares_no_text_features_with_the_heads():
    parts = heads((2, 3))
    joint_head(parts).text_features.zero_()
    assert all(head.text_features.any() for head in parts)


@pytest.mark.parametrize("part", ["projection", "logit_scale"])
def test_heads_that_cannot_stand_beside_each_other_are_refused(part):
    first, second, third = heads((2, 3, 4))
    getattr(third, part).mul_(1.01)
    with pytest.raises(MergebenchError, match="different projections or logit scales"):
        joint_head([first, second, third])
    assert len(joint_head([first, second]).text_features) == 5


def test_a_projection_of_another_shape_is_refused():
    (first,) = heads((2,))
    other = ZeroShotHead(torch.ones(6, 11), torch.ones(2, 6), torch.tensor(7.0))
    with pytest.raises(MergebenchError, match="different projections"):
        joint_head([first, other])
