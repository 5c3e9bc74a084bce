"""Fine-tuning on a miniature: it learns, the head stays frozen, the seed decides, an interrupted run goes on."""

import contextlib
import copy
from collections import OrderedDict
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from mergebench.errors import MergebenchError
from mergebench.tasks.tiny.model import create_encoder
from mergebench.training.batches import Preparation, TrainingSet, make_streams
from mergebench.training.finetuning import FineTuning, finetune
from mergebench.training.module import Schedule, parameter_groups
from mergebench.training.progress import Progress
from mergebench.zoo.heads import ZeroShotHead

CLASSES, WIDTH, SIDE = 3, 8, 8


class Encoder(nn.Module):
    """Two layers, so that one can be frozen, and what a layer between them may draw at random."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Linear(3 * SIDE * SIDE, WIDTH)
        self.dropout = nn.Dropout(0.0)
        self.last = nn.Linear(WIDTH, WIDTH)

    def forward(self, images):
        return self.last(self.dropout(torch.tanh(self.stem(images.flatten(1)))))


@pytest.fixture
def parts():
    torch.manual_seed(0)
    labels = torch.arange(48) % CLASSES
    images = torch.randint(0, 100, (48, SIDE, SIDE, 3), dtype=torch.uint8)
    images[torch.arange(48), :, :, labels] += 100  # the class is the brightest channel
    head = ZeroShotHead(torch.randn(6, WIDTH), nn.functional.normalize(torch.randn(CLASSES, 6)), torch.tensor(10.0))
    return Encoder(), head, images, labels


@pytest.fixture
def dropping(parts):
    """An encoder with dropout."""
    parts[0].dropout.p = 0.3
    return parts


def run(parts, **options):
    encoder, head, images, labels = parts
    settings = {"steps": 40, "batch_size": 16, "learning_rate": 1e-2, "accelerator": "cpu"}
    settings |= {"mean": (0.5,) * 3, "std": (0.25,) * 3} | options
    return finetune(copy.deepcopy(encoder), [TrainingSet(head, images, labels)], **settings)


def make_module(parts, batch_size, *others):
    """The module that trains an encoder on one task, or on several."""
    sets = [TrainingSet(*one[1:]) for one in (parts, *others)]
    module = FineTuning(
        parts[0],
        [one.head for one in sets],
        make_streams(sets, batch_size, seed=3),
        Preparation((0.5,) * 3, (0.25,) * 3, "none", seed=3),
        Schedule(steps=40, learning_rate=1e-2, weight_decay=0.0, warmup=0),
        seed=3,
    )
    module.log = lambda *args, **kwargs: None
    return module


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


def test_the_seed_alone_decides_what_an_encoder_drops(dropping):
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = run(dropping)
    assert torch.equal(torch.get_rng_state(), before)  # the process's own numbers go on as they would have
    torch.manual_seed(2)
    again, other = run(dropping), run(dropping, seed=1)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)
    dropping[0].dropout.p = 0.0
    whole = run(dropping)
    assert any(not torch.equal(first[name], whole[name]) for name in first)


def test_every_step_and_every_device_drops_others(dropping):
    encoder, head, images, labels = dropping
    module = make_module(dropping, 16)
    losses = set()
    for rank, epoch, index in [(0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 0, 0), (0, 0, 0)]:
        module.trainer = SimpleNamespace(current_epoch=epoch, global_rank=rank, world_size=1)
        losses.add(module.training_step((images.permute(0, 3, 1, 2) / 255, [labels]), index).item())
    assert len(losses) == 4


@pytest.mark.parametrize("options", [{"seed": 99_999_999_999_999_999}, {"seed": 2**70, "augment": "affine"}])
def test_every_whole_number_is_a_seed(options, parts):
    first, again, other = run(parts, **options), run(parts, **options), run(parts, seed=0)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_frozen_parameters_keep_the_base_s_values(parts):
    state, base = run(parts, frozen=("stem",)), parts[0].state_dict()
    assert torch.equal(state["stem.weight"], base["stem.weight"])
    assert not torch.equal(state["last.weight"], base["last.weight"])


@pytest.mark.parametrize(
    ("options", "moved"),
    [({}, {"stem", "last"}), ({"frozen": ("stem",)}, {"last"}), ({"frozen": ("stem.0",)}, {"stem", "last"})],
)
def test_what_is_frozen_keeps_its_statistics_too(options, moved, parts):
    encoder = nn.Sequential(
        OrderedDict(
            flat=nn.Flatten(),
            stem=nn.Sequential(nn.Linear(3 * SIDE * SIDE, WIDTH), nn.BatchNorm1d(WIDTH)),
            last=nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.BatchNorm1d(WIDTH)),
        )
    )
    base, state = encoder.state_dict(), run((encoder, *parts[1:]), **options)
    statistics = [n for n in base if "running" in n]
    assert {n.partition(".")[0] for n in statistics if not torch.equal(state[n], base[n])} == moved


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "bf16-true", "64-true"])
def test_an_interrupted_run_ends_where_an_unbroken_one_does(precision, dropping, tmp_path, pulled_after):
    options = {"augment": "shift", "precision": precision}
    unbroken = run(dropping, **options)
    with pulled_after(25):
        run(dropping, **options, checkpoint_dir=tmp_path)
    resumed = run(dropping, **options, checkpoint_dir=tmp_path)
    assert all(torch.equal(unbroken[name], resumed[name]) for name in unbroken)


@pytest.fixture
def pulled_after(monkeypatch):
    """The plug is pulled after so many steps."""
    original = FineTuning.training_step

    @contextlib.contextmanager
    def pulled(count):
        def step(self, batch, index):
            if self.global_step == count:
                raise RuntimeError("pulled")
            return original(self, batch, index)

        with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="pulled"):
            patch.setattr(FineTuning, "training_step", step)
            yield

    return pulled


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


def test_of_two_trainings_begun_in_one_folder_neither_takes_the_other_s_checkpoint(parts, tmp_path, pulled_after):
    with pulled_after(0):
        run(parts, checkpoint_dir=tmp_path, seed=1)
    with pulled_after(25):
        run(parts, checkpoint_dir=tmp_path)
    with pytest.raises(MergebenchError, match=r"another training \(seed 0, not 1\)"):
        run(parts, checkpoint_dir=tmp_path, seed=1)
    resumed, unbroken = run(parts, checkpoint_dir=tmp_path), run(parts)
    assert all(torch.equal(unbroken[name], resumed[name]) for name in unbroken)


def test_a_checkpoint_that_took_another_s_place_is_refused_when_it_is_read(parts, tmp_path, monkeypatch):
    run(parts, checkpoint_dir=tmp_path)
    monkeypatch.setattr(Progress, "unfinished", lambda self: self.file)  # looked at before it was there
    with pytest.raises(MergebenchError, match=r"another training \(seed 0, not 1\)"):
        run(parts, checkpoint_dir=tmp_path, seed=1)


def test_a_checkpoint_that_names_no_training_or_is_none_is_refused(parts, tmp_path):
    file = tmp_path / "progress.ckpt"
    torch.save({"state_dict": {}, "epoch": 3}, file)
    (tmp_path / "settings.json").write_text('{"steps": 40}')  # as earlier versions wrote them
    with pytest.raises(MergebenchError, match="progress.ckpt does not say of which training it is; name another"):
        run(parts, checkpoint_dir=tmp_path)
    for broken in (file.read_bytes()[:100], b""):
        file.write_bytes(broken)
        with pytest.raises(MergebenchError, match="progress.ckpt is no checkpoint, or not whole; name another"):
            run(parts, checkpoint_dir=tmp_path)
    torch.save([1], file)
    with pytest.raises(MergebenchError, match="does not say of which training"):
        run(parts, checkpoint_dir=tmp_path)


def test_a_folder_that_cannot_be_written_is_refused_at_once(parts, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setattr("lightning.Trainer.fit", lambda *_, **__: pytest.fail("too late"))
    with pytest.raises(MergebenchError, match=r"cannot write .*file/progress\.ckpt: "):
        run(parts, checkpoint_dir=tmp_path / "file")


def test_progress_that_can_no_longer_be_written_is_told_and_the_last_is_intact(
    parts, tmp_path, monkeypatch, pulled_after
):
    with pulled_after(25):
        run(parts, checkpoint_dir=tmp_path)
    before = (tmp_path / "progress.ckpt").read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("lightning.Trainer.save_checkpoint", full)
        with pytest.raises(MergebenchError, match=r"cannot write .*progress\.ckpt: No space left on device"):
            run(parts, checkpoint_dir=tmp_path)
    assert (tmp_path / "progress.ckpt").read_bytes() == before and len(list(tmp_path.iterdir())) == 1


def test_a_training_that_diverges_is_stopped_and_told_and_its_progress_is_not_kept(parts, tmp_path, monkeypatch):
    taken, original = [], FineTuning.training_step

    def step(self, *given):
        taken.append(self.global_step)
        return original(self, *given) * (torch.nan if self.global_step == 5 else 1)

    monkeypatch.setattr(FineTuning, "training_step", step)
    with pytest.raises(
        MergebenchError, match="the training diverged: 'stem.weight' holds 1536 values.*; lower the learning"
    ):
        run(parts, checkpoint_dir=tmp_path)
    assert taken == list(range(8))
    kept = torch.load(tmp_path / "progress.ckpt", weights_only=True)
    assert kept["global_step"] == 4 and all(tensor.isfinite().all() for tensor in kept["state_dict"].values())


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


def test_what_cannot_work_is_named(parts):
    with pytest.raises(MergebenchError, match="'mixup'.*affine"):
        run(parts, augment="mixup")
    with pytest.raises(MergebenchError, match="unknown precision '8-bit'; there are: auto, 32-true"):
        run(parts, precision="8-bit")
    with pytest.raises(MergebenchError, match="precision '16-mixed' needs a GPU"):
        run(parts, precision="16-mixed")
    encoder, head, images, labels = parts
    with pytest.raises(MergebenchError, match="48 images but 47 labels"):
        finetune(encoder, [TrainingSet(head, images, labels[:-1])], mean=(0.5,) * 3, std=(0.2,) * 3)
    with pytest.raises(MergebenchError, match="no parameter's name begins with 'steam'"):
        run(parts, frozen=("steam",))
    for everything in ("",), ("stem", "last"):
        with pytest.raises(MergebenchError, match=r"frozen=\[.*\] leaves nothing to be trained; freeze less"):
            run(parts, frozen=everything)
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
    other = encoder, copy.deepcopy(head), images, labels.roll(5)
    module = make_module(parts, 11, other)
    module.trainer = SimpleNamespace(current_epoch=0, global_rank=0, world_size=1)
    pixels, told = module.train_dataloader().dataset[0]
    assert [len(y) for y in told] == [6, 5]
    expected = 0.0
    for x, y in zip(pixels.split([6, 5]), told, strict=True):
        expected += nn.functional.cross_entropy(head(encoder(x)), y).item() / 2
    assert module.training_step((pixels, told), 0).item() == pytest.approx(expected, rel=1e-5)
