"""An inspection in a run's folder, for the leaderboard's pages: pictures for light and dark pages, and their words."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mergebench.configuration import file_name
from mergebench.weights.writing import writing
from mergebench.zoo.inspection.panels import Panel

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.typing import RcKeyType

FOLDER, FACTS = "inspect", "inspect.json"
# Ending of a picture's name -> paper and ink of the pages that it stands on.
THEMES = {"": ("#ffffff", "#1d2433"), "-dark": ("#161a21", "#e4e8ef")}


def shown_in(out: Path, zoo: str) -> Path:
    """Where in a run's folder what is seen of a zoo lies; a later look takes an earlier one's place."""
    return out / FOLDER / file_name(zoo)


def write_shown(
    folder: Path, panels: Sequence[Panel], facts: Mapping[str, Any], table: Sequence[Sequence[str]]
) -> list[Path]:
    """Write the pictures, and what is told of them last: who finds that finds all.

    Args:
        folder: where; it is made.
        panels: to be drawn.
        facts: whose task vectors they are: `zoo`, `title`, `tasks`, `merged`.
        table: its header, and a row for each task.

    Returns:
        The files.

    Raises:
        MergebenchError: the place cannot be written.
    """
    files = []
    for panel in panels:
        for ending, figure in _themed(panel):
            files.append(folder / f"{panel.name}{ending}.png")
            with writing(files[-1]) as temporary, temporary.open("wb") as file:
                figure.savefig(file, format="png", dpi=110)
    pictures = [{"name": p.name, "title": p.title, "caption": p.caption, "alt": p.alt} for p in panels]
    told = {"schema_version": 1, **facts, "header": list(table[0]), "rows": [list(row) for row in table[1:]]}
    files.append(folder / FACTS)
    with writing(files[-1]) as temporary:
        temporary.write_text(json.dumps(told | {"pictures": pictures}, indent=1) + "\n", encoding="utf-8")
    return files


def _themed(panel: Panel) -> "Iterator[tuple[str, Figure]]":
    """A panel on paper of each kind."""
    import matplotlib
    from matplotlib.figure import Figure

    papers: tuple[RcKeyType, ...] = ("figure.facecolor", "axes.facecolor", "savefig.facecolor", "legend.facecolor")
    inked: tuple[RcKeyType, ...] = (
        "text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color", "legend.labelcolor",
    )  # fmt: skip
    for ending, (paper, ink) in THEMES.items():
        # Names are other people's: what stands between dollars in them is no formula.
        plain: dict[RcKeyType, Any] = {"text.parse_math": False}
        with matplotlib.rc_context(dict.fromkeys(papers, paper) | dict.fromkeys(inked, ink) | plain):
            figure = Figure(figsize=panel.size, layout="constrained")
            panel.plot(figure.subplots())
            yield ending, figure
