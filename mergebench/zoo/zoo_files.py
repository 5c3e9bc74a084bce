"""Where a zoo's weights are: in one folder, or named one by one, on disk or on the hub."""

from collections.abc import Iterable, Mapping
from functools import cached_property, partial
from pathlib import Path
from typing import Protocol

from torch import Tensor

from mergebench.catalogue.modules import folder_of
from mergebench.configuration import ZooConfig
from mergebench.data.labels import two_orders
from mergebench.data.task import TaskCard
from mergebench.errors import CheckpointError, MergebenchError, retold
from mergebench.weights import formats
from mergebench.weights.adapters import ADAPTER_CONFIG, ADAPTER_PICKLE, ADAPTER_WEIGHTS, adapter_in
from mergebench.weights.encoders import Encoder
from mergebench.weights.footing import rests_on
from mergebench.weights.hub import Hub, is_location
from mergebench.weights.rules import PROJECTION
from mergebench.weights.states import SafetensorsState, recipe_of, shape_of
from mergebench.zoo.beside import CONFIG, PREPROCESSOR, told_encoder
from mergebench.zoo.encoder_notes import encoder_of
from mergebench.zoo.heads import Head, load_head
from mergebench.zoo.text_heads import TextTower, is_whole_clip, text_activation

# What a checkpoint is called in a folder of the hub, the safest format first.
CHECKPOINTS = (
    "model.safetensors",
    "model.safetensors.index.json",
    "open_clip_model.safetensors",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
    "open_clip_pytorch_model.bin",
)

FILES = (".safetensors", ".json", *formats.PICKLES)  # how a checkpoint's file ends


