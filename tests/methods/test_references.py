"""The references: the base itself, each expert on its own task, and one model trained on all tasks."""

import pytest
import torch

import mergebench
from mergebench import PerTask
from mergebench.errors import NeedsError


def test_pretrained_is_the_base(mini):
    base = mini.encoder()
    merged = mergebench.merge("pretrained", base, mini.experts(base))
    assert all(torch.equal(merged[n], t) for n, t in base.state_dict().items())


def test_finetuned_gives_every_task_its_own_expert(mini):
    base = mini.encoder()
    experts = mini.experts(base)
    result = mergebench.merge("finetuned", base, experts)
    assert isinstance(result, PerTask)
    assert set(result) == set(experts)
    for task, expert in experts.items():
        assert all(torch.equal(result[task][n], t) for n, t in expert.items()), task


def test_multitask_is_the_joint_model_and_needs_one(mini):
    base = mini.encoder()
    experts, trained = mini.experts(base), mini.expert(base, 7)
    merged = mergebench.merge("multitask", base, experts, joint=trained)
    assert all(torch.equal(merged[n], t) for n, t in trained.items())
    with pytest.raises(NeedsError, match="needs a model trained on birds, cars, digits together"):
        mergebench.merge("multitask", base, experts)
