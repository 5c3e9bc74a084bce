"""What computes cells: this process, one cell after the other; processes and clusters take its place."""

import time
from collections.abc import Generator
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, Protocol

from mergebench.measuring.results import Result
from mergebench.running.observer import Observer
from mergebench.running.planned import Cell, Plan
from mergebench.running.work import Work

if TYPE_CHECKING:
    from mergebench.measuring.evaluation import Evaluation

PAUSE = 0.5  # seconds until it is looked again whether others are done with what is left


class Measured(NamedTuple):
    """A cell that was computed: its result, and what its counts follow from; None where it failed."""

    cell: Cell
    result: Result
    evaluation: "Evaluation | None"


# Each cell as it ends, and None now and then.
Measuring = Generator[Measured | None, None, None]


class Engine(Protocol):
    """Computes what there is to do."""

    def measure(self, plan: Plan, work: Work, observer: Observer, timeout: float | None) -> Measuring:
        """Draw from the work and compute until nothing is left.

        Args:
            plan: whose cells they are, made in this process.
            work: what is left.
            observer: told of what begins, and how far it is.
            timeout: seconds that one merge may take.

        Yields:
            Each cell as it ends; None now and then while there is nothing to tell, so that others' results are seen.

        Raises:
            MergebenchError: nothing can be computed so.
        """


class InProcess:
    """Computes in this process, on all its threads."""

    def measure(self, plan: Plan, work: Work, observer: Observer, timeout: float | None) -> Measuring:
        """See `Engine.measure`."""
        # Only where there is something to do: torch and timm take seconds to import, a finished run none to look at.
        from mergebench.running.cell import run_cell
        from mergebench.running.execution import Executor

        executor = Executor(plan.workbench, plan.device, timeout, plan.precision, plan.devices)
        while True:
            group = work.draw()
            if group is None:
                yield None
                if not work.left:
                    return
                time.sleep(PAUSE)
                continue
            for cell in group.cells:
                observer.cell(cell)
                executor.tell = partial(observer.merging, cell)
                yield Measured(cell, *run_cell(executor, cell, partial(observer.task, cell)))
