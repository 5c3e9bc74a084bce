"""A comparison of two rows on a terminal, and as a picture."""

from pathlib import Path
from typing import TYPE_CHECKING

from rich import box
from rich.table import Table
from rich.text import Text

from mergebench.errors import on_one_line
from mergebench.leaderboard.comparison import Comparison, Difference
from mergebench.leaderboard.formatting import percent
from mergebench.leaderboard.standing import SURE
from mergebench.leaderboard.table import make_console

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOUR, AVERAGE = "#0072B2", "#D55E00"  # of tasks, and of their average


def print_comparison(comparison: Comparison, ours: str, theirs: str, where: str) -> None:
    """Print it, tasks one a line.

    Args:
        comparison: what to print.
        ours, theirs: what the rows are called.
        where: the board's name.
    """
    console = make_console()
    table = Table(title=on_one_line(f"{ours} against {theirs}: {where}"), box=box.SIMPLE_HEAD, title_justify="left")
    table.add_column("task", no_wrap=True)
    for name in (ours, theirs, "difference", "95 %", f"only {ours}", f"only {theirs}", "p", "p, Holm"):
        table.add_column(Text(on_one_line(name)), justify="right")
    for task, difference in comparison.tasks.items():
        table.add_row(*(Text(on_one_line(cell)) for cell in (task, *_cells(difference))))
    table.add_section()
    table.add_row(*(Text(cell) for cell in ("average", *_cells(comparison.average))), style="bold")
    console.print(table)
    for sentence in sentences(comparison, ours, theirs):
        console.print(on_one_line(sentence), highlight=False, markup=False)


def sentences(comparison: Comparison, ours: str, theirs: str) -> list[str]:
    """What it says, and what its numbers are."""
    average = comparison.average
    if average.p > SURE:
        verdict = f"The averages of {ours} and {theirs} cannot be told apart"
    else:
        better, worse = (ours, theirs) if average.difference > 0 else (theirs, ours)
        verdict = f"On average {better} is better than {worse}"
    apart = [task for task, one in comparison.tasks.items() if one.corrected <= SURE]
    for_us = sum(comparison.tasks[task].difference > 0 for task in apart)
    told = f"{verdict} (p {_p(average.p)}); on {len(apart)} of {len(comparison.tasks)} tasks they differ, "
    told += f"on {for_us} of them {ours} is better." if apart else "by McNemar's test and Holm's correction."
    return [told, *_notes(comparison)]


def _notes(comparison: Comparison) -> list[str]:
    seeds = (comparison.ours.seeds, comparison.theirs.seeds)
    several = any(len(own) > 1 for own in seeds)
    over = "test images and seeds" if several else "test images"
    note = (
        f"Accuracies in %, differences in points. 95 %: paired bootstrap over {over}, each task's images by "
        f"themselves; it does not cover the choice of tasks and experts. Only: images that one alone has right"
        f"{', with the first seed' * several}. p: McNemar's exact test of these, corrected over the tasks by Holm; of "
        f"the average, the paired t test over {over}."
    )
    if seeds[0] != seeds[1]:
        note += f" Seeds are not the same ({_listed(seeds[0])} and {_listed(seeds[1])}), and not paired."
    return [note]


def _listed(seeds: tuple[int, ...]) -> str:
    return ", ".join(map(str, seeds))


def _cells(one: Difference) -> list[str]:
    low, high = one.interval
    shown = [percent(one.ours), percent(one.theirs), f"{100 * one.difference:+.1f}"]
    shown += [f"{100 * low:+.1f} to {100 * high:+.1f}", str(one.only_ours), str(one.only_theirs)]
    return [*shown, _p(one.p), _p(one.corrected)]


def _p(value: float) -> str:
    return f"{value:.3f}" if value >= 0.001 else "<0.001"


def draw_comparison(comparison: Comparison, ours: str, theirs: str, where: str) -> "Figure":
    """Differences task by task with their intervals, the average below; arguments as `print_comparison` has them."""
    import matplotlib
    from matplotlib.figure import Figure

    entries = [*comparison.tasks.items(), ("average", comparison.average)]
    with matplotlib.rc_context({"text.parse_math": False}):
        figure = Figure(figsize=(7.2, 1.3 + 0.3 * len(entries)), layout="constrained")
        panel = figure.subplots()
        panel.axvline(0, color="0.6", linewidth=0.8)
        for place, (name, one) in enumerate(entries):
            average = name == "average" and place == len(entries) - 1
            sure = one.corrected <= SURE
            low, high = (100 * end for end in one.interval)
            colour = AVERAGE if average else COLOUR
            panel.plot([low, high], [place, place], color=colour, linewidth=2.4 if average else 1.6)
            panel.plot(100 * one.difference, place, "D" if average else "o", color=colour, mfc=colour if sure else "w")
        panel.set_yticks(range(len(entries)), [on_one_line(name) for name, _ in entries])
        panel.invert_yaxis()
        panel.set_xlabel(on_one_line(f"{ours} less {theirs}, in points (95 %; filled: told apart from 0)"))
        panel.set_title(on_one_line(where), fontsize=10, loc="left")
        panel.spines[["top", "right"]].set_visible(False)
    return figure


def picture_path(comparison: Comparison, folder: Path, where: str) -> Path:
    """Where its picture belongs in a run's folder."""
    from mergebench.configuration import file_name

    return folder / f"{file_name(f'{comparison.ours.method}-{comparison.theirs.method}-{where}')}.png"
