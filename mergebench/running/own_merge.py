"""Merging checkpoints of one's own: a base, experts and folders of images, without a zoo or a suite."""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mergebench.catalogue import discovery, registry
from mergebench.catalogue.ready import ready
from mergebench.data.folders import for_calibration
from mergebench.data.images import DrawnImages
from mergebench.data.labels import normal
from mergebench.data.source import Part
from mergebench.data.task import ImageTable
from mergebench.errors import MergebenchError, tell
from mergebench.merging import hyperparameters
from mergebench.merging.adjusting import ADJUSTMENTS, SAMPLES
from mergebench.merging.budget import Budget, Sizes
from mergebench.merging.contract import PerTask, run_method
from mergebench.merging.layout import Layout
from mergebench.merging.method import MethodCard
from mergebench.merging.pool import ModelPool, Tell
from mergebench.running.failure import told_in_words
from mergebench.weights import formats, resizing
from mergebench.weights.encoders import Encoder, check_base
from mergebench.weights.hub import Hub
from mergebench.weights.states import (
    LazyState,
    SafetensorsState,
    StateDict,
    check_state,
    digest,
    in_dtypes_of,
    recipe_of,
)
from mergebench.zoo.beside import CONFIG, told_encoder
from mergebench.zoo.encoder_notes import check_noted_size, encoder_of
from mergebench.zoo.expert_signs import odd_experts
from mergebench.zoo.heads import Head, check_own_head, load_head
from mergebench.zoo.set_aside import inherited
from mergebench.zoo.zoo import Zoo, registered_zoo
from mergebench.zoo.zoo_files import find_checkpoint, optional_beside


