"""A zoo: one backbone's base, experts and heads, read lazily and checked before anything is run on them."""

import hashlib
import importlib
import json
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import Tensor, nn

from mergebench import registry
from mergebench.configuration import ZooConfig
from mergebench.errors import CheckpointError, MergebenchError, UnknownNameError
from mergebench.heads import ZeroShotHead
from mergebench.states import SafetensorsState, check_finite, check_state
from mergebench.task import Task
from mergebench.yaml_files import read_zoo, short_name


class Zoo:
    """The weights of one zoo.

    Args:
        name: a registered zoo, or a YAML file of one's own.
        root: a folder with the same structure that replaces the zoo's weights.
        base: a checkpoint that replaces the zoo's base.

    Raises:
        MergebenchError: unknown zoo, or no such folder.
    """

    def __init__(self, name: str, root: str | Path | None = None, base: str | Path | None = None) -> None:
        self.config: ZooConfig = read_zoo(name)
        self.name = short_name(name)
        self.root = Path(root) if root else _folder(self.config.weights)
        self._experts: dict[str, SafetensorsState] = {}
        self._base_file = Path(base) if base else self.root / "base.safetensors"
        if not self.root.is_dir():
            raise MergebenchError(f"zoo {self.name!r}: no folder of weights at {self.root}")

    @cached_property
    def identity(self) -> dict[str, Any]:
        """All but the weights that decides what this zoo's models compute, the code of its encoder as a hash."""
        module, _ = self._encoder()
        source = hashlib.sha256(Path(module.__file__).read_bytes()).hexdigest()[:16]
        config = self.config
        return {
            "encoder": config.encoder, "encoder_source": source, "mean": list(config.mean), "std": list(config.std),
        }  # fmt: skip

    def make_encoder(self) -> nn.Module:
        """The backbone holding the base's weights, float32, in eval mode."""
        encoder = self.make_empty_encoder()
        encoder.load_state_dict(dict(self.base))
        return encoder.eval()

    def make_empty_encoder(self) -> nn.Module:
        """The backbone as its factory makes it, before any weights are loaded."""
        _, factory = self._encoder()
        return factory()

    def _encoder(self) -> tuple[ModuleType, Callable[[], nn.Module]]:
        """The module of the backbone's factory, and the factory."""
        name, _, function = self.config.encoder.partition(":")
        try:
            module = importlib.import_module(name)
            return module, getattr(module, function)
        except (ImportError, AttributeError, ValueError) as error:
            raise MergebenchError(
                f"zoo {self.name!r}: no encoder at {self.config.encoder!r}; write module:function ({error})"
            ) from None

    @cached_property
    def base(self) -> Mapping[str, Tensor]:
        """The pre-trained weights, checked.

        Raises:
            CheckpointError: they do not fit the backbone, or are not finite.
        """
        state = SafetensorsState(self._base_file)
        check_state(state, self.make_empty_encoder().state_dict(), f"the base ({state.path})")
        return state

    def expert(self, task: str) -> Mapping[str, Tensor]:
        """A task's fine-tuned weights, checked against the base.

        Raises:
            UnknownNameError: the zoo has no such expert.
            CheckpointError: the weights do not fit the base, or are not finite.
        """
        if task not in self._experts:
            self._experts[task] = self.check_expert(task, SafetensorsState(self._file("experts", task)))
        return self._experts[task]

    def check_expert(self, task: str, state: SafetensorsState) -> SafetensorsState:
        """Any checkpoint, held to this zoo's base; raises as `expert` does."""
        check_state(state, self.base, f"expert {task!r} ({state.path})")
        return state

    def joint(self, tasks: Iterable[str]) -> SafetensorsState | None:
        """The model that was trained on exactly these tasks together, if the zoo has one.

        It is a file in the folder `joint`, as `finetune` writes it for several tasks: the header says which.

        Raises:
            CheckpointError: its weights do not fit the base, or are not finite.
        """
        wanted = sorted(tasks)
        for path in sorted((self.root / "joint").glob("*.safetensors")):
            state = SafetensorsState(path)
            try:
                trained_on = json.loads(state.metadata["recipe"])["tasks"]
            except (KeyError, TypeError, ValueError):
                raise CheckpointError(f"{path}: its header does not say which tasks it was trained on") from None
            if trained_on == wanted:
                check_state(state, self.base, f"the joint model ({path})")
                return state
        return None

    def head(self, task: str) -> ZeroShotHead:
        """A task's zero-shot classifier.

        Raises:
            UnknownNameError: the zoo has no such task.
            CheckpointError: one of three tensors is missing, does not fit the card or the backbone, or is not finite.
        """
        state = SafetensorsState(self._file("heads", task))
        who = f"head of task {task!r} ({state.path})"
        try:
            head = ZeroShotHead(state["projection"], state["text_features"], state["logit_scale"])
        except KeyError as error:
            raise CheckpointError(f"{who} lacks {error}") from None
        shapes = [tuple(tensor.shape) for tensor in (head.projection, head.text_features, head.logit_scale)]
        embed, classes = (*shapes[0], 0)[0], (*shapes[1], 0)[0]
        if shapes != [(embed, self._width), (classes, embed), ()]:
            told = ", ".join(f"{name} {shape}" for name, shape in zip(head.state_dict(), shapes, strict=True))
            raise CheckpointError(f"{who} does not fit features of width {self._width}: {told}")
        if classes != len(self.task(task).card.classes):
            raise CheckpointError(f"{who} has {classes} classes, its card {len(self.task(task).card.classes)}")
        check_finite(head.state_dict(), who)
        return head.eval()

    @cached_property
    def _width(self) -> int:
        return self.make_empty_encoder().num_features

    def task(self, name: str) -> Task:
        """The task's card and data.

        Raises:
            UnknownNameError: the zoo has no such task.
        """
        self._check_name(name)
        return registry.get("task", name, registry.tasks())

    def find(self, name: str) -> str:
        """A task's name in this zoo, from that name or from the CLIP task that it stands for, however that is spelt.

        Raises:
            UnknownNameError: the zoo has no such task.
        """
        return registry.find_task(name, self.config.tasks, f"zoo {self.name!r}")

    def _check_name(self, task: str) -> None:
        if task not in self.config.tasks:
            raise UnknownNameError(f"task of zoo {self.name!r}:", task, self.config.tasks)

    def _file(self, kind: str, task: str) -> Path:
        self._check_name(task)
        return self.root / kind / f"{task}.safetensors"


def _folder(location: str) -> Path:
    package, colon, folder = location.partition(":")
    if not colon:
        return Path(location)
    try:
        return Path(importlib.import_module(package).__file__).parent / folder
    except (ImportError, ValueError) as error:
        raise MergebenchError(f"weights: no package {package!r}; write a path, or package:folder ({error})") from None
