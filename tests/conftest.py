"""Miniature models shared by the tests: a merge takes milliseconds, and every part of a real one is there."""

import copy
import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from errors_seen import record
from hypothesis import settings
from PIL import Image
from shared import shared_root
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from mergebench.catalogue import discovery, registry
from mergebench.catalogue.ready import ready
from mergebench.data.images import ExplicitBatches
from mergebench.measuring.evaluation import Evaluation
from mergebench.measuring.proof import count
from mergebench.measuring.results import TaskScore
from mergebench.merging import hyperparameters
from mergebench.merging.contract import run_method
from mergebench.merging.pool import ModelPool
from mergebench.tasks.tiny import RENDERED
from mergebench.weights.states import save_state
from mergebench.zoo.heads import ZeroShotHead
from mergebench.zoo.set_aside import inherited
from mergebench.zoo.zoo import Zoo

WIDTH = 32

settings.register_profile("few", max_examples=25, deadline=None, derandomize=True)
settings.register_profile("deep", max_examples=1000, deadline=None, database=None)  # --hypothesis-profile=deep
settings.load_profile("few")


def pytest_configure(config: pytest.Config) -> None:
    """Note the messages that the tests cause, where that is asked for."""
    if "MERGEBENCH_ERRORS_SEEN" in os.environ:
        config.add_cleanup(record(Path(os.environ["MERGEBENCH_ERRORS_SEEN"])))


@pytest.fixture(scope="session", autouse=True)
def image_cache(tmp_path_factory: pytest.TempPathFactory):
    """An image cache of the tests' own, filled once, by whichever process comes first."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MERGEBENCH_CACHE", str(shared_root(tmp_path_factory) / "cache"))
        yield


FEW = {"train": 20, "calibration": 60, "validation": 24, "test": 30}


@pytest.fixture(scope="module")
def few_images():
    """The tiny world's tasks with a few images each, so many; all else is as it is shipped. (In this process alone.)"""

    def few(task):
        load = replace(RENDERED[task.card.name], splits=FEW).load
        return replace(task, card=replace(task.card, splits=FEW), load=load, fingerprint=f"{task.fingerprint}/few")

    tasks = {name: few(task) if name in RENDERED else task for name, task in registry.tasks().items()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "tasks", lambda: tasks)
        yield FEW


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., str]:
    """Writes a suite, study or zoo; gives the file's path."""

    def to(name: str, **fields: Any) -> str:
        path = tmp_path / f"{name}.yaml"
        path.write_text(yaml.safe_dump(fields, sort_keys=False))
        return str(path)

    return to


@pytest.fixture
def scored() -> Callable[[Mapping[str, tuple[int, int]]], Evaluation]:
    """Task -> (correct, total) as an evaluation that has counted so many, predictions and labels with it."""

    def evaluation(counts: Mapping[str, tuple[int, int]]) -> Evaluation:
        labels = {t: np.zeros(total, dtype=np.int64) for t, (_, total) in counts.items()}
        predictions = {t: (np.arange(total) >= correct).astype(np.uint16) for t, (correct, total) in counts.items()}
        scores = {t: TaskScore(**count(predictions[t], labels[t])._asdict()) for t in counts}
        return Evaluation(scores, predictions, labels)

    return evaluation