class WeightFiles(Protocol):
    """What a zoo asks of the place where its weights are. States bear timm's names; nothing is checked yet."""

    @property
    def encoder(self) -> Encoder:
        """What makes the empty model."""

    @property
    def has_text(self) -> bool:
        """Whether heads can be made from prompts."""

    def base(self) -> Mapping[str, Tensor]:
        """The pre-trained weights."""

    def expert(self, task: str, base: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """A task's fine-tuned weights; the base's are what an adapter is added to."""

    def head(self, card: TaskCard) -> Head:
        """A task's classifier, checked."""

    def joint(self) -> list[SafetensorsState]:
        """Models that were trained on several tasks together."""

    def origins(self, tasks: Iterable[str]) -> dict[str, str]:
        """Where on the hub what was read of base, text tower and these experts is from, with commits."""


class FolderFiles:
    """A folder of base.safetensors, experts/, heads/ and perhaps joint/.

    Args:
        root: the folder.
        encoder: what makes the empty model.

    Raises:
        MergebenchError: there is no such folder.
    """

    has_text = False

    def __init__(self, root: Path, encoder: Encoder) -> None:
        if not root.is_dir():
            raise MergebenchError(f"no folder of weights at {root}; correct weights: in the zoo's file")
        self.root, self.encoder = root, encoder

    def base(self) -> Mapping[str, Tensor]:
        """See WeightFiles."""
        return SafetensorsState(self.root / "base.safetensors")

    def expert(self, task: str, base: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """See WeightFiles."""
        return SafetensorsState(self.root / "experts" / f"{task}.safetensors")

    def head(self, card: TaskCard) -> Head:
        """See WeightFiles."""
        return _read_head(SafetensorsState(self.root / "heads" / f"{card.name}.safetensors"), card, self.encoder)

    def joint(self) -> list[SafetensorsState]:
        """See WeightFiles."""
        rests_on(self.root / "joint")
        return [SafetensorsState(path) for path in sorted((self.root / "joint").glob("*.safetensors"))]

    def origins(self, tasks: Iterable[str]) -> dict[str, str]:
        """See WeightFiles."""
        return {}


class ListedFiles:
    """Checkpoints named one by one, in whatever dialect they are.

    Args:
        config: names them.
        folder: what paths are relative to.
        hub: where `owner/name` is looked for.
        parent: the registered zoo's files whose base it is, where the configuration names one.
    """

    def __init__(self, config: ZooConfig, folder: Path, hub: Hub, parent: WeightFiles | None = None) -> None:
        assert config.base is not None  # where weights are in no folder
        self._config, self._folder, self._hub, self._parent = config, folder, hub, parent
        self._place = config.base

    @cached_property
    def encoder(self) -> Encoder:
        """What makes the empty model, with its projection where that is merged."""
        if self._parent is not None or not self._config.projection:
            return self._bare
        if self._config.projection == "base":
            return self._bare.projected(None)
        # Where its length is named, nothing is fetched to be asked.
        length = self._bare.projection or shape_of(self._whole(self._bare.projected(1)), PROJECTION)[0]
        return self._bare.projected(length)

    @cached_property
    def _bare(self) -> Encoder:
        named = Encoder(self._config.encoder, self._config.options) if self._config.encoder else None
        if self._parent is not None:
            of_parent = self._parent.encoder
            own = self._config.projection
            if own and (own == "merged") != bool(of_parent.projection):
                raise MergebenchError(
                    f"projection: {own}, but not in zoo {self._config.base!r}, whose base and heads these are; leave "
                    "it out, or name that zoo's base itself"
                )
            return named.projected(of_parent.projection) if named else of_parent
        base = self._place
        # What is on the hub is not fetched to be asked what is known; when it is read, the zoo holds it to that.
        asked = not named or (self._folder / base).exists()
        notes = {base: told_encoder(self._raw_base, named, of_base=True)} if asked else {}
        config = partial(optional_beside, base, self._folder, self._hub, CONFIG)
        return encoder_of(notes, named, base, config, self._shapes, image_size=self._config.image_size)

    @property
    def has_text(self) -> bool:
        """See WeightFiles."""
        if self._parent is not None and not self._config.text:
            return self._parent.has_text
        return bool(self._config.text) or is_whole_clip(self._whole_base)

    @cached_property
    def _whole_base(self) -> Mapping[str, Tensor]:
        return formats.Unwrapped(self._raw_base, f"the base ({self._place})", self._bare.names)

    @cached_property
    def _raw_base(self) -> Mapping[str, Tensor]:
        return formats.open_weights(self._find(self._place))

    def base(self) -> Mapping[str, Tensor]:
        """See WeightFiles."""
        if self._parent is not None:
            return self._parent.base()
        return self._whole(self.encoder)

    def _whole(self, encoder: Encoder) -> Mapping[str, Tensor]:
        return formats.as_timm(self._raw_base, f"the base ({self._place})", encoder.names)

    def _shapes(self) -> Mapping[str, Tensor]:
        """The base where nothing says yet what encoder it is of."""
        return formats.as_timm(self._raw_base, f"the base ({self._place})")

    def expert(self, task: str, base: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """See WeightFiles."""
        place = self._config.expert_of(task)
        return formats.as_expert(formats.open_weights(self._find(place)), f"expert {task!r} ({place})", base)

    def head(self, card: TaskCard) -> Head:
        """See WeightFiles."""
        described = self._config.described.get(card.name)
        if described is not None and described.head:
            head = _read_head(SafetensorsState(self._folder / described.head), card, self.encoder)
            if not described.classes and two_orders(card.classes) and "classes" not in recipe_of(head):
                raise CheckpointError(
                    f"head of task {card.name!r} ({described.head}) does not say its classes: are they in the order of "
                    f"text ({', '.join(card.classes[:3])}) or of numbers? Name them in the head's order (`classes:`)"
                )
            return head
        if described is not None and not self.has_text:
            raise MergebenchError(
                f"task {card.name!r} has no head, and the base ({self._place}) no text tower: give head: "
                "(mergebench finetune writes one), or text:, a whole CLIP"
            )
        if self._parent is not None and not self._config.text:
            return self._parent.head(card)  # of a task that both mean, or from the prompts
        return self._text.head(card.classes, card.templates, projected=bool(self.encoder.projection))

    @cached_property
    def _text(self) -> TextTower:
        place = self._config.text
        if not place:
            return TextTower(self._whole_base, self._place, quick_gelu=self.encoder.quick_gelu)
        described = optional_beside(place, self._folder, self._hub, CONFIG)
        activation = text_activation(described) if described else None
        quick = activation == "quick_gelu" if activation else self.encoder.quick_gelu
        whole = formats.Unwrapped(formats.open_weights(self._find(place)), f"text ({place})")
        return TextTower(whole, place, quick_gelu=quick)

    def joint(self) -> list[SafetensorsState]:
        """See WeightFiles."""
        return []

    def origins(self, tasks: Iterable[str]) -> dict[str, str]:
        """See WeightFiles."""
        above = self._parent.origins(()) if self._parent is not None else {}
        places = {"base": self._place, "text": self._config.text or ""}
        places |= {f"experts/{task}": self._config.expert_of(task) for task in tasks}
        commits = {name: self._hub.revision(place) for name, place in places.items()}
        return above | {
            name: f"{places[name].partition('@')[0]}@{commit}" for name, commit in commits.items() if commit
        }

    def _find(self, place: str) -> Path:
        return find_checkpoint(place, self._folder, self._hub)


def find_checkpoint(place: str, folder: Path, hub: Hub) -> Path:
    """A checkpoint's file.

    Args:
        place: a file, a folder as Hugging Face's libraries or peft write it, either of them in a package
            ("package:path"), or `owner/name[/path/inside][@revision]` on the hub, of a folder or a file there.
        folder: that a path is relative to.
        hub: where else it is looked for.

    Raises:
        MergebenchError: there is none.
    """
    path = folder / place
    if ":" in place and not path.exists():
        path = folder_at(place, folder)
    if path.is_file():
        return path
    if path.is_dir():
        whole = next((path / name for name in CHECKPOINTS if (path / name).is_file()), None)
        adapter = adapter_in(path)
        if adapter is not None and whole is not None:
            raise _both(str(path), str(whole), str(adapter))
        found = adapter or whole
        if found is None:
            raise CheckpointError(f"{path} holds no {' or '.join(CHECKPOINTS)}, and no adapter ({ADAPTER_CONFIG})")
        return found
    if not _may_be_on_the_hub(place):
        raise CheckpointError(f"no such checkpoint: {path}; give a file, a folder, or owner/name on the hub")
    where, file = _parted(place)
    adapter = None if file else hub.known_file(where, (ADAPTER_CONFIG,))
    if adapter is not None:
        beside = hub.known_file(where, CHECKPOINTS)
        if beside is not None:
            raise _both(where, str(beside), str(adapter))
        hub.known_file(where, (ADAPTER_WEIGHTS, ADAPTER_PICKLE))  # comes to lie beside it; what lacks is told there
        return adapter
    try:
        found = hub.file(where, (file,) if file else CHECKPOINTS)
    except MergebenchError as error:
        if not file:
            raise
        raise retold(error, f"{place}: there is no such file here, and on the hub: {error}") from None
    for shard in formats.shards_of(found):  # which come to lie beside the index
        hub.file(where, (shard,))
    for name in (CONFIG, PREPROCESSOR):  # what describes it comes to lie beside it
        hub.known_file(where, (name,))
    return found


def _both(place: str, whole: str, adapter: str) -> CheckpointError:
    """The refusal of a folder that can be read in two ways."""
    return CheckpointError(
        f"{place} holds a LoRA adapter and whole weights, which the adapter may be in already; name one of the two, "
        f"{whole} or {adapter}"
    )


def optional_beside(place: str, folder: Path, hub: Hub, name: str) -> Path | None:
    """Another file of a checkpoint's folder, where there is one; arguments as `find_checkpoint` has them."""
    path = folder / place
    if path.exists():
        beside = path / name if path.is_dir() else path.with_name(name)
        return beside if beside.is_file() else None
    return hub.optional_file(_parted(place)[0], (name,)) if _may_be_on_the_hub(place) else None


def _parted(place: str) -> tuple[str, str]:
    """A place on the hub -> the folder there, and the file in it where the place names one.

    `owner/name/runs/7/last.pt@main` is the file `last.pt` of `owner/name/runs/7@main`.
    """
    inside, at, revision = place.partition("@")
    folder, _, file = inside.rpartition("/")
    return (folder + at + revision, file) if file.endswith(FILES) else (place, "")


def _may_be_on_the_hub(place: str) -> bool:
    """Whether what is not on this disk may be a place on the hub: a file is one only inside a repository."""
    return is_location(place) and is_location(_parted(place)[0])


def _read_head(state: SafetensorsState, card: TaskCard, encoder: Encoder) -> Head:
    who = f"head of task {card.name!r} ({state.path})"
    head = load_head(state, encoder.width, len(card.classes), who, encoder.projection is not None)
    for number, (own, expected) in enumerate(zip(recipe_of(state).get("classes", ()), card.classes, strict=False)):
        if own != expected:
            raise CheckpointError(
                f"{who}: its class {number} is {own!r}, the task's {expected!r}; name the classes as it does, in its "
                "order (classes:, labels:), or fine-tune again"
            )
    return head


def folder_at(location: str, relative_to: Path) -> Path:
    """A folder, or a file, by its path, or by "package:path". The package's code is not run.

    Raises:
        MergebenchError: no such package.
    """
    package, colon, folder = location.partition(":")
    if not colon:
        return relative_to / location
    home = folder_of(package)
    if home is None:
        raise MergebenchError(f"{location}: no package {package!r}; write a path, or package:path")
    return home / folder
