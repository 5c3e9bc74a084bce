"""What a merge holds grows with its experts no more than it need: live tensors are counted, operation by operation.

What the C library and LAPACK hold beside them is measured at real size alone (docs/real-size.md).
"""

import weakref

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mergebench.catalogue import discovery, registry
from mergebench.catalogue.ready import ready
from mergebench.merging import hyperparameters
from mergebench.merging.contract import run_method
from mergebench.merging.pool import ModelPool
from mergebench.methods.components import decompose

WIDTH = 32
FEW, MANY = 8, 16  # experts: enough of them that what grows with their number is the peak


class Held(TorchDispatchMode):
    """Bytes of the tensors that were made inside and are still there: `now`, and the most of them, `peak`."""

    def __init__(self):
        super().__init__()
        self.now = self.peak = 0
        self._tensors = {}  # where memory begins -> its size, how many tensors are in it

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, torch.Tensor) and (start := tensor.untyped_storage().data_ptr()):
                size = tensor.untyped_storage().nbytes()
                self.now += 0 if start in self._tensors else size
                self._tensors[start] = size, self._tensors.get(start, (size, 0))[1] + 1
                weakref.finalize(tensor, self._gone, start)
        self.peak = max(self.peak, self.now)
        return made

    def _gone(self, start):
        size, tensors = self._tensors.pop(start)
        if tensors > 1:
            self._tensors[start] = size, tensors - 1
        else:
            self.now -= size


def normal(shape, seed):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def peak(method, tasks):
    """The most bytes that a merge of float16 experts holds, and those of its largest tensor in float32."""
    encoder = VisionTransformer(img_size=16, patch_size=8, embed_dim=WIDTH, depth=2, num_heads=2, num_classes=0)
    base = {n: t.half() for n, t in encoder.state_dict().items()}
    experts = {
        f"task{i:02}": {n: (t + 0.002 * normal(t.shape, 100 * i + k)).half() for k, (n, t) in enumerate(base.items())}
        for i in range(tasks)
    }
    card = registry.method(method)
    function = discovery.load_function(card)
    pool = ModelPool(method, card.needs, encoder, base, experts)
    with Held() as held:
        run_method(function, pool, hyperparameters.resolve(function, {}), ready)
    return held.peak, max(4 * tensor.numel() for tensor in base.values())


@pytest.mark.parametrize(
    ("method", "tensors"),
    [("average", 0), ("magmax", 0), ("dare", 0), ("task_arithmetic", 1), ("consensus_ta", 1), ("pcb", 1), ("ties", 2)],
)
def test_a_merge_grows_by_so_many_tensors_an_expert(monkeypatch, method, tensors):
    monkeypatch.setattr("mergebench.methods.sparsify.CUT", 2**7)  # small beside a tensor, as it is at real size
    (few, largest), (many, _) = peak(method, FEW), peak(method, MANY)
    assert (many - few) / (MANY - FEW) == pytest.approx(tensors * largest, abs=0.15 * largest)


def test_task_matrices_are_decomposed_one_at_a_time():
    beside = []
    for tasks in (FEW, MANY):
        with Held() as held:
            parts = decompose(normal((tasks, 24, 16), 0))
        kept = sum(part.nbytes for part in parts)
        assert held.now == kept
        beside.append(held.peak - kept - tasks * 24 * 16 * 4)  # what was there to be decomposed
    assert beside[1] == pytest.approx(beside[0], rel=0.1)
