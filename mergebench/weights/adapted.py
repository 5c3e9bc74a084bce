"""An expert that is stored as a LoRA adapter: the base's weights with what the adapter adds, under timm's names.

    W = W_0 + s B A,   s = alpha / r (rsLoRA: alpha / sqrt(r));   B [out, r], A [r, in]

Source: Hu et al., arXiv:2106.09685; Kalajdzievski, arXiv:2312.03732 (rsLoRA).
"""

from collections import Counter
from collections.abc import Collection, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from mergebench.errors import CheckpointError, tell
from mergebench.weights.adapters import AdapterState, Change
from mergebench.weights.dialects import READ, TIMM
from mergebench.weights.rules import Dialect, Rule
from mergebench.weights.states import LazyState, check_finite, digest, recipe_of, shape_of
from mergebench.weights.translation import as_timm


class Piece(NamedTuple):
    """Where something that an adapter changes is in a tensor of timm's.

    Args:
        target: its name in the model that the adapter was trained on, with what stands before it.
        rule: of timm's tensor.
        part: which of the rule's parts it is.
    """

    target: str
    rule: Rule
    part: int

    def rows(self, tensor: Tensor) -> Tensor:
        """Its rows of timm's tensor, as they are there: a view."""
        tensor = tensor[(0,) * self.rule.leading]
        return tensor.chunk(len(self.rule.theirs))[self.part] if len(self.rule.theirs) > 1 else tensor

    def taken(self, theirs: Tensor) -> Tensor:
        """What timm's tensor has of a tensor of theirs: all rows, or some thirds of them."""
        first, last = (len(theirs) * third // 3 for third in self.rule.thirds or (0, 3))
        return theirs[first:last]

    def shape(self, timm: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of their tensor, by that of timm's."""
        rows, *rest = timm[self.rule.leading :]
        first, last = self.rule.thirds or (0, 3)
        return rows * 3 // (last - first) // len(self.rule.theirs), *rest


class AdaptedState(LazyState):
    """The base's weights and an adapter's changes; a tensor is computed when it is asked for, in at least float32.

    What is not changed is the base's own. B A is computed in float64, so that the number of threads does not show.

    Args:
        adapter: the adapter.
        base: the weights that it is added to, timm's names, checked.
        who: whose it is, for messages.

    Raises:
        CheckpointError: it changes what the base does not have, or has in another shape; values that are not finite.
    """

    def __init__(self, adapter: AdapterState, base: Mapping[str, Tensor], who: str) -> None:
        super().__init__(base, adapter.path, adapter.metadata)
        self._adapter, self._base, self.who = adapter, base, who
        dialect, prefix, table = _names_of(adapter, base, who)
        self._pieces: dict[str, list[Piece]] = {}
        self.others: list[str] = []  # of other parts of the model that it was trained on
        for target in dict.fromkeys((*adapter.changes, *adapter.whole)):
            own = target.removeprefix(prefix)
            if target.startswith(prefix) and own in table:
                for rule, part in table[own]:
                    self._add(Piece(target, rule, part))
            elif dialect.is_other(target, prefix, base):
                self.others.append(target)
            else:
                raise CheckpointError(
                    f"{who} changes {target!r}, which the base lacks; is it an adapter of another backbone, or deeper?"
                )
        check_finite(adapter, who, floating=adapter)

    def _add(self, piece: Piece) -> None:
        """Take a change in, if it has the base's shape."""
        expected = piece.shape(shape_of(self._base, piece.rule.timm))
        found: list[tuple[int, ...]] = []
        if piece.target in self._adapter.whole:
            found.append(self._adapter.shape(self._adapter.whole[piece.target]))
        if piece.target in self._adapter.changes:
            up, down, _ = self._adapter.changes[piece.target]
            rows = self._adapter.shape(up)
            found.append(rows if down is None else (rows[0], *self._adapter.shape(down)[1:]))
        odd = next((shape for shape in found if shape != expected), None)
        if odd is not None:
            raise CheckpointError(
                f"{self.who} changes {piece.target!r} {odd}, which is {expected} in the base; is it an adapter of "
                "another backbone, patch or image size?"
            )
        self._pieces.setdefault(piece.rule.timm, []).append(piece)

    def __getitem__(self, name: str) -> Tensor:
        if name not in self._pieces:
            return self._base[name]
        before = self._base[name]
        whole = before.to(torch.float64, copy=True)
        dtype = torch.promote_types(before.dtype, torch.float32)
        for piece in self._pieces[name]:
            rows = piece.rows(whole)
            if piece.target in self._adapter.whole:
                stored = self._adapter[self._adapter.whole[piece.target]]
                dtype = torch.promote_types(dtype, stored.dtype)
                rows.copy_(piece.taken(stored))
            if piece.target in self._adapter.changes:
                up, down = self._factors(piece)
                rows += up if down is None else (up @ down).view_as(rows)
        return whole.to(dtype)

    def shape(self, name: str) -> tuple[int, ...]:
        """A tensor's shape, which is the base's."""
        return shape_of(self._base, name)

    def low_rank(self, name: str) -> tuple[Tensor, Tensor] | None:
        """What is added to a matrix, as B [m, r] and A [r, n], float64, the scale in B.

        Where a matrix holds several that were adapted apart (query, key and value), B is block by block.

        Returns:
            None where nothing is added to a tensor, or something takes the place of a part of it.
        """
        pieces = self._pieces.get(name, [])
        if not pieces or any(p.target in self._adapter.whole for p in pieces) or len(self.shape(name)) < 2:
            return None
        # What has two dimensions is no bias, and is added to by products alone.
        factors = [(up, down) for up, down in map(self._factors, pieces) if down is not None]
        whole = torch.zeros(self.shape(name), dtype=torch.float64)[(0,) * pieces[0].rule.leading].flatten(1)
        up = whole.new_zeros(len(whole), sum(down.shape[0] for _, down in factors))
        place = 0
        for piece, (own, down) in zip(pieces, factors, strict=True):
            piece._replace(rule=Rule("", piece.rule.theirs)).rows(up)[:, place : place + len(down)] = own
            place += len(down)
        return up, torch.cat([down for _, down in factors])

    def _factors(self, piece: Piece) -> tuple[Tensor, Tensor | None]:
        """B [m, r] with the scale in it, and A [r, n] or None, of one piece, in float64."""
        change: Change = self._adapter.changes[piece.target]
        up = piece.taken(change.scale * self._adapter[change.up].double())
        if change.down is None:
            return up, None
        return up.flatten(1), self._adapter[change.down].double().flatten(1)

    @property
    def told(self) -> str:
        """What was decided on the way, for people."""
        counts = Counter(name.partition(".")[0] for name in self.others)
        aside = ", ".join(f"{part!r} ({count} tensor{'s' * (count > 1)})" for part, count in counts.items())
        return f"{self._adapter.told}, added to the base" + f"; what it changes in {aside} is left aside" * bool(aside)


def as_expert(state: Mapping[str, Tensor], who: str, base: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """An expert's weights under timm's names, whether its file holds all of them or an adapter.

    Args:
        state: as it is read from its file.
        who: what it is, for messages ("expert 'mnist' (path)").
        base: the base's weights, timm's names, checked: what an adapter is added to.

    Raises:
        CheckpointError: as `as_timm` and `AdaptedState` do.
    """
    if not isinstance(state, AdapterState):
        return as_timm(state, who, base)
    adapted = AdaptedState(state, base, who)
    tell(f"{who}: {adapted.told}")
    noted = recipe_of(state).get("base")
    if isinstance(noted, str) and noted != digest(base):
        tell(f"{who}: its header notes other weights than the base's as those that it was trained from")
    return adapted


Table = dict[str, list[tuple[Rule, int]]]  # their name -> timm's tensors that it is in


def _names_of(adapter: AdapterState, base: Collection[str], who: str) -> tuple[Dialect, str, Table]:
    """Whose names an adapter has, what stands before those of the encoder, and where each is in the base."""
    targets = dict.fromkeys((*adapter.changes, *adapter.whole))
    best: tuple[tuple[int, int], Dialect, str, Table] | None = None
    for dialect in READ:
        table = _table(dialect, base)
        found = Counter(p for target in targets for p in _before(target, table) if not _beside(dialect, p))
        for prefix, count in found.items():
            if best is None or (count, len(prefix)) > best[0]:
                best = (count, len(prefix)), dialect, prefix, table
    if best is None:
        few = ", ".join(repr(target) for target in list(targets)[:2])
        raise CheckpointError(
            f"{who} changes {few}{' ...' * (len(targets) > 2)}, of which the base has none; is it an adapter of a "
            "different model, or of a text tower alone?"
        )
    return best[1:]


def _table(dialect: Dialect, base: Collection[str]) -> Table:
    """The names that a dialect has for a base's tensors."""
    rules = dialect.of_depth(TIMM.depth(base, ""), "") if dialect.complete else [Rule(name, (name,)) for name in base]
    table: Table = {}
    for rule in rules:
        for part, name in enumerate(rule.theirs if rule.timm in base else ()):
            table.setdefault(name, []).append((rule, part))
    return table


def _before(target: str, table: Table) -> list[str]:
    """What may stand before a name: all words of it whose others are a name in the table."""
    words = target.split(".")
    return [
        ".".join(words[:place]) + "." * (place > 0) for place in range(len(words)) if ".".join(words[place:]) in table
    ]


def _beside(dialect: Dialect, prefix: str) -> bool:
    """Whether what stands behind a prefix is another part of the model than the encoder: a text tower."""
    return any(name.endswith(".") and f".{prefix}".endswith(f".{name}") for name in dialect.beside)