@dataclass(frozen=True)
class OwnModels:
    """Files that are to be merged, in whatever dialect they are.

    Args:
        base: the pre-trained checkpoint: a file, a folder, `owner/name` on the hub, or a registered zoo's name.
        experts: name -> checkpoint: a file, a folder or `owner/name`.
        calibration: name -> folder of images, of every expert or of none (what is taken of it: see
            `data.folders.for_calibration`). Where each image lies in a folder of a class, these are its labels.
        heads: name -> checkpoint of a head, of every expert or of none.
        encoder_name: what makes the empty model: a name in timm, or "module:function". Without it, the files say it:
            what `finetune` noted in a header, a config.json beside the base, or the shapes of a CLIP.
        root: a folder in place of the hub.
        encoder_options: of `encoder_name`, where it is a name in timm.
        image_size: in pixels, another size of images than the base's file is of, that all is taken to.

    Raises:
        MergebenchError: a file that is broken, or does not fit the base; an encoder that cannot be told.
    """

    base: str
    experts: Mapping[str, str]
    calibration: Mapping[str, str] = field(default_factory=dict)
    heads: Mapping[str, str] = field(default_factory=dict)
    encoder_name: str | None = None
    root: str | None = None
    encoder_options: Mapping[str, Any] = field(default_factory=dict)
    image_size: int | None = None

    @cached_property
    def _zoo(self) -> Zoo | None:
        """The registered zoo whose base it is, if it is one's."""
        return registered_zoo(self.base, self.root, image_size=self.image_size)

    @cached_property
    def _files(self) -> dict[str, LazyState]:
        """Place -> what its file holds, under the names there; each is asked for once."""
        places = (*([] if self._zoo is not None else [self.base]), *self.experts.values())
        return {place: formats.open_weights(find_checkpoint(place, Path(), self._hub)) for place in places}

    @cached_property
    def _hub(self) -> Hub:
        return Hub(Path(self.root) if self.root else None)

    @cached_property
    def encoder(self) -> Encoder:
        """What makes the empty model."""
        named = Encoder(self.encoder_name, self.encoder_options) if self.encoder_name else None
        of_zoo = self._zoo.encoder if self._zoo is not None else None
        own = of_zoo or told_encoder(self._files[self.base], named, of_base=True)
        like = named or of_zoo
        notes = {self.base: own} | {place: told_encoder(self._files[place], like) for place in self.experts.values()}
        config = partial(optional_beside, self.base, Path(), self._hub, CONFIG)
        exact = bool(self.calibration)
        found = encoder_of(notes, named, self.base, config, self._own_base, exact=exact, image_size=self.image_size)
        return resizing.encoder_at(found, self.image_size)

    def _own_base(self, own: Collection[str] = ()) -> Mapping[str, Tensor]:
        return formats.as_timm(self._files[self.base], f"the base ({self.base})", own)

    @cached_property
    def base_state(self) -> Mapping[str, Tensor]:
        """The base under timm's names, checked."""
        if self._zoo is not None:
            return self._zoo.base
        state, who = self._own_base(self.encoder.names), f"the base ({self.base})"
        if self.image_size:
            state = resizing.for_encoder(state, self.encoder, who)
        check_base(state, self.encoder, who)
        return state

    @cached_property
    def expert_states(self) -> dict[str, Mapping[str, Tensor]]:
        """The experts under timm's names, held to the base."""
        states = {}
        for name, place in self.experts.items():
            who = f"expert {name!r} ({place})"
            state = formats.as_expert(self._files[place], who, self.base_state)
            states[name] = resizing.like_base(state, self.base_state, self.encoder, who)
            check_state(states[name], self.base_state, who)
            if self.image_size:
                check_noted_size(told_encoder(state, self.encoder), who, self.base_state, self.encoder)
        return states

    @cached_property
    def decoded(self) -> dict[str, "_Decoded"]:
        """name -> its folder's images, decoded when they are drawn, and hashed then."""
        size = self.encoder.image_size
        return {name: _Decoded(part.table(size)) for name, part in self._parts.items()}

    @cached_property
    def _parts(self) -> dict[str, Part]:
        """name -> the images of its folder.

        Raises:
            MergebenchError: a folder of other classes than those that the expert's header notes.
        """
        found = {}
        for name, folder in self.calibration.items():
            found[name] = for_calibration(Path(folder))
            noted = recipe_of(self.expert_states[name]).get("classes")
            names = found[name].names
            if not (names and isinstance(noted, list) and all(isinstance(n, str) for n in noted)):
                continue
            if {normal(n) for n in noted} != {normal(n) for n in names}:
                data = recipe_of(self.expert_states[name]).get("data")
                raise MergebenchError(
                    f"--calibration: expert {name!r} was trained on the classes {_few(noted)}"
                    f"{f' of {data}' * bool(data)}, but {folder} has {_few(names)}; give a folder of its own classes, "
                    "or of images alone"
                )
        return found

    def told(self) -> tuple[str, ...]:
        """What the calibration folders came to, a line each; and where an expert's header notes another folder."""
        lines = []
        for name, part in self._parts.items():
            classes = f"{len(part.names)} classes ({_few(part.names)})" if part.names else "no classes"
            noted = recipe_of(self.expert_states[name]).get("data")
            folder = self.calibration[name]
            other = isinstance(noted, str) and Path(noted).resolve() != Path(folder).resolve()
            told = f"; the expert's header notes {noted}" if other else ""
            lines.append(f"calibration of {name}: {len(part.labels):,} images of {folder}, {classes}{told}")
        return tuple(lines)

    def images(self, seed: int) -> dict[str, DrawnImages]:
        """name -> a draw from its folder's images."""
        mean, std = self.encoder.mean, self.encoder.std
        return {n: DrawnImages(images, images.labels, mean, std, n, seed) for n, images in self.decoded.items()}

    def head(self, name: str) -> Head:
        """An expert's classifier."""
        who = f"head of {name!r} ({self.heads[name]})"
        projected = self.encoder.projection is not None
        head = load_head(SafetensorsState(self.heads[name]), self.encoder.width, None, who, projected)
        check_own_head(head, self.expert_states[name], who, f"expert {name!r} ({self.experts[name]})")
        return head


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + ", ..." * (len(names) > 3)


class _Decoded:
    """Images of a folder as an array [N, H, W, 3] from which rows are read: decoded each time.

    Args:
        table: the folder's.
    """

    def __init__(self, table: ImageTable) -> None:
        self._table = table
        self._read: dict[int, bytes] = {}  # row -> hash of its pixels
        self.labels = table.labels if table.labels.min() >= 0 else None

    def __len__(self) -> int:
        return len(self._table.labels)

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        images = np.stack([self._table.image(int(row)) for row in rows])
        for row, image in zip(rows.tolist(), images, strict=True):
            if row not in self._read:
                self._read[row] = hashlib.sha256(image.data).digest()
        return images

    @property
    def digest(self) -> str:
        """Hash of the pixels of all images read so far, in whatever order; empty if none were."""
        read = b"".join(self._read[row] for row in sorted(self._read))
        return hashlib.sha256(read).hexdigest()[:16] if read else ""


@dataclass(frozen=True)
class OwnMerge:
    """What a merge gave.

    Args:
        state: the merged weights, timm's names, in the base's number formats.
        recipe: all that it was made from.
        told: sentences for people about what was decided for them.
    """

    state: StateDict
    recipe: dict[str, Any]
    told: tuple[str, ...]


