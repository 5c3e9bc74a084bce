"""What the leaderboard's pages tell of methods and tasks, gathered from the registry without importing any method."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mergebench.errors import MergebenchError

if TYPE_CHECKING:
    from mergebench.data.task import Task
    from mergebench.leaderboard.board import Board
    from mergebench.leaderboard.series import Series
    from mergebench.leaderboard.site.known import Known, MethodFacts, TaskFacts
    from mergebench.merging.method import MethodCard


def known_of(boards: "Sequence[Board]", series: "Sequence[Series]", folder: Path) -> "Known":
    """The cards of all methods and tasks of some boards and series.

    Args:
        boards, series: which.
        folder: the site's; pictures that are there are not made again.
    """
    from mergebench.catalogue import registry
    from mergebench.leaderboard.site.known import Known

    lines = [line for one in series for line in one.lines]
    methods = dict.fromkeys([*(row.method for board in boards for row in board.rows), *(x.method for x in lines)])
    tasks = dict.fromkeys(task for board in boards for task in board.tasks)
    try:
        cards, registered = registry.methods(), registry.tasks()
    except MergebenchError:  # what is installed contradicts itself: the results are there to be shown all the same
        return Known()
    return Known(
        methods={name: _method(cards[name]) for name in methods if name in cards},
        tasks={name: _task(registered[name], folder) for name in tasks if name in registered},
    )


def _method(card: "MethodCard") -> "MethodFacts":
    from mergebench.cli.method_card import facts_of, parts_of, settings_of
    from mergebench.leaderboard.site.known import MethodFacts, Setting

    body, described = parts_of(card.doc)
    settings = tuple(Setting(*row, described.get(row[0], "")) for row in settings_of(card))
    return MethodFacts(card.year, card.fidelity, facts_of(card), body, settings)


def _task(task: "Task", folder: Path) -> "TaskFacts":
    from mergebench.cli.contact_sheet import sheet_of
    from mergebench.leaderboard.site.known import TaskFacts

    card = task.card
    facts = {
        "stands for": card.stands_for,
        "classes": str(len(card.classes)),
        "images": ", ".join(f"{split} {count:,}" for split, count in card.splits.items()),
        "prompts": "; ".join(card.templates),
        "source": card.source,
        "licence": card.licence,
        "photographed, scanned or written": card.real,
        "drawn": card.drawn,
    }
    sheet, note = sheet_of(task, folder)
    told = {fact: text for fact, text in facts.items() if text}
    return TaskFacts(card.title, told, tuple(card.classes), sheet, task.fingerprint, note)
