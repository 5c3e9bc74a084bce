"""What workers tell, for whoever watches a run: their cells are known here by name alone."""

from collections.abc import Iterator, Sequence

from mergebench.running.engine import Measured
from mergebench.running.engines.worker import Message
from mergebench.running.observer import Observer
from mergebench.running.planned import Cell, Plan
from mergebench.running.work import Work


class Teller:
    """Tells an observer what workers tell.

    Args:
        plan: whose cells they compute.
        observer: told.
    """

    def __init__(self, plan: Plan, observer: Observer) -> None:
        self._plan, self._observer = plan, observer
        self._done: set[str] = set()
        self._cells = {cell.key.digest: cell for cell in plan.cells}

    def done(self, name: str) -> Cell:
        """The cell whose key has this digest; it is done, and of what else is told of it nothing is passed on."""
        self._done.add(name)
        return self._cells[name]

    def tell(self, message: Message) -> None:
        """One message."""
        kind, name, content = message
        if kind == "told":
            self._observer.tell(*content)
        elif name not in self._done:  # messages and results may take different ways
            getattr(self._observer, kind)(self._cells[name], *content)

    def ended(self, cells: Sequence[Cell], work: Work, why: str) -> Iterator[Measured]:
        """The process that was at these cells is no more: they are handed out again.

        The first one, which it was computing, is not if that has happened too often.

        Args:
            cells: that it had not given back.
            work: that takes them back.
            why: what has become of it, as "its process was ended by SIGKILL".

        Yields:
            The cell that has failed so.
        """
        from mergebench.running.cell import died

        if not cells:
            return
        name = cells[0].card.name
        if work.again(cells):
            self._observer.tell(f"{name}: {why}; {'it is' if len(cells) == 1 else 'its cells are'} computed again")
        else:
            yield Measured(cells[0], died(self._plan, cells[0], f"{why}, and so did those that tried again"), None)
