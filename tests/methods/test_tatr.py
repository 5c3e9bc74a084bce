"""TATR: against gradients of one image after the other and sums over pairs of tasks, entry by entry."""

import pytest
import torch
from torch import nn

import mergebench
from mergebench.errors import MergebenchError, NeedsError
from mergebench.zoo.heads import ZeroShotHead


@pytest.fixture(scope="module")
def case(mini):
    base = mini.encoder(dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    heads, images = {}, {}
    for i, task in enumerate(mini.tasks):
        draw = [torch.randn(*shape, generator=generator) for shape in ((12, base.embed_dim), (4, 12))]
        heads[task] = ZeroShotHead(*draw, torch.tensor(1.5)).double().eval()
        images[task] = [(mini.images(i, 5, torch.float64), torch.tensor([0, 3, 1, 2, 2]))]
    return base, mini.experts(base), heads, images


def slopes_of(base, head, batches):
    """Mean magnitudes of gradients, by backward."""
    names = dict(base.named_parameters())
    total = {n: torch.zeros_like(p) for n, p in names.items()}
    for images, labels in batches:
        for image, label in zip(images, labels, strict=True):
            model = nn.Sequential(base, head).requires_grad_()
            model.zero_grad()
            (-model(image[None]).log_softmax(-1)[0, label]).backward()
            for n, p in names.items():
                total[n] += p.grad.abs() / len(images)
    base.requires_grad_(requires_grad=False)
    return total


def expected(start, experts, slopes, removed, scaling):
    names = list(start)
    vectors = {t: {n: e[n] - start[n] for n in names} for t, e in experts.items()}
    omega = {n: sum(slopes[i][n] * vectors[j][n].abs() for i in experts for j in experts if i != j) for n in names}
    joined = torch.cat([omega[n].flatten() for n in names])
    count = int(removed * joined.numel() + 1e-9)
    bar = joined.sort().values[-count] if count else float("inf")
    return {n: start[n] + scaling * sum(v[n] for v in vectors.values()) * (omega[n] < bar) for n in names}


@pytest.mark.parametrize("removed", [0.0, 0.01, 0.4])
@pytest.mark.parametrize("sensitivity", ["gradients", "changes"])
def test_against_sums_over_pairs(mini, case, removed, sensitivity):
    base, experts, heads, images = case
    start = {n: v.clone() for n, v in base.state_dict().items()}
    given = {"calibration": images, "heads": heads} if sensitivity == "gradients" else {}
    merged = mergebench.merge("tatr", base, experts, removed=removed, scaling=0.4, sensitivity=sensitivity, **given)
    if sensitivity == "gradients":
        slopes = {t: slopes_of(mini.load(base, start), heads[t], images[t]) for t in experts}
    else:
        slopes = {t: {n: (e[n] - start[n]).abs() for n in start} for t, e in experts.items()}
    stays = 0
    for name, value in expected(start, experts, slopes, removed, 0.4).items():
        torch.testing.assert_close(merged[name], value, rtol=1e-9, atol=1e-11, msg=name)
        stays += (merged[name] == start[name]).sum().item()
    assert stays == int(removed * sum(v.numel() for v in start.values()) + 1e-9)


def test_with_nothing_removed_it_is_task_arithmetic(case):
    base, experts, heads, images = case
    merged = mergebench.merge("tatr", base, experts, removed=0.0, calibration=images, heads=heads)
    for name, value in mergebench.merge("task_arithmetic", base, experts).items():
        torch.testing.assert_close(merged[name], value, rtol=1e-12, atol=1e-12)


def test_gradients_need_labels_and_changes_need_no_images(case):
    base, experts, heads, images = case
    bare = {t: [x for x, _ in batches] for t, batches in images.items()}
    with pytest.raises(NeedsError, match="labels"):
        mergebench.merge("tatr", base, experts, calibration=bare, heads=heads)
    with pytest.raises(MergebenchError, match="calibration"):
        mergebench.merge("tatr", base, experts)


def test_values_out_of_range_are_refused(case):
    base, experts, *_ = case
    with pytest.raises(MergebenchError, match="removed"):
        mergebench.merge("tatr", base, experts, sensitivity="changes", removed=1.5)