class Miniature:
    """Makes encoders, experts, images and heads from seeds."""

    tasks = ("birds", "cars", "digits")

    def encoder(
        self, seed: int = 0, *, depth: int = 2, dtype: torch.dtype = torch.float32, pre_norm: bool = True
    ) -> VisionTransformer:
        """A ViT of width 32 whose biases and norms are as little trivial as a trained one's."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            encoder = VisionTransformer(
                img_size=32,
                patch_size=8,
                embed_dim=WIDTH,
                depth=depth,
                num_heads=2,
                num_classes=0,
                global_pool="token",
                mlp_ratio=2,
                pre_norm=pre_norm,
            )
            for parameter in encoder.parameters():
                parameter.data += 0.1 * torch.randn_like(parameter)
        return encoder.to(dtype).eval()

    def expert(self, base: nn.Module, seed: int, *, scale: float = 0.05) -> dict[str, Tensor]:
        """The base's weights, each moved a little."""
        generator = torch.Generator().manual_seed(1000 + seed)
        return {
            n: (t.double() + scale * torch.randn(t.shape, generator=generator, dtype=torch.float64)).to(t.dtype)
            for n, t in base.state_dict().items()
        }

    def experts(self, base: nn.Module, *, scale: float = 0.05) -> dict[str, dict[str, Tensor]]:
        """One expert per task."""
        return {t: self.expert(base, i, scale=scale) for i, t in enumerate(self.tasks)}

    def images(self, seed: int, count: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """Normalised images [count, 3, 32, 32] that differ from seed to seed in more than noise."""
        generator = torch.Generator().manual_seed(2000 + seed)
        tint = torch.randn(1, 3, 1, 1, generator=generator, dtype=torch.float64)
        noise = torch.randn(count, 3, 32, 32, generator=generator, dtype=torch.float64)
        return (noise + tint).to(dtype)

    def calibration(
        self, sizes: Mapping[str, tuple[int, ...]] | None = None, dtype: torch.dtype = torch.float32
    ) -> dict[str, list[Tensor]]:
        """Batches of every task; tasks differ in how many images they have."""
        sizes = sizes or {"birds": (5, 3), "cars": (7,), "digits": (4, 4, 2)}
        return {
            t: [self.images(100 * i + j, n, dtype) for j, n in enumerate(sizes[t])] for i, t in enumerate(self.tasks)
        }

    def head(self, seed: int, classes: int = 4) -> ZeroShotHead:
        """A cosine classifier of `classes` classes."""
        generator = torch.Generator().manual_seed(3000 + seed)
        text = torch.randn(classes, 16, generator=generator)
        return ZeroShotHead(
            torch.randn(16, WIDTH, generator=generator),
            nn.functional.normalize(text, dim=-1),
            torch.tensor(5.0),
        ).eval()

    def heads(self) -> dict[str, ZeroShotHead]:
        """One head per task, with different numbers of classes."""
        return {t: self.head(i, classes=3 + i) for i, t in enumerate(self.tasks)}

    def run(
        self,
        method: str | Callable,
        base: nn.Module,
        experts: Mapping[str, Mapping[str, Tensor]],
        *,
        calibration: Mapping[str, Iterable] | None = None,
        test_inputs: Mapping[str, Iterable] | None = None,
        heads: Mapping[str, nn.Module] | None = None,
        seed: int = 0,
        **given: Any,
    ) -> tuple[Any, ModelPool]:
        """Run a registered method, or a decorated function, under the contract; the pool is returned with it."""
        function = discovery.load_function(registry.method(method)) if isinstance(method, str) else method
        resolved = hyperparameters.resolve(function, given)
        pool = ModelPool(
            function.card.name,
            registry.needs_of(function.card, resolved),
            base,
            base.state_dict(),
            experts,
            calibration={t: ExplicitBatches(b, t) for t, b in (calibration or {}).items()},
            test_inputs={t: ExplicitBatches(b, t) for t, b in (test_inputs or {}).items()},
            heads=heads,
            seed=seed,
        )
        return run_method(function, pool, resolved, ready), pool

    def load(self, base: nn.Module, state: Mapping[str, Tensor]) -> nn.Module:
        """A copy of the encoder that holds `state`."""
        encoder = copy.deepcopy(base)
        encoder.load_state_dict(state)
        return encoder.eval()


@pytest.fixture(scope="session")
def mini() -> Miniature:
    """The maker of miniature models."""
    return Miniature()


class OwnTask:
    """A zoo of one task whose images are in folders of classes, and its expert as `finetune` leaves it.

    Args:
        folder: where all of it is.
        write: writes a suite or a zoo.
    """

    def __init__(self, folder: Path, write: Callable[..., str]) -> None:
        self.folder = folder
        for number in range(20):
            self.picture(f"data/class{number % 2}/{number:02}.png", number)
        self.head = folder / "head.safetensors"
        save_state({"weight": torch.randn(2, 160), "bias": torch.zeros(2)}, self.head)
        task = {"data": "data", "head": "head.safetensors"}
        self.zoo = write("zoo", title="z", base="tiny", experts="{task}.safetensors", tasks={"flowers": task})
        self.suite = write("suite", title="s", zoo=self.zoo, merge=["flowers"])

    def picture(self, place: str, number: int) -> None:
        """Writes an image."""
        path = self.folder / place
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (32, 32), (number * 5, 40, 90)).save(path)

    def grow(self) -> None:
        """One more image, which deals all of them out anew."""
        self.picture("data/class0/99.png", 50)

    @property
    def held_out(self) -> dict[str, str]:
        """What an expert that is trained now notes: the task's name -> digest of its test split."""
        return inherited([], [Zoo(self.zoo).task("flowers")])["held_out"]

    def trained(self, file: str = "flowers.safetensors", **recipe: Any) -> Path:
        """Writes a checkpoint with the notes of an expert trained now, or others (None: without that one)."""
        noted = {"tasks": ["flowers"], "held_out": self.held_out} | recipe
        noted = {name: value for name, value in noted.items() if value is not None}
        save_state(dict(Zoo("tiny").base), self.folder / file, {"recipe": json.dumps(noted)})
        return self.folder / file


@pytest.fixture
def own(tmp_path: Path, write: Callable[..., str]) -> OwnTask:
    """A task of one's own, its zoo and suite."""
    return OwnTask(tmp_path, write)


@pytest.fixture
def odd(tmp_path: Path) -> str:
    """The place of a method that raises what its hyper-parameter `kind` names, in line 12 of its file."""
    (tmp_path / "odd.py").write_text('''
from mergebench import merge_method


class Odd(BaseException):
    """Of its own."""


@merge_method("odd", title="Odd")
def odd(pool, *, kind: str = "Odd"):
    """Raises what it is asked for."""
    raise eval(kind)("two\\nlines")
''')
    return f"{tmp_path / 'odd.py'}:odd"
