"""Methods that decompose, where a decomposition has no one answer: low rank, rounding, equal values, other threads."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer

import mergebench
from mergebench.methods.components import decompose, recombine
from mergebench.methods.doge import shared_subspace
from mergebench.methods.iso import common_and_specific, flattened_sum
from mergebench.methods.opcm import without_merged_directions
from mergebench.methods.spectral import Rounding, polar_factor, task_matrices, triplets
from mergebench.methods.svc import calibrated_spectrum
from mergebench.methods.tsv_m import decorrelated_sum
from mergebench.zoo.heads import ZeroShotHead

PER_MATRIX = {
    "tsv_m": decorrelated_sum,
    "iso_c": flattened_sum,
    "iso_cts": lambda vectors, rounding=None: common_and_specific(vectors, 0.8, rounding),
}
# What of a merged change may lie outside the experts' own directions: rounding over the smallest of their values.
OUTSIDE = {torch.float32: 1e-4, torch.float16: 0.1, torch.bfloat16: 0.2}


def normal(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def rotation(size, seed=0):
    return torch.linalg.qr(normal(size, size, seed=seed)).Q


def outside(change, span):
    """The share of a change's norm outside the columns that span [m, k] has."""
    basis = torch.linalg.qr(span).Q
    return ((change - basis @ (basis.T @ change)).norm() / change.norm()).item()


def adapted(rank, tasks, dtype, shared=False, size=64):
    """Base, experts as stored, and the tasks' true columns and rows, which fall off by a factor of thirty."""
    base = (0.05 * normal(size, 48, seed=9)).to(dtype)
    columns = [normal(size, rank, seed=i) * torch.logspace(0, -1.5, rank) for i in range(tasks)]
    rows = [normal(rank, 48, seed=0 if shared else 50 + i) for i in range(tasks)]
    experts = [(base.double() + 0.02 * c @ r).to(dtype) for c, r in zip(columns, rows, strict=True)]
    return base.float(), torch.stack(experts).float(), torch.cat(columns, dim=1), torch.cat(rows).T


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("dtype", OUTSIDE)
@pytest.mark.parametrize("name", PER_MATRIX)
def test_what_experts_of_low_rank_left_alone_stays_alone(name, dtype, shared):
    base, experts, columns, rows = adapted(3, 4, dtype, shared)
    merged = PER_MATRIX[name](*task_matrices(base, experts))
    assert outside(merged, columns) < OUTSIDE[dtype]
    assert outside(merged.T, rows if not shared else rows[:, :3]) < OUTSIDE[dtype]


def test_two_matrices_of_rank_one_make_no_more_than_rank_two():
    vectors = torch.stack([torch.outer(normal(16, seed=i), normal(16, seed=10 + i)) for i in range(2)])
    for given in (vectors, vectors.float()):
        merged = common_and_specific(given, 0.8)
        values = torch.linalg.svdvals(merged.double())
        assert (values > 1e-5 * values[0]).sum() == 2
        # The sum's two values, over the sixteen that there could be.
        torch.testing.assert_close(
            values[:2].mean(), torch.linalg.svdvals(vectors.sum(0)).sum() / 16, rtol=1e-5, atol=0
        )


def test_what_common_directions_hold_whole_leaves_nothing_however_small_it_is_beside_another():
    # A residual's own largest value is rounding; beside the matrix that it is left of it is nothing.
    large, small = (torch.outer(normal(12, seed=i), normal(12, seed=i + 1)) for i in (0, 2))
    vectors = torch.stack([1e3 * large, small])
    merged = common_and_specific(vectors, 0.5)
    assert torch.linalg.matrix_rank(merged, rtol=1e-6) == 2


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_noise_is_told_of_low_rank_alone_and_bounds_what_rounding_did(dtype):
    base, experts, *_ = adapted(3, 2, dtype)
    full = (base.double() + 0.02 * normal(64, 48, seed=3)).to(dtype).float()
    vectors, rounding = task_matrices(base, torch.stack([*experts, full, base]))
    assert rounding.eps == torch.finfo(torch.float32).eps
    assert rounding.noise[2] == 0
    exact = torch.linalg.svdvals(vectors)
    for values, noise in zip(exact[:2], rounding.noise[:2], strict=True):
        assert 0.1 * noise < values[3] < noise < values[2]


def test_values_of_a_coarser_format_count_as_that():
    base, experts, *_ = adapted(3, 2, torch.float16)
    for wider in (torch.float32, torch.float64):
        _, rounding = task_matrices(base.to(wider), experts.to(wider))
        torch.testing.assert_close(rounding.noise, task_matrices(base, experts)[1].noise)
    finer = task_matrices(base, experts + 1e-6 * normal(*experts.shape).float())[1].noise
    assert (finer < rounding.noise / 100).all()


