"""ACE-Merging: against NumPy on the unsymmetric system that the equations state, and where it is singular."""

import numpy as np
import pytest
import torch

import mergebench
from mergebench.errors import MergebenchError
from mergebench.methods.ace_merging import heterogeneity, leading_flat, merge_by_estimated_covariance


def system(vectors, epsilon, uneven):
    """A and B of D A = B, term by term, and the tasks' covariances before and after the floor."""
    width = vectors[0].shape[1]
    plain, floored, right = [], [], 0
    for vector in vectors:
        centred = vector - np.ones((len(vector), 1)) * vector.mean(axis=0)
        covariance = centred.T @ centred
        scale = np.trace(covariance) if uneven else 1
        plain.append(covariance / scale)
        floored.append(covariance / scale + epsilon / scale * np.eye(width))
        right = right + centred @ floored[-1]
    prior = sum(plain).mean(axis=0)
    if uneven:
        prior = prior / np.mean([np.linalg.norm(v) ** 2 for v in vectors])
    return sum(floored) + np.ones((width, 1)) * prior, right, plain, floored


def ace(vectors, epsilon=1e-2, threshold=0.3, share=0.3):
    logs = np.log([np.linalg.norm(v) ** 2 for v in vectors])
    uneven = len(vectors) > 1 and logs.var(ddof=1) / logs.mean() ** 2 > threshold
    left, right, plain, floored = system(vectors, epsilon, uneven)
    merged = right @ np.linalg.inv(left)
    if uneven:
        mean = sum(floored) / len(vectors)
        missed = merged + sum(v @ (s - mean) for v, s in zip(vectors, plain, strict=True))
        u, s, vt = np.linalg.svd(missed, full_matrices=False)
        kept = range(max(1, int(share * len(s))))
        merged = merged + sum(np.outer(u[:, i], vt[i]) for i in kept) * np.mean([s[i] for i in kept])
    return merged


def normal(seed, *shape):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("tasks", [1, 2, 3])
@pytest.mark.parametrize(
    "settings",
    [{}, {"epsilon": 1e-3}, {"threshold": 0.0}, {"threshold": 0.0, "epsilon": 0.5, "share": 1.0}, {"scaling": 0.7}],
)
def test_every_matrix_is_merged_by_itself_and_all_else_averaged(mini, tasks, settings):
    base = mini.encoder(dtype=torch.float64)
    start, experts = base.state_dict(), dict(list(mini.experts(base).items())[:tasks])
    merged = mergebench.merge("ace_merging", base, experts, **settings)
    own = {n: v for n, v in settings.items() if n != "scaling"}
    matrices = 0
    for name, value in start.items():
        vectors = [(e[name] - value).squeeze().numpy() for e in experts.values()]
        delta = np.mean(vectors, axis=0).reshape(value.shape)
        if vectors[0].ndim == 2 and min(vectors[0].shape) > 1:
            matrices += 1
            thirds = 3 if name.endswith("attn.qkv.weight") else 1
            parts = zip(*(np.split(v, thirds) for v in vectors), strict=True)
            delta = np.concatenate([ace(list(part), **own) for part in parts]).reshape(value.shape)
        expected = value.numpy() + settings.get("scaling", 1.0) * delta
        np.testing.assert_allclose(merged[name].numpy(), expected, rtol=1e-7, atol=1e-9, err_msg=name)
    assert matrices == 4 * len(base.blocks) + 1  # the linear layers, and the positions


def test_tasks_of_very_different_size_are_uneven_unasked():
    even, uneven = normal(0, 3, 8, 6), normal(0, 3, 8, 6) * torch.tensor([1e-3, 1.0, 1.0])[:, None, None]
    settings = {"epsilon": 1e-2, "threshold": 0.3, "share": 0.3}
    assert heterogeneity(even) < 0.3 < heterogeneity(uneven)
    for vectors in (even, uneven):
        expected = ace(list(vectors.numpy()), **settings)
        np.testing.assert_allclose(merge_by_estimated_covariance(vectors, **settings).numpy(), expected, rtol=1e-6)


def test_unevenness_by_hand():
    # |tau|^2 = e and e^3: logs 1 and 3, of variance 2 and squared mean 4.
    sizes = torch.tensor([np.exp(0.5), np.exp(1.5)], dtype=torch.float64)
    assert heterogeneity(sizes[:, None, None]) == pytest.approx(0.5)
    assert heterogeneity(normal(1, 1, 4, 3)) == 0


def test_the_leading_part_is_flat_and_of_its_rank():
    matrix = normal(2, 9, 6)
    values = torch.linalg.svdvals(matrix)
    for share, kept in ((0.0, 1), (0.34, 2), (1.0, 6)):
        found = torch.linalg.svdvals(leading_flat(matrix, share))
        torch.testing.assert_close(found[:kept], values[:kept].mean().expand(kept))
        torch.testing.assert_close(found[kept:], torch.zeros(6 - kept, dtype=torch.float64))


@pytest.mark.parametrize("rank", [1, 3])
def test_where_the_system_is_singular_its_equations_still_hold(rank):
    # Without a floor, directions that no task moved along are in no covariance.
    vectors = normal(3, 2, 12, rank) @ normal(4, rank, 7)
    merged = merge_by_estimated_covariance(vectors, epsilon=0.0, threshold=10.0, share=0.3).numpy()
    left, right, _, _ = system(list(vectors.numpy()), 0.0, uneven=False)
    assert np.linalg.matrix_rank(left) == rank
    np.testing.assert_allclose(merged @ left, right, rtol=1e-9, atol=1e-9)
    assert np.abs(merged).max() < np.abs(vectors.numpy()).max()


def test_a_row_that_all_outputs_move_by_says_nothing_of_the_inputs():
    shift = normal(5, 1, 6).expand(8, 6)
    merged = merge_by_estimated_covariance(torch.stack([shift, 2 * shift]), epsilon=0.1, threshold=9.0, share=0.3)
    torch.testing.assert_close(merged, torch.zeros(8, 6, dtype=torch.float64), rtol=0, atol=1e-12)


@pytest.mark.parametrize("threshold", [0.0, 0.3])
def test_what_no_expert_moved_stays_and_what_one_left_alone_is_finite(mini, threshold):
    base = mini.encoder()
    start, experts = base.state_dict(), mini.experts(base)
    frozen, half = "blocks.0.mlp.fc1.weight", "blocks.1.attn.qkv.weight"
    for expert in experts.values():
        expert[frozen] = start[frozen]
    experts["cars"][half] = start[half]
    merged = mergebench.merge("ace_merging", base, experts, threshold=threshold)
    assert torch.equal(merged[frozen], start[frozen])
    assert torch.isfinite(merged[half]).all()


def test_single_precision_weights_are_solved_in_double(mini):
    base = mini.encoder()
    experts = mini.experts(base)
    name = "blocks.1.mlp.fc2.weight"
    vectors = [(e[name] - base.state_dict()[name]).double().numpy() for e in experts.values()]
    merged = mergebench.merge("ace_merging", base, experts, epsilon=1e-7)
    expected = base.state_dict()[name].double().numpy() + ace(vectors, epsilon=1e-7)
    np.testing.assert_allclose(merged[name].numpy(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("wrong", [{"epsilon": -1}, {"share": 1.5}, {"threshold": "much"}])
def test_values_out_of_range_are_refused(mini, wrong):
    base = mini.encoder()
    with pytest.raises(MergebenchError, match=next(iter(wrong))):
        mergebench.merge("ace_merging", base, mini.experts(base), **wrong)
