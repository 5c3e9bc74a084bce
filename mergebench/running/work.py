"""What is left to do of a run: handed out group by group, while other runs may be at work in the same folder."""

from collections import Counter, deque
from collections.abc import Iterator, Sequence

from mergebench.measuring.results import Result, ResultStore
from mergebench.running.groups import Group
from mergebench.running.leases import Leases
from mergebench.running.planned import Cell

ASKED = 32  # groups that are held by others, after which it is not looked for more before the next time
ENDS = 3  # processes that a cell may end before it counts as failed


class Work:
    """Groups of cells that nobody has computed yet; what is handed out is held by a lease until it is stored.

    Args:
        groups: all that is left.
        store: where results are.
        leases: of that folder.
        since: when this run began, as results note it in `asked`: what failed later than that is not tried again.
    """

    def __init__(self, groups: Sequence[Group], store: ResultStore, leases: Leases, since: str) -> None:
        self._pending = deque(groups)
        self._store, self._leases, self._since = store, leases, since
        self._found: list[tuple[Cell, Result]] = []
        self._ends: Counter[str] = Counter()

    @property
    def left(self) -> bool:
        """Whether there are cells that have not been handed out; others may be computing them."""
        return bool(self._pending)

    def draw(self) -> Group | None:
        """The next cells to compute, held for this run; None if there are none now."""
        for _ in range(min(len(self._pending), ASKED)):
            group = self._pending.popleft()
            mine, others = [], []
            for cell in group.cells:
                if not self._leases.claim(self._name(cell)):
                    others.append(cell)
                elif (result := self._stored(cell)) is not None:  # another run has just put it there
                    self.release(cell)
                    self._found.append((cell, result))
                else:
                    mine.append(cell)
            if others:
                self._pending.append(Group(tuple(others)))
            if mine:
                return Group(tuple(mine))
        return None

    def found(self) -> Iterator[tuple[Cell, Result]]:
        """What other runs have computed meanwhile, once each."""
        while self._found:
            yield self._found.pop(0)

    def release(self, cell: Cell) -> None:
        """Let go of a cell: its result is stored."""
        self._leases.release(self._name(cell))

    def again(self, cells: Sequence[Cell]) -> bool:
        """Take back cells whose process has ended, the one first that it was at; False if it ended too many."""
        self._ends[cells[0].key.digest] += 1
        often = self._ends[cells[0].key.digest] >= ENDS
        rest = tuple(cells[1:] if often else cells)
        for cell in rest:
            self.release(cell)
        if rest:
            self._pending.appendleft(Group(rest))
        return not often

    def _name(self, cell: Cell) -> str:
        return self._store.path(cell.key).stem

    def _stored(self, cell: Cell) -> Result | None:
        result = self._store.latest(cell.key)
        return result if result and (result.status == "ok" or result.asked > self._since) else None
