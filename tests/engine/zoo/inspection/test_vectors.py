"""Angles, sizes and signs against vectors laid end to end, and by hand."""

import numpy as np
import pytest
import torch

from mergebench.merging.layout import Layout
from mergebench.zoo.inspection.vectors import conflicts, look_at_vectors, mean_off_diagonal, parts_in_order


def joined(layout, start, state, chosen):
    return np.concatenate([(state[n] - start[n]).numpy().ravel() for n in layout.floating if chosen(n)])


@pytest.mark.parametrize("with_merged", [False, True])
def test_every_part_against_vectors_end_to_end(mini, with_merged):
    base = mini.encoder()
    layout, start, experts = Layout(base), base.state_dict(), mini.experts(base)
    merged = mini.expert(base, 9) if with_merged else None
    found = look_at_vectors(layout, start, experts, merged)
    assert found.names == [*experts, *(["merged"] if with_merged else [])] and found.tasks == len(experts)
    assert list(found.parts) == ["embedding", "block 0", "block 1", "norm", "all"]
    chosen = {
        "block 1": lambda n: n.startswith("blocks.1."),
        "norm": lambda n: n.startswith("norm."),
        "embedding": lambda n: not n.startswith(("blocks.", "norm.")),
        "all": lambda n: True,
    }
    for name, choose in chosen.items():
        part = found.parts[name]
        vectors = np.stack([joined(layout, start, s, choose) for s in (*experts.values(), *filter(None, [merged]))])
        norms = np.linalg.norm(vectors, axis=1)
        np.testing.assert_allclose(part.norms, norms, rtol=1e-5)
        np.testing.assert_allclose(part.cosines, vectors @ vectors.T / np.outer(norms, norms), atol=1e-5)
        tasks = vectors[: len(experts)]
        pairs = [(i, j) for i in range(len(tasks)) for j in range(i)]
        opposed = [(tasks[i] * tasks[j] < 0).sum() / (tasks[i] * tasks[j] != 0).sum() for i, j in pairs]
        assert part.entries == vectors.shape[1]
        assert part.conflict == pytest.approx(np.mean(opposed))
        size = np.sqrt(sum((start[n].numpy() ** 2).sum() for n in layout.floating if choose(n)))
        assert part.base**0.5 == pytest.approx(size, rel=1e-5)


def test_conflicts_by_hand():
    vectors = torch.tensor([[1.0, 1, 0, -2, 0], [2.0, -1, 3, -1, 0], [0.0, 0, 0, 4, 0]])
    # One pair at the first two entries, none at the third, three at the fourth, of which two are opposed.
    assert conflicts(vectors) == (5, 3)


def test_tasks_that_did_not_move_have_no_angle(mini):
    base = mini.encoder()
    same = base.state_dict()
    whole = look_at_vectors(Layout(base), same, {"a": same, "b": mini.expert(base, 0)}).parts["all"]
    assert whole.norms[0] == 0 and torch.isnan(whole.cosines[0]).all()
    assert np.isnan(whole.conflict)


def test_means_leave_oneself_out():
    matrix = torch.tensor([[1.0, 0.2, 0.4, 9], [0.2, 1, 0.6, 9], [0.4, 0.6, 1, 9], [9, 9, 9, 9]])
    torch.testing.assert_close(mean_off_diagonal(matrix, 3), torch.tensor([0.3, 0.4, 0.5]))
    assert torch.isnan(mean_off_diagonal(matrix, 1)).all()


def test_parts_come_from_front_to_end(mini):
    assert parts_in_order(Layout(mini.encoder(depth=3)))[:4] == ["embedding", "block 0", "block 1", "block 2"]
