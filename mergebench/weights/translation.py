"""A state dict of another library, read as timm's tensor by tensor, and written back."""

from collections.abc import Mapping

import torch
from torch import Tensor

from mergebench.errors import CheckpointError, UnknownNameError
from mergebench.weights.dialects import DIALECTS, WRAPPERS, Dialect, Rule
from mergebench.weights.states import LazyState, StateDict, shape_of


class TranslatedState(LazyState):
    """A state dict with timm's names; a tensor is read, and joined from its parts, when it is asked for.

    Args:
        source: the weights under a library's own names.
        dialect: that library's names.
        prefix: what stands before the names of the encoder, wrapper included.
        wrapper: what stands before every name.
        who: what the state is, for messages.

    Raises:
        CheckpointError: a tensor is missing, or of no known part; the parts of one tensor do not fit each other.
    """

    def __init__(
        self, source: Mapping[str, Tensor], dialect: Dialect, prefix: str = "", wrapper: str = "", who: str = "it"
    ) -> None:
        self.source, self.dialect, self.prefix, self.wrapper, self.who = source, dialect, prefix, wrapper, who
        self.others = tuple(name for name in source if dialect.is_other(name, prefix, wrapper))
        own = dict.fromkeys(source)
        for name in self.others:
            del own[name]
        if dialect.complete:
            rules = dialect.of_depth(dialect.depth(own, prefix), prefix)
            _account(own, [name for rule in rules for name in rule.theirs], dialect, who)
        else:
            rules = [Rule(name.removeprefix(prefix), (name,)) for name in own]
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
                    f"{self.who}: {part!r} is {tensor.dtype}, but {rule.theirs[0]!r} {parts[0].dtype}"
                )
        whole = parts[0] if len(parts) == 1 else torch.cat(parts)
        return whole[(None,) * rule.leading]

    def shape(self, name: str) -> tuple[int, ...]:
        """A tensor's shape from those of its parts."""
        rule = self._rules[name]
        shape = shape_of(self.source, rule.theirs[0])
        if len(rule.theirs) > 1:
            shape = (len(rule.theirs) * shape[0], *shape[1:])
        return (1,) * rule.leading + shape


def as_timm(state: Mapping[str, Tensor], who: str) -> Mapping[str, Tensor]:
    """The encoder in a state dict of timm, Hugging Face or open_clip, under timm's names.

    Args:
        state: the weights; only names are read now, and shapes of what is joined.
        who: what the state is, for messages ("expert 'mnist' (path)").

    Returns:
        The state itself if it holds timm's names and nothing else, else a `TranslatedState`. Known other parts of a
        whole model (text tower, projections) are left aside, and named in its `others`.

    Raises:
        CheckpointError: names of no known format, a tensor missing, or one that belongs to no known part.
    """
    for wrapper in WRAPPERS:
        for dialect in DIALECTS.values():
            for prefix in dialect.prefixes:
                if any(name in state for rule in dialect.of_depth(1, wrapper + prefix) for name in rule.theirs):
                    translated = TranslatedState(state, dialect, wrapper + prefix, wrapper, who)
                    return state if list(translated) == list(state) else translated
    names = ", ".join(repr(name) for name in list(state)[:3]) or "nothing"
    known = ", ".join(dialect.title for dialect in DIALECTS.values())
    raise CheckpointError(f"{who} holds {names} ..., the names of no known encoder; known: {known}")


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
    dialect = DIALECTS[format]
    prefix = dialect.prefixes[0] if prefix is None else prefix
    if dialect.complete:
        rules = dialect.of_depth(DIALECTS["timm"].depth(state, ""), prefix)
        _account(state, [rule.timm for rule in rules], dialect, f"cannot be written as {format}: the encoder")
    else:
        rules = [Rule(name, (prefix + name,)) for name in state]
    written = {name: part for rule in rules for name, part in _parts(rule, state[rule.timm]).items()}
    both = next((name for name in others or {} if name in written), None)
    if both is not None:
        raise CheckpointError(f"cannot be written as {format}: {both!r} is the encoder's and another part's")
    return written | dict(others or {})


def check_format(state: Mapping[str, Tensor], format: str) -> None:
    """Refuses, as `from_timm` would, a format that cannot hold an encoder; only names and shapes are looked at."""
    from_timm({name: torch.empty(shape_of(state, name), device="meta") for name in state}, format)


def _parts(rule: Rule, tensor: Tensor) -> StateDict:
    count = len(rule.theirs)
    if tensor.shape[: rule.leading] != (1,) * rule.leading or (count > 1 and len(tensor) % count):
        raise CheckpointError(f"{rule.timm!r} is {tuple(tensor.shape)}, which {rule.theirs[0]!r} cannot hold")
    tensor = tensor[(0,) * rule.leading]
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