def test_experts_of_full_rank_are_merged_as_if_nothing_were_told_of_rounding():
    base = (0.05 * normal(32, 24)).half()
    experts = (base + 0.02 * normal(3, 32, 24, seed=1)).half()
    vectors, rounding = task_matrices(base.float(), experts.float())
    assert not rounding.noise.any()
    for merge in PER_MATRIX.values():
        torch.testing.assert_close(merge(vectors, rounding), merge(vectors), rtol=1e-9, atol=1e-12)


def tied(count=6, rows=8, columns=7):
    """A matrix whose singular values are 3, 2, ..., 2, 1, in random bases."""
    values = torch.tensor([3.0, *[2.0] * (count - 2), 1.0], dtype=torch.float64)
    return rotation(rows, 1)[:, :count] * values @ rotation(columns, 2)[:, :count].T


def test_values_that_tie_at_a_cut_are_in_together():
    matrix = tied()
    assert [(triplets(matrix, k)[1] > 0).sum().item() for k in (0, 1, 2, 4, 5, 6)] == [0, 1, 5, 5, 5, 6]
    # In a stack the others keep what was asked for.
    left, values, right = triplets(torch.stack([matrix, normal(8, 7)]), 2)
    assert (values > 0).sum(1).tolist() == [5, 2]
    assert left.shape == (2, 8, 5) and right.shape == (2, 5, 7)


@pytest.mark.parametrize("name", PER_MATRIX)
def test_turning_what_ties_turns_the_result_and_changes_nothing_else(name):
    # Whatever basis of the tied directions a decomposition picks, it picks another one for the turned matrices.
    vectors = torch.stack([tied(), tied().flip(0)])
    left, right = rotation(8, 5), rotation(7, 6)
    merged = PER_MATRIX[name](vectors)
    assert merged.norm() > 1
    torch.testing.assert_close(PER_MATRIX[name](left @ vectors @ right), left @ merged @ right, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.6, 1.0])
def test_opcm_closes_tied_directions_as_one(share):
    merged, vector = tied(), normal(8, 7, seed=4)
    left, right = rotation(8, 5), rotation(7, 6)
    kept = without_merged_directions(vector, merged, share)
    again = without_merged_directions(left @ vector @ right, left @ merged @ right, share)
    torch.testing.assert_close(again, left @ kept @ right, rtol=1e-9, atol=1e-9)
    own, values, others = torch.linalg.svd(merged)
    block = own[:, 1:5].T @ kept @ others[1:5].T
    assert block.abs().max() < 1e-9


def test_svc_calibrates_tied_directions_as_one():
    merged, vectors = tied(), normal(2, 8, 7, seed=4)
    left, right = rotation(8, 5), rotation(7, 6)
    once = calibrated_spectrum(merged, vectors, 0.2)
    again = calibrated_spectrum(left @ merged @ right, left @ vectors @ right, 0.2)
    torch.testing.assert_close(again, left @ once @ right, rtol=1e-9, atol=1e-9)


def test_adarank_lets_tied_components_in_together():
    vectors = torch.stack([tied(), normal(8, 7)])
    parts = decompose(vectors)
    assert parts.first[0, :6].tolist() == [0, 1, 1, 1, 1, 5]
    assert parts.first[1].tolist() == list(range(7))
    gates = torch.zeros_like(parts.values)
    gates[0, :2] = 1  # the second of them alone
    own, values, others = torch.linalg.svd(vectors[0], full_matrices=False)
    torch.testing.assert_close(recombine(parts, gates), own[:, :5] * values[:5] @ others[:5])


def test_equal_experts_share_their_directions_whole():
    one = normal(12, 12)
    basis = shared_subspace(torch.stack([one] * 3), 2)  # all four of each are in common, and none before another
    own = torch.linalg.svd(one)[0][:, :4]
    torch.testing.assert_close(basis @ basis.T, own @ own.T)


def test_columns_that_differ_by_their_noise_alone_are_one():
    one, other = normal(10), normal(10, seed=1)
    columns = torch.stack([one, one + 1e-4 * normal(10, seed=2), other], dim=1)
    columns = columns / columns.norm(dim=0)
    noise = torch.tensor([0.0, 1e-3, 1e-3], dtype=torch.float64)
    assert torch.linalg.matrix_rank(polar_factor(columns)) == 3
    assert torch.linalg.matrix_rank(polar_factor(columns, Rounding(1e-16, noise))) == 2


