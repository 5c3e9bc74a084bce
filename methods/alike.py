"""Matrices of one shape, taken together: many small products, or steps of an optimiser, cost little more than one."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from mergebench.merging.layout import Layout

Found = TypeVar("Found")


def groups_alike(layout: Layout, names: Sequence[str], entries: int) -> list[list[str]]:
    """Names in groups whose matrices are of one shape, with no more entries in all than this, or one name.

    Args:
        layout: of the encoder.
        names: parameters of which `layout.is_matrix` holds.
        entries: how many a group may have.
    """
    groups: list[list[str]] = []
    last: dict[tuple[int, int], tuple[list[str], int]] = {}
    for name in names:
        parts, rows, columns = layout.matrix_shape(name)
        size = parts * rows * columns
        group, held = last.get((rows, columns), ([], entries))
        if held + size > entries:
            group, held = [], 0
            groups.append(group)
        group.append(name)
        last[rows, columns] = group, held + size
    return groups


def by_group(groups: Sequence[list[str]], compute: Callable[[list[str]], list[Found]]) -> Callable[[str], Found]:
    """A function of one name, which computes for the name's whole group and gives each name its own, once.

    Args:
        groups: as `groups_alike` has them.
        compute: a group -> what is found for each of its names.
    """
    group_of = {name: group for group in groups for name in group}
    waiting: dict[str, Found] = {}

    def of(name: str) -> Found:
        if name not in waiting:
            waiting.update(zip(group_of[name], compute(group_of[name]), strict=True))
        return waiting.pop(name)

    return of
