"""Batch norms' statistics measured anew: those of what each is fed in the merged model, and nothing else moves."""

import copy

import pytest
import torch
from torch import nn

from mergebench.conformance.miniature import make_inputs
from mergebench.data.images import ExplicitBatches
from mergebench.errors import MergebenchError
from mergebench.merging.pool import ModelPool
from mergebench.merging.recalibrate import RECALIBRATING, batch_norms, recalibrate


def pool_of(inputs, batches):
    calibration = {t: ExplicitBatches(b, t) for t, b in batches.items()}
    return ModelPool(
        "recalibrate", RECALIBRATING, inputs.base, inputs.base.state_dict(), inputs.experts, calibration=calibration
    )


def images(seed, *sizes):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(n, 3, 32, 32, generator=generator, dtype=torch.float64) + seed for n in sizes]


@pytest.fixture(scope="module")
def case():
    inputs = make_inputs(8, 3, torch.float64, "ResNet")
    batches = {task: images(i, 5) for i, task in enumerate(inputs.experts)}
    state = {n: t.clone() for n, t in inputs.base.state_dict().items()}
    return inputs, batches, state, recalibrate(pool_of(inputs, batches), state, 256)


def test_each_norm_holds_mean_and_variance_of_what_it_is_fed(case):
    inputs, batches, _, found = case
    model, seen = copy.deepcopy(inputs.base).train(), {}
    for name, module in model.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            module.register_forward_pre_hook(lambda _, fed, name=name: seen.update({name: fed[0].detach().clone()}))
    with torch.no_grad():  # all of them fit in one batch
        model(torch.cat([batch for task in inputs.experts for batch in batches[task]]))
    assert len(seen) == len(batch_norms(model)) == 13
    for name, fed in seen.items():
        rows = fed.transpose(0, 1).flatten(1)
        torch.testing.assert_close(found[f"{name}.running_mean"], rows.mean(1))
        torch.testing.assert_close(found[f"{name}.running_var"], rows.var(1))


def test_nothing_else_moves(case):
    inputs, _, state, found = case
    assert list(found) == list(state)
    for name, value in state.items():
        if "running_" not in name and "num_batches" not in name:
            assert torch.equal(found[name], value), name
        assert found[name].dtype == value.dtype


def test_many_images_come_in_batches_of_all_tasks():
    inputs = make_inputs(8, 3, torch.float64, "ResNet")
    batches = {t: images(i, 40) for i, t in enumerate(inputs.experts)}
    state = inputs.base.state_dict()
    found = recalibrate(pool_of(inputs, batches), state, 256)
    assert found["bn1.num_batches_tracked"].item() == 2
    with torch.no_grad():
        fed = [
            inputs.base.conv1(torch.cat([batches[t][0][part] for t in inputs.experts]))
            for part in (slice(20), slice(20, None))
        ]
    means = torch.stack([x.mean((0, 2, 3)) for x in fed]).mean(0)
    torch.testing.assert_close(found["bn1.running_mean"], means)


def test_one_image_has_no_variance():
    inputs = make_inputs(8, 1, torch.float64, "ResNet")
    pool = pool_of(inputs, {t: images(0, 1) for t in inputs.experts})
    with pytest.raises(MergebenchError, match="recalibrate-norms: there is one image in all, which has no variance"):
        recalibrate(pool, inputs.base.state_dict(), 256)


def test_an_encoder_without_batch_norms_is_refused(mini):
    with pytest.raises(MergebenchError, match="recalibrate-norms: this encoder has no batch norms; leave it out"):
        batch_norms(mini.encoder())
