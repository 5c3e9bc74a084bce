"""A zoo: one backbone's base, experts and heads, read lazily and checked before anything is run on them."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from mergebench.catalogue import registry
from mergebench.catalogue.code import Code
from mergebench.catalogue.yaml_files import read_zoo, short_name
from mergebench.configuration import ZooConfig
from mergebench.data.described import make_task
from mergebench.data.task import Place, Task, TaskCard
from mergebench.errors import CheckpointError, MergebenchError, UnknownNameError
from mergebench.weights import formats, resizing
from mergebench.weights.encoders import Encoder, check_base
from mergebench.weights.footing import rests_elsewhere
from mergebench.weights.hub import Hub
from mergebench.weights.states import check_state, path_of, recipe_of
from mergebench.zoo.beside import told_encoder
from mergebench.zoo.encoder_notes import check_note, check_noted_size, noted_encoder
from mergebench.zoo.heads import Head
from mergebench.zoo.zoo_files import FolderFiles, ListedFiles, WeightFiles, find_checkpoint, folder_at


class Zoo:
    """The weights of one zoo, and its tasks.

    Args:
        name: a registered zoo, or a YAML file of one's own; with `config`, what it is to be called.
        root: a folder with the same structure that replaces the zoo's weights: of a zoo from the hub, a folder laid out
            as the hub is, data sets included.
        base: a checkpoint whose weights replace the zoo's base: a file, a folder, or `owner/name` on the hub. Encoder,
            normalisation and heads stay the zoo's.
        download: whether what is on the hub and not here yet may be downloaded.
        config: the fields of a zoo that no file describes; paths in it are relative to the current folder.
        allow_duplicates: whether one and the same image may be in several splits of a task.
        encoder: what makes the empty backbone, where the zoo does not name it.
        image_size: in pixels, that base and experts are taken to, in place of what the zoo says of it.

    Raises:
        MergebenchError: unknown zoo, no such folder, or another encoder than the zoo names.
    """

    def __init__(
        self,
        name: str,
        root: str | Path | None = None,
        base: str | Path | None = None,
        download: bool = True,
        config: ZooConfig | None = None,
        allow_duplicates: bool = False,
        encoder: Encoder | None = None,
        image_size: int | None = None,
    ) -> None:
        self.config = config or read_zoo(name)
        self.name = short_name(name)
        if encoder is not None:
            self.config = self._of(encoder)
        if image_size is not None:
            self.config = self.config.model_copy(update={"image_size": image_size})
        self._folder = Path() if config else registry.config_file("zoos", name).absolute().parent
        self._root = Path(root) if root else None
        self._download, self._allow_duplicates = download, allow_duplicates
        self._experts: dict[str, Mapping[str, Tensor]] = {}
        self._tasks: dict[str, Task] = {}
        if self._root is not None and not self._root.is_dir():
            raise MergebenchError(f"zoo {self.name!r}: no folder of weights at {self._root} (--zoo-root)")
        stranger = next((t for t in self.config.tasks if not self._is_known(t)), None)
        if stranger is not None:
            raise UnknownNameError(
                f"task in zoo {self.name!r} (describe it, or name one that is registered):", stranger, registry.tasks()
            )
        self._base = str(base) if base else None
        self._parent: Zoo | None = None  # the registered zoo whose base this one's is
        self.files: WeightFiles = self._files()

    def _of(self, encoder: Encoder) -> ZooConfig:
        """The configuration with the encoder that somebody else names."""
        own = Encoder(self.config.encoder, self.config.options) if self.config.encoder else encoder
        if (own.name, own.options) != (encoder.name, encoder.options or own.options):
            options = f" with {dict(own.options)}" * bool(own.options)
            raise MergebenchError(
                f"--encoder {encoder.name}: zoo {self.name!r} names {own.name}{options} itself; leave --encoder out, "
                "or correct the zoo's file"
            )
        return self.config.model_copy(update={"encoder": own.name, "options": dict(own.options)})

    def _files(self) -> WeightFiles:
        config = self.config
        if config.weights:
            assert config.encoder is not None  # which a folder of weights needs
            root = self._root or folder_at(config.weights, self._folder)
            return FolderFiles(root, Encoder(config.encoder, config.options))
        assert config.base is not None  # where weights are in no folder
        self._parent = registered_zoo(config.base, self._root, self._download)
        return ListedFiles(config, self._folder, self._hub, self._parent.files if self._parent is not None else None)

    @cached_property
    def encoder(self) -> Encoder:
        """What makes the empty backbone, with the scales of this zoo's images."""
        own = resizing.encoder_at(self.files.encoder, self.image_size)
        like = self._parent.encoder if self._parent else own
        return replace(own, scales=(self.config.mean or like.mean, self.config.std or like.std))

    @property
    def image_size(self) -> int | None:
        """In pixels, what base and experts are taken to; None where they stay as they are."""
        own = self.config.image_size
        return self._parent.image_size if own is None and self._parent is not None else own

    @property
    def mean(self) -> tuple[float, ...]:
        """Per channel, of images in [0, 1]."""
        return self.encoder.mean

    @property
    def std(self) -> tuple[float, ...]:
        """Per channel, of images in [0, 1]."""
        return self.encoder.std

    @property
    def identity(self) -> dict[str, Any]:
        """All but the weights that decides what this zoo's models compute."""
        return {**self.encoder_identity, "mean": list(self.mean), "std": list(self.std)}

    @cached_property
    def encoder_identity(self) -> dict[str, Any]:
        """What tells the encoder from others with the same weights: timm's by its options, one's own by its code."""
        encoder = self.encoder
        if encoder.home:
            code = Code()
            return {"encoder": encoder.name, "encoder_source": code.digest(code.named(*encoder.home))}
        return {"encoder": encoder.name, "encoder_options": dict(encoder.options)}

    def make_encoder(self) -> nn.Module:
        """The backbone holding the base's weights, float32, in eval mode."""
        encoder = self.make_empty_encoder()
        encoder.load_state_dict(dict(self.base))
        return encoder.eval()

    def make_empty_encoder(self) -> nn.Module:
        """The backbone before any weights are loaded."""
        return self.encoder.make()

    @cached_property
    def base(self) -> Mapping[str, Tensor]:
        """The pre-trained weights, checked.

        Raises:
            CheckpointError: they do not fit the backbone, are not finite, or were noted to be of another one.
        """
        if self._base:
            file = find_checkpoint(self._base, Path(), self._hub)
            state = formats.as_timm(formats.open_weights(file), f"the base ({self._base})", self.encoder.names)
        else:
            state = self.files.base()
        who = f"the base ({path_of(state)})"
        self._check_note(told_encoder(state, self.encoder, of_base=True), who, of_base=True)
        if self.image_size:
            state = resizing.for_encoder(state, self.encoder, who)
        check_base(state, self.encoder, who)
        return state

    def expert(self, task: str) -> Mapping[str, Tensor]:
        """A task's fine-tuned weights, checked against the base.

        Raises:
            UnknownNameError: the zoo has no such expert.
            CheckpointError: the weights do not fit the base, are not finite, or were noted to be of another encoder.
        """
        self._check_name(task)
        if task not in self._experts:
            self._experts[task] = self.check_expert(task, self.files.expert(task, self.base))
        return self._experts[task]

    def check_expert(self, task: str, state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """An expert from anywhere, held to this zoo; raises as `expert` does."""
        return self.check(state, f"expert {task!r} ({path_of(state)})")

    def check(self, state: Mapping[str, Tensor], who: str) -> Mapping[str, Tensor]:
        """Hold any checkpoint to this zoo's base, and what it and its folder say of it to this zoo's encoder.

        Args:
            state: as it is read from its file, under timm's names.
            who: whose weights they are, for messages.

        Returns:
            The state, interpolated where the base is.

        Raises:
            CheckpointError: they do not fit the base, are not finite, or were noted to be of another encoder.
        """
        self._check_note(noted_encoder(state), who)
        state = resizing.like_base(state, self.base, self.encoder, who)
        check_state(state, self.base, who)
        told = told_encoder(state, self.encoder)
        self._check_note(told, who)  # after the tensors, which tell what differs exactly
        if self.image_size:
            check_noted_size(told, who, self.base, self.encoder)
        return state

    def _check_note(self, noted: Encoder | None, who: str, of_base: bool = False) -> None:
        check_note(noted, who, self.encoder, f"zoo {self.name!r} is of", self.image_size, of_base)

    def joint(self, tasks: Iterable[str]) -> Mapping[str, Tensor] | None:
        """The model that was trained on exactly these tasks together, if the zoo has one.

        It is a file in the folder `joint`, as `finetune` writes it for several tasks: the header says which.

        Raises:
            CheckpointError: its weights do not fit the base, or are not finite.
        """
        wanted = sorted(tasks)
        for state in self.files.joint():
            trained_on = recipe_of(state).get("tasks")
            if trained_on is None:
                raise CheckpointError(f"{state.path}: its header does not say which tasks it was trained on")
            if trained_on == wanted:
                return self.check(state, f"the joint model ({state.path})")
        return None

    def head(self, task: str) -> Head:
        """A task's classifier.

        Raises:
            UnknownNameError: the zoo has no such task.
            CheckpointError: its tensors are no head's, do not fit the card or the backbone, or are not finite.
        """
        self._check_name(task)
        return self.files.head(self.card(task))

    def task(self, name: str) -> Task:
        """A task's card and data, its images of the size that this zoo's encoder sees.

        Args:
            name: one of the zoo's, or any registered task, whose images may serve as calibration.

        Raises:
            UnknownNameError: there is none.
        """
        if name not in self._tasks:
            task = self._unplaced(name)
            if task.at is not None:
                rests_elsewhere(f"the images of task {name!r} are looked for anew")
                task = task.at(Place(self.encoder.image_size, self._hub.root, self._download, self._allow_duplicates))
            elif self.image_size not in (None, self.files.encoder.image_size):
                raise MergebenchError(
                    f"task {name!r} has images of one size alone, and those of zoo {self.name!r} are to be of "
                    f"{self.image_size} pixels: leave --image-size out (in the zoo's file image_size:), or describe it"
                )
            self._tasks[name] = task
        return self._tasks[name]

    def _is_known(self, task: str) -> bool:
        return task in self.config.described or task in registry.tasks()

    def card(self, name: str) -> TaskCard:
        """A task's card, with its classes; where these are the data's, the data must be there."""
        stated = self._unplaced(name).card
        return stated if stated.classes else self.task(name).card

    def _unplaced(self, name: str) -> Task:
        described = self.config.described.get(name)
        if described is not None:
            return make_task(name, described, self._folder)
        return registry.get("task", name, registry.tasks())

    @cached_property
    def _hub(self) -> Hub:
        """Where models and data sets are looked for; a root that replaces a folder of weights holds none."""
        return Hub(None if self.config.weights else self._root, self._download)

    def find(self, name: str) -> str:
        """A task's name in this zoo, from that name or from the CLIP task that it stands for, however that is spelt.

        Raises:
            UnknownNameError: the zoo has no such task.
        """
        return registry.find_task(name, self.config.tasks, f"zoo {self.name!r}")

    @property
    def checkpoints(self) -> dict[str, str]:
        """Which backbone's and which published family's the weights are, as far as its file states it."""
        stated = {"backbone": self.config.backbone, "family": self.config.family}
        return {name: value for name, value in stated.items() if value}

    def origins(self, tasks: Iterable[str]) -> dict[str, str]:
        """Where on the hub the base, experts and data of these tasks are from, with commits; those on a disk: nothing.

        Known once they have been read.
        """
        wanted = set(tasks)
        data = {f"data/{t}": task.origin for t, task in self._tasks.items() if t in wanted and task.origin}
        return self.files.origins(sorted(wanted & self._experts.keys())) | data

    def told(self, tasks: Iterable[str]) -> list[str]:
        """What the data of those of these tasks came to that this zoo describes, a line each."""
        return [self.task(name).told for name in sorted(set(tasks) & self.config.described.keys())]

    def duplicates(self, tasks: Iterable[str]) -> dict[str, str]:
        """Task -> what its splits share, where that was allowed; known once the tasks have been read."""
        there = {name: self._tasks[name].duplicates for name in sorted(set(tasks) & self._tasks.keys())}
        return {name: shared for name, shared in there.items() if shared}

    def _check_name(self, task: str) -> None:
        if task not in self.config.tasks:
            raise UnknownNameError(f"task of zoo {self.name!r}:", task, self.config.tasks)


def registered_zoo(
    name: str, root: str | Path | None, download: bool = True, image_size: int | None = None
) -> Zoo | None:
    """The zoo that a base's name means, if it means one.

    Args:
        name: a registered zoo's, or a place.
        root: a folder in the hub's place: it holds no weights of a package.
        download, image_size: as of `Zoo`.
    """
    if name not in registry.config_files("zoos"):
        return None
    return Zoo(name, None if read_zoo(name).weights else root, download=download, image_size=image_size)
