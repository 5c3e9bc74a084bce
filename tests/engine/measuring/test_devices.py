"""Several devices, here two processes on the CPU: they learn and measure what one does."""

import multiprocessing
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from lightning.pytorch.strategies import DDPStrategy

from mergebench.data.image_cache import Split
from mergebench.errors import MergebenchError
from mergebench.measuring.classifier import SuiteDataModule
from mergebench.measuring.devices import placement, strategy
from mergebench.measuring.evaluation import evaluate
from mergebench.merging.contract import PerTask
from mergebench.training.batches import TrainingSet
from mergebench.training.finetuning import finetune

SCALES = {"mean": (0.5,) * 3, "std": (0.25,) * 3}


def make_split(folder, count, classes, seed):
    """A memory-mapped split, as the cache gives it."""
    rng = np.random.default_rng(seed)
    np.save(folder / f"{seed}.npy", rng.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8))
    return Split(np.load(folder / f"{seed}.npy", mmap_mode="r"), rng.integers(0, classes, count), str(seed))


@pytest.fixture
def imported_once(monkeypatch):
    """Processes are forked from one that has imported everything, where each would do so anew: less to wait for.

    They are handed the same bytes. (Not once a GPU was used: Lightning refuses then.)
    """
    if not torch.cuda.is_initialized():
        multiprocessing.set_forkserver_preload(["mergebench.training.finetuning", "timm"])
        forked = DDPStrategy(start_method="forkserver")
        monkeypatch.setattr(
            "mergebench.training.finetuning.strategy", lambda count: forked if count == 2 else strategy(count)
        )


def test_two_devices_learn_what_one_does(mini, tmp_path, imported_once):
    heads = mini.heads()
    splits = {"birds": make_split(tmp_path, 20, 3, 0), "cars": make_split(tmp_path, 31, 4, 1)}
    sets = [TrainingSet(heads[t], s.images, s.labels, s.digest) for t, s in splits.items()]
    options = {"steps": 6, "batch_size": 7, "learning_rate": 1e-3, "warmup": 0, "augment": "affine", "lora": 2}
    base = mini.encoder(depth=1)
    states = []
    for devices in (1, 2):
        encoder = mini.load(base, base.state_dict())
        folder = tmp_path / f"{devices}"
        states.append(
            finetune(encoder, sets, **SCALES, **options, accelerator="cpu", devices=devices, checkpoint_dir=folder)
        )
        assert (folder / "progress.ckpt").exists()
    moved = max((states[0][n] - t).abs().max() for n, t in base.state_dict().items())
    assert moved > 1e-3
    for name, tensor in states[0].items():
        torch.testing.assert_close(states[1][name], tensor, rtol=1e-4, atol=1e-5)


@pytest.mark.long
def test_two_devices_measure_what_one_does(mini, tmp_path, capfd):
    base, heads, done = mini.encoder(depth=1), mini.heads(), []
    # Of three tasks, one has fewer images than a batch; batches go to the devices by turns.
    splits = {t: make_split(tmp_path, n, 3 + i, i) for i, (t, n) in enumerate(zip(heads, (600, 5, 300), strict=True))}
    one, two = (
        evaluate(base, base.state_dict(), heads, splits, **SCALES, devices=n, on_task=done.append) for n in (1, 2)
    )
    assert two.scores == one.scores and list(two.scores) == list(heads)
    assert all(np.array_equal(two.predictions[t], one.predictions[t]) for t in heads)
    assert done == [*heads, *heads]
    assert [score.total for score in two.scores.values()] == [600, 5, 300]
    told = "".join(capfd.readouterr())
    assert not any(notice in told for notice in ("Initializing", "across ranks", "was called before", "sync_dist"))


def test_no_more_devices_are_used_than_there_are_batches(mini, tmp_path):
    """One batch a task: nothing is left for a second device, and no process is started."""
    heads = mini.heads()
    splits = {t: make_split(tmp_path, 9, 3, i) for i, t in enumerate(heads)}
    base = mini.encoder(depth=1)
    experts = PerTask(mini.experts(base))
    found = evaluate(base, experts, heads, splits, **SCALES, devices=2)
    whole = evaluate(base, experts, heads, splits, **SCALES)
    assert found.scores == whole.scores and list(found.scores) == list(heads)


def test_a_batch_a_device_is_the_least(mini, tmp_path):
    split = make_split(tmp_path, 9, 3, 0)
    sets = [TrainingSet(mini.head(0), split.images, split.labels)]
    with pytest.raises(MergebenchError, match="batch_size=2, but there are 3 devices"):
        finetune(mini.encoder(), sets, **SCALES, batch_size=2, devices=3, accelerator="cpu")


@pytest.mark.parametrize("world", [2, 3, 5])
def test_what_devices_made_of_their_batches_is_put_in_order(world, mini, tmp_path):

    splits = {
        "a": make_split(tmp_path, 7, 3, 0),
        "b": make_split(tmp_path, 1, 3, 1),
        "c": make_split(tmp_path, 12, 3, 2),
    }
    data, shares = SuiteDataModule(splits, batch_size=2), []
    for rank in range(world):
        data.trainer = SimpleNamespace(global_rank=rank, world_size=world)
        loaders = zip(splits, data.test_dataloader(), strict=True)
        shares.append({task: [labels for _, labels in loader] for task, loader in loaders})
    for task, labels in data.in_order(shares).items():
        np.testing.assert_array_equal(labels.numpy(), splits[task].labels)


def test_more_gpus_than_there_are_from_the_first_on_are_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert placement("cuda", 2) == {"accelerator": "gpu", "devices": [0, 1]}
    with pytest.raises(MergebenchError, match="no 2 GPUs from cuda:1 on: this machine has 2; ask for fewer devices"):
        placement("cuda:1", 2)
