"""Who is told how a run goes, whatever computes it."""

from mergebench.measuring.results import Result
from mergebench.running.planned import Cell, Plan


class Observer:
    """Told of what happens, so that progress can be shown; does nothing by itself."""

    def tell(self, sentence: str) -> None:
        """Something to be known, in a sentence: a stored result that is set aside, a folder that may only be read."""

    def start(self, plan: Plan, todo: list[Cell]) -> None:
        """The run begins; the cells in `todo` are not done yet."""

    def cell(self, cell: Cell) -> None:
        """A cell begins to merge."""

    def merging(self, cell: Cell, what: str, done: int, total: int) -> None:
        """A cell's merge is so far: of `total` tensors, images, blocks or steps so many are done."""

    def task(self, cell: Cell, task: str) -> None:
        """A cell has been evaluated on a task."""

    def done(self, cell: Cell, result: Result, reused: bool) -> None:
        """A cell is stored."""