THREADS = """
import pickle, sys
import torch
torch.set_num_threads(int(sys.argv[1]))
import mergebench
from mergebench.conformance.candidate import shortened
from mergebench.catalogue import registry
base, kinds, given = pickle.load(open(sys.argv[2], "rb"))
for name in sys.argv[4:]:
    settings = shortened(registry.method(name), {})
    for kind, experts in kinds.items():
        given[name, kind] = mergebench.merge(name, base, experts, **given.get(name, {}), **settings)
pickle.dump({k: v for k, v in given.items() if isinstance(k, tuple)}, open(sys.argv[3], "wb"))
"""


def low_rank(base, seed, rank, places=None):
    """An expert whose linear layers moved along a few directions: random ones, or these of one basis."""

    def moved(name, value):
        if value.ndim != 2 or not name.startswith("blocks."):
            return value.clone()
        left, right = normal(len(value), rank, seed=seed), normal(value.shape[1], rank, seed=seed + 100)
        if places is not None:
            left, right = 8 * rotation(len(value))[:, places], 8 * rotation(value.shape[1], 1)[:, places]
        return value + (0.02 * left @ right.T).float()

    return {n: moved(n, v) for n, v in base.state_dict().items()}


DECOMPOSING = [
    "ace_merging", "adarank", "aswudi", "cart", "core_space", "dc_merge", "doge_am", "doge_ta", "esm", "iso_c",
    "iso_cts", "knots", "opcm", "subspace_boosting", "svc", "swudi", "tsv_m",
]  # fmt: skip


@pytest.fixture(scope="module")
def by_threads(mini, tmp_path_factory):
    """(method, kind of experts) -> the merge of one thread, and of two."""
    folder = tmp_path_factory.mktemp("threads")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        # Wide enough for threads to share a decomposition's work.
        base = VisionTransformer(
            img_size=32, patch_size=8, embed_dim=96, depth=1, num_heads=2, num_classes=0, global_pool="token"
        ).eval()
        heads = {t: ZeroShotHead(torch.randn(16, 96), torch.randn(4, 16), torch.tensor(1.0)).eval() for t in "abc"}
    moved = [mini.expert(base, i, scale=0.02) for i in range(3)]
    low = [low_rank(base, i, 3) for i in range(3)]
    same = base.state_dict()
    kinds = {
        "equal": [moved[0]] * 3,
        "equal, of low rank": [low[0]] * 3,
        "one is the base": [*moved[:2], same],
        "rank one": [low_rank(base, i, 1) for i in range(3)],
        "orthogonal, of low rank": [low_rank(base, i, 2, slice(2 * i, 2 * i + 2)) for i in range(3)],
        "of low rank": low,
        "of full rank": moved,
    }
    kinds = {kind: dict(zip("abc", experts, strict=True)) for kind, experts in kinds.items()}
    images = {t: [mini.images(i, 4)] for i, t in enumerate("abc")}
    given = {name: {"test_inputs": images, "heads": heads} for name in ("adarank", "doge_am")}
    given["esm"] = {"calibration": images}
    (folder / "given").write_bytes(pickle.dumps((base, kinds, given)))
    made = []
    for threads in "12":
        out = folder / threads
        command = [sys.executable, "-c", THREADS, threads, str(folder / "given"), str(out), *DECOMPOSING]
        subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": threads})
        made.append(pickle.loads(out.read_bytes()))
    return same, {key: (made[0][key], made[1][key]) for key in made[0]}


@pytest.mark.long
@pytest.mark.parametrize("name", DECOMPOSING)
def test_one_thread_and_two_give_one_answer(by_threads, name):
    start, results = by_threads
    for (method, kind), (one, two) in results.items():
        if method == name:
            size = sum((one[n] - v).square().sum() for n, v in start.items()).sqrt()
            gap = sum((one[n] - two[n]).square().sum() for n in start).sqrt()
            assert gap <= 1e-5 * size, kind


def test_the_methods_held_to_it_are_those_that_decompose():
    folder = Path(mergebench.__file__).parents[1] / "methods"
    users = {"svd", "triplets(", "directions(", "polar_factor(", "shared_subspace("}
    found = {p.stem for p in folder.glob("*.py") if any(word in p.read_text() for word in users)}
    # Components are adarank's, factors those of the two that merge adapters.
    parts = {"components": "adarank", "doge": "doge_ta", "iso": "iso_c", "factors": "knots"}
    assert {parts.get(name, name) for name in found - {"spectral", "decomposition"}} <= set(DECOMPOSING)
