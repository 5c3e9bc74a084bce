"""Progress on a terminal: cells done, the method and task at hand, time left; plain lines where there is none."""

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from mergebench.cli.saying import tell
from mergebench.cli.steps import Lines
from mergebench.errors import counted
from mergebench.measuring.results import Result
from mergebench.running.observer import Observer
from mergebench.running.planned import Cell, Plan


class ProgressObserver(Observer):
    """A bar over methods x tasks, and a line for every cell that ends.

    Args:
        console: where to; standard output if not given.
        quiet: whether nothing is shown.
        verbose: whether the traceback of what fails is shown with it.
    """

    def __init__(self, console: Console | None = None, quiet: bool = False, verbose: bool = False) -> None:
        self._verbose = verbose
        # Names and errors are other people's text: brackets in them are no markup.
        self.console = console or Console(highlight=False, markup=False, soft_wrap=True, quiet=quiet)
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[unit]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
            disable=quiet or not self.console.is_terminal,
        )
        self._bar = self._progress.add_task("reading weights and images", total=None, unit="method x task")
        self._merge = self._progress.add_task("", total=None, unit="", visible=False)
        self._lines: dict[str, Lines] = {}  # of each cell that is being computed, by its key

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._progress.stop()

    def tell(self, sentence: str) -> None:
        """A line for a result that is no result."""
        tell(self.console, sentence)

    def start(self, plan: Plan, todo: list[Cell]) -> None:
        """Size the bar by what is left to do: per cell, one step for merging and one for every task."""
        tell(self.console, headline(plan, todo))
        for sentence in plan.left_out:
            tell(self.console, f"  {sentence}")
        self._done = 0
        self._progress.update(self._bar, total=sum(map(_steps, todo)))

    def cell(self, cell: Cell) -> None:
        """A cell begins; others may be under way."""
        self._progress.update(self._bar, description=f"{cell.card.name}: merging")
        self._progress.reset(self._merge, total=None, visible=False)
        self._lines[cell.key.digest] = Lines()

    def merging(self, cell: Cell, what: str, done: int, total: int) -> None:
        """A merge is so far: a bar of its own (of the one that was heard of last), or a line now and then."""
        if self.console.is_terminal:
            description = f"{cell.card.name}: merging"
            self._progress.update(
                self._merge, completed=done, total=total, visible=True, description=description, unit=what
            )
        elif line := self._lines[cell.key.digest].due(what, done, total):
            tell(self.console, f"  {cell.card.name}: merging, {line}")

    def task(self, cell: Cell, task: str) -> None:
        """One task is evaluated."""
        self._progress.update(self._merge, visible=False)
        self._progress.update(self._bar, advance=1, description=f"{cell.card.name}: {task}")

    def done(self, cell: Cell, result: Result, reused: bool) -> None:
        """A line for the cell; a failed one skips the steps it did not take."""
        chosen = "tuned" if cell.tuned.get("trials") else ""
        where = ", ".join(filter(None, (cell.variant.name.replace(",", ", "), chosen, f"seed {cell.seed}")))
        name = f"{cell.card.name} ({where})"
        if not reused:
            self._lines.pop(cell.key.digest, None)
            self._progress.update(self._merge, visible=False)
            self._done += _steps(cell)
            self._progress.update(self._bar, completed=self._done)
        if result.status == "failed":
            tell(self.console, f"  {name:<28} failed: {result.failure}")
            for line in result.traceback.splitlines() if self._verbose else ():
                tell(self.console, f"    {line}")
        else:
            merge, evaluation, average = result.merge, result.evaluation, result.average
            assert merge and evaluation and average is not None  # as of all that did not fail
            cost = "reused" if reused else f"merge {merge.seconds:.1f} s, evaluate {evaluation.seconds:.1f} s"
            tell(self.console, f"  {name:<28} {100 * average:5.1f} %   {cost}")


def headline(plan: Plan, todo: list[Cell]) -> str:
    """A plan in a line; the cells in `todo` are not done yet."""
    tasks = {t for c in plan.cells for t in c.variant.evaluate}
    cells = f"{counted(len(plan.cells), 'cell')} ({len(todo):,} to compute)"
    return f"{plan.name}: {cells}, {counted(len(tasks), 'task')}, on {plan.device}"


def _steps(cell: Cell) -> int:
    return len(cell.variant.evaluate) + 1
