"""Which cells belong together: those that share a merge, or of which one continues another's."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from mergebench.errors import MergebenchError
from mergebench.running.planned import Cell, Plan
from mergebench.suites.variant import Variant


@dataclass(frozen=True)
class Group:
    """Cells that one process computes one after the other, as each may use what the one before has merged.

    Args:
        cells: in the order of the plan.
    """

    cells: tuple[Cell, ...]


def grouped(cells: Sequence[Cell]) -> list[Group]:
    """The groups of some cells of a plan, in the order of their first cells."""
    groups: dict[str, list[Cell]] = {}
    for cell in cells:
        groups.setdefault(_shared(cell), []).append(cell)
    return [Group(tuple(members)) for members in groups.values()]


def longest_first(groups: Sequence[Group]) -> list[Group]:
    """The groups in an order in which several processes end at about the same time.

    Ceilings, which all others are held against, then what trains, then what looks at images; each kind as it stood.
    """
    families = ("references", "test-time", "calibration", "data-free")
    return sorted(groups, key=lambda group: families.index(_family(group.cells[0])))


def _family(cell: Cell) -> str:
    return "references" if cell.card.role != "method" else cell.needs.family


def _shared(cell: Cell) -> str:
    """What two cells have in common that belong together."""
    what: Any = sorted(cell.variant.evaluate) if cell.card.role == "ceiling" else _root(cell).merge_identity
    return json.dumps([cell.card.name, cell.card.path, cell.hyperparameters, cell.seed, what], default=str)


def _root(cell: Cell) -> Variant:
    """The variant that a cell's merge begins with: in a sequence that of its first step."""
    variant = cell.variant
    while variant.previous is not None and cell.card.role == "method":
        variant = variant.previous
    return variant


def part_named(text: str) -> tuple[int, int]:
    """`"2/8"` -> (2, 8): the second of eight parts.

    Raises:
        MergebenchError: it names no part.
    """
    number, _, of = text.partition("/")
    if not (number.isdecimal() and of.isdecimal()):
        raise MergebenchError(f"--shard {text}: write which part of how many, as 1/4")
    if not 1 <= int(number) <= int(of):
        raise MergebenchError(f"--shard {text}: the parts of {of} are 1 to {of}")
    return int(number), int(of)


def shard(plan: Plan, number: int, of: int) -> Plan:
    """One of several parts of a plan, which together are all of it.

    The ceilings are in every part, as all other cells are held against them; on one folder they are computed once.

    Args:
        plan: made in this process.
        number: which part, from 1 on.
        of: how many there are.
    """
    own = grouped([cell for cell in plan.cells if cell.card.role != "ceiling"])[number - 1 :: of]
    mine = {cell.key.digest for group in own for cell in group.cells}
    return replace(plan, cells=[c for c in plan.cells if c.card.role == "ceiling" or c.key.digest in mine])
