"""Where in a state dict the encoder of images is: what stands before all of its names is found, not listed."""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from mergebench.errors import CheckpointError
from mergebench.weights.adapter_refusals import refused
from mergebench.weights.dialects import READ, TIMM
from mergebench.weights.encoders import REMEDY
from mergebench.weights.rules import Dialect
from mergebench.weights.states import shape_of

LEAST = 0.5  # of an encoder's names that must be there for it to be one that lacks the others
ADAPTER = re.compile(r"(^|\.)(lora_\w+|base_layer|modules_to_save|ia3_\w+|vera_\w+|oft_\w+)(\.|$)")
RESNET = re.compile(r"(^|\.)layers?\d+\.\d+\.conv\d+\.weight$|^(.*\.)?encoder\.stages\.\d+\.layers\.\d+\.")
CONVOLUTIONS = 4  # of other convolutional networks, that are more than what embeds patches


@dataclass(frozen=True)
class Tower:
    """An encoder's names in a state dict.

    Args:
        dialect: whose names they are.
        prefix: what stands before all of them.
        share: how much of what the dialect says such an encoder has is there.
    """

    dialect: Dialect
    prefix: str
    share: float

    @cached_property
    def wrapper(self) -> str:
        """What stands before the names of the whole model."""
        return self.dialect.wrapper(self.prefix)


def towers(names: Iterable[str]) -> list[Tower]:
    """The encoders of images under these names, one for every prefix, in the order of the names."""
    names = dict.fromkeys(names)
    anchored = _best(names, {(d, p) for d in READ for p in _before(names, d.anchor)})
    return [tower for tower in anchored if tower.share >= LEAST]


def freed(names: Iterable[str]) -> dict[str, str]:
    """Names without what wraps modules inside an encoder -> the names there.

    Wrappers of torch's and others' are attributes whose names begin with `_`, as no part of an encoder's does. Where
    they stand before all of its names, or two names would be one without them, they are left.
    """
    names = dict.fromkeys(names)
    wrapped = [name for name in names if "._" in f".{name}"]
    prefixes = [tower.prefix for tower in towers(names)] if wrapped else []
    before = prefixes and not any("._" in f".{n.removeprefix(p)}" for p in prefixes for n in wrapped if n.startswith(p))
    own = {name: name for name in names}
    if not wrapped or before:
        return own
    made = {".".join(part for part in name.split(".") if not part.startswith("_")): name for name in names}
    return made if len(made) == len(names) else own


def find_tower(state: Mapping[str, Tensor], who: str, own: Collection[str] = ()) -> Tower:
    """The encoder of images in a state dict.

    Args:
        state: the weights; values are read only where there are several encoders, to see whether they are one.
        who: what the state is, for messages.
        own: timm's names of the encoder's tensors, where they are known.

    Raises:
        CheckpointError: there is none, or several that differ.
    """
    adapted = next((name for name in state if ADAPTER.search(name) and name not in own), None)
    if adapted is not None:
        raise refused(
            f"{who} has {adapted!r}: it",
            "; or name the folder that peft wrote, with its adapter_config.json, as an expert",
        )
    found = towers(state)
    if found:
        other = next((tower for tower in found[1:] if not _equal(state, found[0], tower)), None)
        if other is not None:
            raise CheckpointError(
                f"{who} holds {len(found)} encoders, whose names begin with "
                f"{' and with '.join(repr(tower.prefix) for tower in found)}: write the one that is meant to a file of "
                "its own, {name: tensor for name, tensor in state.items() if name.startswith("
                f"{other.prefix!r})}}, with safetensors.torch.save_file"
            )
        return found[0]
    named = _of_names(state, own)
    if named is not None and named.share >= LEAST:
        return named
    block = next((name for name in state if RESNET.search(name)), None)
    if block is not None:
        raise _unknown(who, f"a ResNet (it has {block!r})", own)
    # The patches' embedding is missing: of what else is there, the encoder that lacks least.
    once = {(d, p) for d in READ for r in d.rules if "{}" not in r.timm for p in _before(state, r.theirs[0])}
    likely = max(_best(dict.fromkeys(state), once), key=lambda tower: tower.share, default=None)
    if likely is None or likely.share < LEAST:
        kernels = [name for name in state if len(shape := shape_of(state, name)) == 4 and shape[-1] > 1]
        if len(kernels) >= CONVOLUTIONS:
            raise _unknown(who, f"a convolutional network (it has {kernels[1]!r})", own)
        names = ", ".join(repr(name) for name in list(state)[:3]) or "nothing"
        raise CheckpointError(f"{who} holds {names} ..., the names of no known encoder; known: {_known()}")
    text = next((name for name in state if name.endswith("token_embedding.weight")), None)
    if text is not None and likely.prefix == likely.wrapper:
        raise CheckpointError(f"{who} holds a text tower ({text!r}) and no encoder of images; name a whole CLIP's file")
    return likely


def _before(names: Iterable[str], ending: str) -> set[str]:
    """What stands before an ending, in names of which it is whole words."""
    return {name.removesuffix(ending) for name in names if name.endswith(ending) and f".{name}".endswith(f".{ending}")}


def _best(names: Mapping[str, object], places: set[tuple[Dialect, str]]) -> list[Tower]:
    """For every prefix the dialect of which most is there."""
    best: dict[str, Tower] = {}
    for dialect in READ:
        for prefix in sorted(p for d, p in places if d is dialect):
            expected = {n for rule in dialect.of_depth(dialect.depth(names, prefix), prefix) for n in rule.theirs}
            tower = Tower(dialect, prefix, sum(name in names for name in expected) / len(expected))
            if prefix not in best or tower.share > best[prefix].share:
                best[prefix] = tower
    return list(best.values())


def _equal(state: Mapping[str, Tensor], one: Tower, other: Tower) -> bool:
    """Whether two towers hold the same, as one module does that is in a model twice."""
    mine, theirs = (
        {n.removeprefix(t.prefix): n for n in state if n.startswith(t.prefix) and not t.dialect.is_other(n, t.prefix)}
        for t in (one, other)
    )
    return mine.keys() == theirs.keys() and all(torch.equal(state[mine[n]], state[theirs[n]]) for n in mine)


def _of_names(state: Mapping[str, Tensor], own: Collection[str]) -> Tower | None:
    """The tower of an encoder whose names are known, as of one's own or of convolutions; None where none is there."""
    found = Counter(prefix for name in own for prefix in _before(state, name))
    prefix, count = max(found.items(), key=lambda item: (item[1], -len(item[0])), default=("", 0))
    return Tower(TIMM, prefix, count / len(own)) if count else None


def _unknown(who: str, what: str, own: Collection[str]) -> CheckpointError:
    if own:
        return CheckpointError(
            f"{who} is {what}, but lacks most of what the encoder that was named has under timm's names; only vision "
            f"transformers are read under others: {_known()}"
        )
    return CheckpointError(f"{who} is {what}, and its names do not tell which of timm's; {REMEDY}")


def _known() -> str:
    return ", ".join(dict.fromkeys(dialect.title for dialect in READ))
