"""A state dict of another library, read as timm's tensor by tensor, and written back."""

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence

import torch
from torch import Tensor

from mergebench.errors import CheckpointError, UnknownNameError, tell
from mergebench.weights.adapter_refusals import refused
from mergebench.weights.adapters import AdapterState
from mergebench.weights.dialects import DIALECTS, WRITTEN
from mergebench.weights.rules import PROJECTION, Dialect, Rule
from mergebench.weights.states import LazyState, StateDict, shape_of
from mergebench.weights.towers import find_tower, freed

# A hidden layer's matrix has as many rows as the next one has columns, or twice as many where half of them are gates.
GATES = ("blocks.0.mlp.fc1.weight", "blocks.0.mlp.fc2.weight")


class TranslatedState(LazyState):
    """A state dict with timm's names; a tensor is read, and joined from its parts, when it is asked for.

    Args:
        source: the weights under a library's own names.
        dialect: that library's names.
        prefix: what stands before the names of the encoder.
        who: what the state is, for messages.
        own: timm's names of the encoder's tensors, where they are known; with its projection, that is one of them.

    Raises:
        CheckpointError: a tensor is missing, or of no known part; the parts of one tensor do not fit each other.
    """

    def __init__(
        self,
        source: Mapping[str, Tensor],
        dialect: Dialect,
        prefix: str = "",
        who: str = "it",
        own: Collection[str] = (),
    ) -> None:
        self.source, self.dialect, self.prefix, self.who = source, dialect, prefix, who
        self.wrapper = dialect.wrapper(prefix)
        projection = dialect.projection(prefix) if PROJECTION in own else None
        projections = [projection] if projection is not None and projection.theirs[0] in source else []
        own = () if dialect.complete else own
        apart = [rule.theirs[0] for rule in projections]
        others = (name for name in source if dialect.is_other(name, prefix, own, _is_number(source, name)))
        self.others = tuple(name for name in others if name not in apart)
        own = dict.fromkeys(source)
        for name in dict.fromkeys((*self.others, *apart)):
            del own[name]
        if dialect.complete:
            rules: Sequence[Rule] = dialect.of_depth(dialect.depth(own, prefix), prefix)
            _account(own, [name for rule in rules for name in rule.theirs], dialect, who)
        else:
            rules = [Rule(name.removeprefix(prefix), (name,)) for name in own]
        rules = [*rules, *projections]
        self._rules = {rule.timm: rule for rule in rules}
        super().__init__(self._rules, getattr(source, "path", None), getattr(source, "metadata", {}))
        for rule in rules:
            shapes = [shape_of(source, name) for name in rule.theirs] if len(rule.theirs) > 1 else []
            for name, shape in zip(rule.theirs, shapes, strict=False):
                if shape != shapes[0]:
                    raise CheckpointError(f"{who}: {name!r} is {shape}, but {rule.theirs[0]!r} {shapes[0]}")

    def __getitem__(self, name: str) -> Tensor:
        rule = self._rules[name]
        parts = [self.source[part] for part in rule.theirs]
        for part, tensor in zip(rule.theirs, parts, strict=True):
            if tensor.dtype != parts[0].dtype:
                raise CheckpointError(
                    f"{self.who}: {part!r} is {tensor.dtype}, but {rule.theirs[0]!r} {parts[0].dtype}; "
                    "save both in one number format"
                )
        whole = parts[0] if len(parts) == 1 else torch.cat(parts)
        if rule.thirds:
            first, last = (len(whole) * third // 3 for third in rule.thirds)
            whole = whole[first:last]
        if rule.transposed:
            whole = whole.T.contiguous()
        return whole[(None,) * rule.leading]

    def shape(self, name: str) -> tuple[int, ...]:
        """A tensor's shape from those of its parts."""
        rule = self._rules[name]
        shape = shape_of(self.source, rule.theirs[0])
        if len(rule.theirs) > 1:
            shape = (len(rule.theirs) * shape[0], *shape[1:])
        if rule.thirds:
            first, last = (shape[0] * third // 3 for third in rule.thirds)
            shape = (last - first, *shape[1:])
        if rule.transposed:
            shape = shape[::-1]
        return (1,) * rule.leading + shape

    @property
    def told(self) -> str:
        """What was decided on the way, for people; empty where the file is as its library writes it."""
        strange = [name for name in self.others if not self.dialect.is_known(name, self.prefix)]
        alone = {self.prefix + name for name in self.dialect.heads}
        counts = Counter(name if name in alone else _part(name, self.wrapper) for name in strange)
        parts = [
            f"{part!r}" + f" ({count} tensor{'s' * (count > 1)})" * part.endswith(".") for part, count in counts.items()
        ]
        more = f" and {len(parts) - 5} more" if len(parts) > 5 else ""
        sentences = [f"its encoder is what stands behind {self.prefix!r}"] * bool(self.wrapper)
        sentences += [f"{', '.join(parts[:5])}{more} beside it, left aside"] * bool(parts)
        return "; ".join(sentences)


class _Freed(LazyState):
    """A state dict without what wraps modules inside its encoder."""

    def __init__(self, source: Mapping[str, Tensor], names: Mapping[str, str]) -> None:
        self._source, self._there = source, names
        super().__init__(names, getattr(source, "path", None), getattr(source, "metadata", {}))

    @classmethod
    def of(cls, state: Mapping[str, Tensor], who: str) -> Mapping[str, Tensor]:
        """The state itself, where there is nothing of the kind in it."""
        names = freed(state)
        if list(names) == list(state):
            return state
        parts = {part: None for name in names.values() for part in name.split(".") if part.startswith("_")}
        tell(f"{who}: its names are read without {', '.join(repr(f'{part}.') for part in parts)}")
        return cls(state, names)

    def __getitem__(self, name: str) -> Tensor:
        return self._source[self._there[name]]

    def shape(self, name: str) -> tuple[int, ...]:
        """A tensor's shape."""
        return shape_of(self._source, self._there[name])


class Unwrapped(LazyState):
    """A whole model's state dict under its library's own names.

    Args:
        source: the weights, with or without what training code puts before every name.
        who: what the state is, for messages.
        own: timm's names of its encoder's tensors, where they are known.

    Raises:
        CheckpointError: it holds no encoder of images, or several.
    """

    def __init__(self, source: Mapping[str, Tensor], who: str, own: Collection[str] = ()) -> None:
        if isinstance(source, AdapterState):
            raise refused(f"{who} has {next(iter(source))!r}: it")
        source = _Freed.of(source, who)
        self._source, self._wrapper = source, find_tower(source, who, own).wrapper
        names = [name.removeprefix(self._wrapper) for name in source if name.startswith(self._wrapper)]
        super().__init__(names, getattr(source, "path", None), getattr(source, "metadata", {}))

    def __getitem__(self, name: str) -> Tensor:
        return self._source[self._wrapper + name]

    def shape(self, name: str) -> tuple[int, ...]:
        """A tensor's shape."""
        return shape_of(self._source, self._wrapper + name)


def as_timm(state: Mapping[str, Tensor], who: str, own: Collection[str] = ()) -> Mapping[str, Tensor]:
    """The encoder in a state dict of timm, Hugging Face or open_clip, under timm's names.

    Args:
        state: the weights; only names are read now, and shapes of what is joined.
        who: what the state is, for messages ("expert 'mnist' (path)").
        own: timm's names of the encoder's tensors, where they are known: one's own may have more than timm's.

    Returns:
        The state itself if it holds timm's names and nothing else, else a `TranslatedState`. Other parts of a whole
        model are left aside, and named in its `others`; those that are not known are told, as is a prefix of no
        library's.

    Raises:
        CheckpointError: names of no known format, several encoders, a tensor missing, or one that belongs to no part.
    """
    if isinstance(state, AdapterState):
        raise refused(f"{who} has {next(iter(state))!r}: it")
    state = _Freed.of(state, who)
    tower = find_tower(state, who, own)
    translated = TranslatedState(state, tower.dialect, tower.prefix, who, own)
    if PROJECTION in own and PROJECTION not in translated:
        raise CheckpointError(
            f"{who} holds no projection of images (visual.proj, visual_projection.weight), which belongs to this "
            "encoder: name the whole model's file, or leave the projection with the heads (in a zoo's file, "
            "projection: base)"
        )
    if translated.told:
        tell(f"{who}: {translated.told}")
    return state if list(translated) == list(state) else translated


def from_timm(
    state: Mapping[str, Tensor], format: str, others: Mapping[str, Tensor] | None = None, prefix: str | None = None
) -> StateDict:
    """An encoder's weights under another library's names.

    Args:
        state: timm's names.
        format: "timm", "hf" or "open_clip".
        others: tensors of other parts of the model, under that library's full names, to go with them.
        prefix: what to put before the encoder's names; the library's own, if not given.

    Returns:
        The weights, no two of them in the same memory.

    Raises:
        UnknownNameError: no such format.
        CheckpointError: the format cannot hold this encoder.
    """
    if format not in DIALECTS:
        raise UnknownNameError("format", format, DIALECTS)
    dialect = dialect_for(state, format)
    prefix = dialect.prefixes[0] if prefix is None else prefix
    if dialect.complete:
        rules = list(dialect.of_depth(DIALECTS["timm"].depth(state, ""), prefix))
        rules += filter(None, [dialect.projection(prefix) if PROJECTION in state else None])
        _account(state, [rule.timm for rule in rules], dialect, f"cannot be written as {format}: the encoder")
    else:
        rules = [Rule(name, (prefix + name,)) for name in state]
    pieces: dict[str, list[Tensor]] = {}
    for rule in rules:
        for name, part in _parts(rule, state[rule.timm]).items():
            pieces.setdefault(name, []).append(part)
    written = {name: parts[0] if len(parts) == 1 else torch.cat(parts) for name, parts in pieces.items()}
    both = next((name for name in others or {} if name in written), None)
    if both is not None:
        raise CheckpointError(f"cannot be written as {format}: {both!r} is the encoder's and another part's")
    return written | dict(others or {})


def check_format(state: Mapping[str, Tensor], format: str) -> None:
    """Refuses, as `from_timm` would, a format that cannot hold an encoder; only names and shapes are looked at."""
    try:
        from_timm({name: torch.empty(shape_of(state, name), device="meta") for name in state}, format)
    except CheckpointError as error:
        raise CheckpointError(f"{error}; --format timm, the default, writes any encoder") from None


def dialect_for(state: Mapping[str, Tensor], format: str) -> Dialect:
    """The dialect of a library ("timm", "hf", "open_clip") that can hold an encoder; the first, if none can."""
    names, depth = set(state) - {PROJECTION}, DIALECTS["timm"].depth(state, "")
    kinds = [dialect for dialect in WRITTEN if dialect.name == format]
    fits = [dialect for dialect in kinds if {rule.timm for rule in dialect.of_depth(depth, "")} == names] or kinds[:1]
    # What has the same names with gates in its blocks comes after what has none.
    gated = len(fits) > 1 and shape_of(state, GATES[0])[0] != shape_of(state, GATES[1])[1]
    return fits[-1] if gated else fits[0]


def _is_number(state: Mapping[str, Tensor], name: str) -> bool:
    return "." not in name and math.prod(shape_of(state, name)) == 1


def _part(name: str, wrapper: str) -> str:
    """The part of a model that a name is of, for people."""
    within = name.removeprefix(wrapper)
    first, dot, _ = within.partition(".")
    return name[: len(name) - len(within)] + first + dot


def _parts(rule: Rule, tensor: Tensor) -> StateDict:
    count = len(rule.theirs)
    if tensor.shape[: rule.leading] != (1,) * rule.leading or (count > 1 and len(tensor) % count):
        raise CheckpointError(f"{rule.timm!r} is {tuple(tensor.shape)}, which {rule.theirs[0]!r} cannot hold")
    tensor = tensor[(0,) * rule.leading]
    if rule.transposed:
        tensor = tensor.T.contiguous()
    if count == 1:
        return {rule.theirs[0]: tensor}
    return {name: part.clone() for name, part in zip(rule.theirs, tensor.chunk(count), strict=True)}


def _account(names: Mapping[str, object], expected: list[str], dialect: Dialect, who: str) -> None:
    """Raises unless these names are exactly the expected ones."""
    missing = next((name for name in expected if name not in names), None)
    if missing is not None:
        raise CheckpointError(f"{who} lacks {missing!r}, which every {dialect.title} of its depth has")
    known = set(expected)
    extra = next((name for name in names if name not in known), None)
    if extra is not None:
        raise CheckpointError(f"{who} has {extra!r}, which no {dialect.title} has")
