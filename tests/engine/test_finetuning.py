"""Fine-tuning on a miniature: it learns, the head stays frozen, the seed decides, an interrupted run goes on."""

import copy
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from mergebench.errors import MergebenchError
from mergebench.finetuning import FineTuning, finetune
from mergebench.heads import ZeroShotHead
from mergebench.tasks.tiny.model import create_encoder
from mergebench.training import Schedule, parameter_groups
from mergebench.training_batches import Preparation, TrainingSet, make_streams

CLASSES, WIDTH, SIDE = 3, 8, 8


class Encoder(nn.Module):
    """Two layers, so that one can be frozen."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Linear(3 * SIDE * SIDE, WIDTH)
        self.last = nn.Linear(WIDTH, WIDTH)

    def forward(self, images):
        return self.last(torch.tanh(self.stem(images.flatten(1))))


@pytest.fixture
def parts():
    torch.manual_seed(0)
    labels = torch.arange(48) % CLASSES
    images = torch.randint(0, 100, (48, SIDE, SIDE, 3), dtype=torch.uint8)
    images[torch.arange(48), :, :, labels] += 100  # the class is the brightest channel
    head = ZeroShotHead(torch.randn(6, WIDTH), nn.functional.normalize(torch.randn(CLASSES, 6)), torch.tensor(10.0))
    return Encoder(), head, images, labels


def run(parts, **options):
    encoder, head, images, labels = parts
    settings = {"steps": 40, "batch_size": 16, "learning_rate": 1e-2, "accelerator": "cpu"}
    settings |= {"mean": (0.5,) * 3, "std": (0.25,) * 3} | options
    return finetune(copy.deepcopy(encoder), [TrainingSet(head, images, labels)], **settings)


def loss(parts, state):
    encoder, head, images, labels = copy.deepcopy(parts)
    encoder.load_state_dict(state)
    pixels = (images.permute(0, 3, 1, 2) / 255 - 0.5) / 0.25
    return nn.functional.cross_entropy(head(encoder(pixels)), labels).item()


def test_the_loss_falls_and_the_head_stays(parts):
    head = copy.deepcopy(parts[1].state_dict())
    state = run(parts)
    assert loss(parts, state) < 0.5 * loss(parts, parts[0].state_dict())
    assert all(torch.equal(tensor, parts[1].state_dict()[name]) for name, tensor in head.items())
    assert list(state) == list(parts[0].state_dict())
    assert all(tensor.dtype == torch.float32 and tensor.isfinite().all() for tensor in state.values())


def test_matrices_alone_are_decayed():
    encoder = create_encoder()
    decayed, others = parameter_groups(encoder, 0.1)
    names = {id(p): n for n, p in encoder.named_parameters()}
    layers = ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")
    matrices = {f"blocks.{i}.{layer}.weight" for i in range(len(encoder.blocks)) for layer in layers}
    assert (decayed["weight_decay"], others["weight_decay"]) == (0.1, 0.0)
    assert {names[id(p)] for p in decayed["params"]} == matrices
    assert {names[id(p)] for p in others["params"]} == set(names.values()) - matrices


def test_the_seed_decides(parts):
    first, again, other = run(parts), run(parts), run(parts, seed=1)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_frozen_parameters_keep_the_base_s_values(parts):
    state, base = run(parts, frozen=("stem",)), parts[0].state_dict()
    assert torch.equal(state["stem.weight"], base["stem.weight"])
    assert not torch.equal(state["last.weight"], base["last.weight"])


def test_an_interrupted_run_ends_where_an_unbroken_one_does(parts, tmp_path, monkeypatch):
    unbroken = run(parts, augment="shift")
    with monkeypatch.context() as patch:
        patch.setattr("mergebench.finetuning.FineTuning.training_step", failing_after(25))
        with pytest.raises(RuntimeError, match="pulled"):
            run(parts, augment="shift", checkpoint_dir=tmp_path)
    resumed = run(parts, augment="shift", checkpoint_dir=tmp_path)
    assert all(torch.allclose(unbroken[name], resumed[name], atol=1e-6) for name in unbroken)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"steps": 80}, "steps 40, not 80"),
        ({"seed": 1}, "seed 0, not 1"),
        ({"frozen": ("stem",)}, r"frozen \[\], not \['stem'\]"),
        ({"mean": (0.4,) * 3}, r"mean \[0.5, 0.5, 0.5\], not \[0.4, 0.4, 0.4\]"),
        ({"std": (0.2,) * 3}, r"std \[0.25, .*, not \[0.2, .*"),
        ({"identity": {"encoder": "another", "sizes": (1, 2)}}, r"encoder {}, not {'encoder': 'another', .*}"),
    ],
)
def test_a_checkpoint_of_another_training_is_refused(change, told, parts, tmp_path):
    finished = run(parts, checkpoint_dir=tmp_path)
    with pytest.raises(MergebenchError, match=rf"another training \({told}\); name another folder"):
        run(parts, checkpoint_dir=tmp_path, **change)
    again = run(parts, checkpoint_dir=tmp_path)  # what was done is intact
    assert all(torch.equal(finished[name], again[name]) for name in finished)


def test_a_checkpoint_of_another_task_is_refused(parts, tmp_path):
    run(parts, checkpoint_dir=tmp_path)
    encoder, head, images, labels = parts
    with pytest.raises(MergebenchError, match="training data"):
        run((encoder, head, images, labels.roll(1)), checkpoint_dir=tmp_path)


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "bf16-true", "64-true"])
def test_every_precision_learns_and_gives_float32(precision, parts):
    head = copy.deepcopy(parts[1].state_dict())
    state = run(parts, precision=precision)
    assert all(torch.equal(tensor, parts[1].state_dict()[name]) for name, tensor in head.items())
    assert all(tensor.dtype == torch.float32 for tensor in state.values())
    assert loss(parts, state) < 0.5 * loss(parts, parts[0].state_dict())


def failing_after(count):
    original = FineTuning.training_step

    def step(self, batch, index):
        if self.global_step == count:
            raise RuntimeError("pulled")
        return original(self, batch, index)

    return step


def test_what_cannot_work_is_named(parts):
    with pytest.raises(MergebenchError, match="'mixup'.*affine"):
        run(parts, augment="mixup")
    with pytest.raises(MergebenchError, match="unknown precision '8-bit'; there are 32-true"):
        run(parts, precision="8-bit")
    encoder, head, images, labels = parts
    with pytest.raises(MergebenchError, match="48 images but 47 labels"):
        finetune(encoder, [TrainingSet(head, images, labels[:-1])], mean=(0.5,) * 3, std=(0.2,) * 3)
    with pytest.raises(MergebenchError, match="no parameter's name begins with 'steam'"):
        run(parts, frozen=("steam",))
    with pytest.raises(MergebenchError, match="batch_size=1, but there are 2 tasks"):
        sets = [TrainingSet(head, images, labels)] * 2
        finetune(encoder, sets, mean=(0.5,) * 3, std=(0.2,) * 3, batch_size=1)


def test_several_tasks_are_learnt_together_and_weigh_the_same(parts):
    """The second task is the first with its classes turned; one encoder must serve both heads."""
    encoder, head, images, labels = parts
    other = ZeroShotHead(torch.randn(6, WIDTH), nn.functional.normalize(torch.randn(CLASSES, 6)), torch.tensor(10.0))
    sets = [TrainingSet(head, images, labels), TrainingSet(other, images[:30], (labels[:30] + 1) % CLASSES)]
    settings = {"mean": (0.5,) * 3, "std": (0.25,) * 3, "accelerator": "cpu", "learning_rate": 1e-2}
    state = finetune(copy.deepcopy(encoder), sets, steps=60, batch_size=17, **settings)
    for one in sets:
        task = (encoder, one.head, one.images, one.labels)
        assert loss(task, state) < 0.5 * loss(task, encoder.state_dict())


def test_the_first_joint_step_is_the_mean_of_the_tasks_gradients(parts):
    encoder, head, images, labels = parts
    sets = [TrainingSet(head, images, labels), TrainingSet(copy.deepcopy(head), images, labels.roll(5))]
    module = FineTuning(
        encoder,
        [one.head for one in sets],
        make_streams(sets, 11, seed=3),
        Preparation((0.5,) * 3, (0.25,) * 3, "none", seed=3),
        Schedule(steps=4, learning_rate=1e-2, weight_decay=0.0, warmup=0),
    )
    module.log = lambda *args, **kwargs: None
    module.trainer = SimpleNamespace(current_epoch=0, global_rank=0, world_size=1)
    pixels, told = module.train_dataloader().dataset[0]
    assert [len(y) for y in told] == [6, 5]
    expected = 0.0
    for x, y in zip(pixels.split([6, 5]), told, strict=True):
        expected += nn.functional.cross_entropy(head(encoder(x)), y).item() / 2
    assert module.training_step((pixels, told), 0).item() == pytest.approx(expected, rel=1e-5)
