"""The references: the base itself, and each expert on its own task."""

import torch

import mergebench
from mergebench import PerTask


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