def merge_own(
    card: MethodCard,
    models: OwnModels,
    given: Mapping[str, Any],
    seed: int = 0,
    device: str = "cpu",
    progress: Tell | None = None,
    adjusted: Sequence[str] = (),
    memory: int | None = None,
) -> OwnMerge:
    """Merge files of one's own.

    Args:
        card: the method.
        models: the files.
        given: hyper-parameters that differ from the defaults. `samples`, where it is not given, is no larger than the
            smallest folder.
        seed: of everything random.
        device: where to compute.
        progress: told how far the merge is.
        adjusted: what is done to the merged model, of `merging.adjusting`.
        memory: bytes that the whole process is to stay within; None for no limit.

    Raises:
        MergebenchError: files that do not fit together, a method that needs more than was given, or whose result breaks
            the contract.
    """
    function = discovery.load_function(card)
    resolved = hyperparameters.resolve(function, given)
    needs = registry.needs_of(card, resolved)
    architecture = _as_fine_as(models.encoder.make(), models.base_state)
    left = _left_of(memory, registry.with_starts(card, resolved), models, Layout(architecture)) if memory else None
    wants_images = needs.calibration or needs.test_inputs or bool(adjusted)
    if adjusted and not models.calibration:
        option = adjusted[0].replace("_", "-")
        raise MergebenchError(f"--{option} needs images: give --calibration, a folder for every expert")
    if wants_images and not models.calibration:
        raise MergebenchError(f"method {card.name!r} needs images: give --calibration, a folder for every expert")
    if needs.heads and not models.heads:
        raise MergebenchError(f"method {card.name!r} needs heads: give --heads, a checkpoint for every expert")
    sources = models.images(seed) if wants_images else {}
    told = models.told() if wants_images else ()
    fewest = min(map(len, sources.values()), default=0)
    if sources and "samples" not in given and resolved.get("samples", 0) > fewest:
        told = (*told, f"samples={fewest}, for the smallest folder has no more images ({card.name} would take "
                f"{resolved['samples']})",)  # fmt: skip
        resolved["samples"] = fewest
    for sentence in odd_experts(models.base_state, models.expert_states):
        tell(sentence)
    if models.encoder.alternative:
        tell(
            f"nothing says whether {models.base} is {models.encoder.name} or {models.encoder.alternative}: {card.name} "
            "gives the same for both, and what it writes will not say so either; --encoder does"
        )
    noted = inherited([models.base_state, *models.expert_states.values()])
    noted |= resizing.noted(models.base_state, models.encoder, models.expert_states)
    pool = partial(
        ModelPool,
        architecture=architecture,
        base=models.base_state,
        experts=models.expert_states,
        calibration=sources,
        test_inputs=sources,
        heads={name: models.head(name) for name in models.heads} if needs.heads else {},
        seed=seed,
        device=device,
        tell=progress,
        memory=left,
    )
    for name in adjusted:  # before the work, not after it
        ADJUSTMENTS[name].check(models.encoder.make())
    with told_in_words(card):
        state = run_method(function, pool(card.name, needs), resolved, ready)
    if isinstance(state, PerTask):
        raise MergebenchError(f"method {card.name!r} is a reference of one model per task: nothing to write as one")
    for name in adjusted:
        found = ADJUSTMENTS[name].adjust(pool(name, ADJUSTMENTS[name].needs), state, min(SAMPLES, fewest))
        state, told, noted = found.state, (*told, found.told), noted | found.noted
    recipe = {
        "method": card.name,
        "hyperparameters": resolved,
        "seed": seed,
        "encoder": models.encoder.recipe,
        "base": digest(models.base_state),
        "experts": {name: digest(expert) for name, expert in models.expert_states.items()},
        "calibration": {name: models.calibration[name] for name in sources},
        "drawn": {name: source.fingerprint for name, source in sources.items()},
        "images": {name: models.decoded[name].digest for name in sources},
    }
    return OwnMerge(in_dtypes_of(state, models.base_state), recipe | noted, told)


def _left_of(memory: int, cards: Sequence[MethodCard], models: OwnModels, layout: Layout) -> int:
    """What a merge leaves of so many bytes; one that does not fit is refused."""
    budget, sizes = Budget(memory), Sizes.of(layout, next(iter(models.expert_states.values())))
    if lack := budget.lack(cards, len(models.experts), sizes):
        raise MergebenchError(lack)
    return budget.left(cards, len(models.experts), sizes)


def _as_fine_as(encoder: nn.Module, base: Mapping[str, Tensor]) -> nn.Module:
    """The encoder, in float64 where the base has weights in it: what a pool computes in, and results come in."""
    return encoder.double() if any(base[name].dtype == torch.float64 for name in base) else encoder
