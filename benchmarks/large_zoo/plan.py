"""What is run: every registered method with what `mergebench merge` takes for it; and which runs are done."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import make

from mergebench.catalogue import registry

ADAPTING = 3  # steps of methods that adapt to images, each of which goes through the encoder
ITERATING = 10  # steps of others
BATCH = 16  # images of a task in a step


@dataclass(frozen=True)
class Run:
    """One merge.

    Args:
        encoder: its name in timm.
        method: its name.
        experts: how many.
        images: of each; 0 where the method reads none.
        settings: what is set of its hyper-parameters.
    """

    encoder: str
    method: str
    experts: int
    images: int
    settings: dict[str, int]

    @property
    def identity(self) -> dict[str, Any]:
        """What makes it another run."""
        return dict(vars(self))


def methods() -> list[str]:
    """All registered methods but the references."""
    return [name for name, card in registry.methods().items() if card.role == "method"]


def run_of(encoder: str, method: str, experts: int, images: int) -> Run:
    """A method's run: few steps of what takes many, and no more images than there are."""
    card = registry.method(method)
    reads = card.needs.calibration or card.needs.test_inputs
    steps = ADAPTING if card.needs.test_inputs else ITERATING
    few = {"samples": images, "batch_size": min(images, BATCH), "steps": steps, "shift_steps": ITERATING}
    settings = {name: value for name, value in few.items() if name in card.hyperparameters}
    return Run(encoder, method, experts, images if reads else 0, settings)


def refused(run: Run) -> str:
    """Why `mergebench merge` cannot make it with what there is here; empty if it can."""
    card = registry.method(run.method)
    if card.needs.labels or card.needs.joint:
        return "needs labels or a joint model, which are not made here"
    return card.lacks(run.experts)


def command(run: Run, folder: Path, classes: int) -> list[str]:
    """Arguments of mergebench."""
    card, numbers = registry.method(run.method), range(1, run.experts + 1)
    arguments = ["merge", "--method", run.method, "--encoder", run.encoder, "--device", "cpu"]
    arguments += ["--base", str(make.expert(folder, 0)), "--output", str(folder / "merged.safetensors")]
    arguments += ["--experts", *(str(make.expert(folder, n)) for n in numbers)]
    if run.images:
        arguments += ["--calibration", *(str(make.images(folder, n)) for n in numbers)]
    if card.needs.heads:
        arguments += ["--heads", *(str(make.head(folder, n, classes)) for n in numbers)]
    if run.settings:
        arguments += ["--set", *(f"{name}={value}" for name, value in run.settings.items())]
    return arguments


class Record:
    """The runs that are done, in a JSON file that is whole after each of them.

    Args:
        path: the file; it need not be there yet.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.runs: list[dict[str, Any]] = json.loads(path.read_text())["runs"] if path.exists() else []

    def find(self, run: Run) -> dict[str, Any] | None:
        """What was kept of a run."""
        wanted = run.identity.items()
        return next((kept for kept in self.runs if wanted <= kept.items()), None)

    def done(self, run: Run, limit: float, memory: float, others: float) -> bool:
        """Whether it need not be repeated: it came to its end, or would be ended no later than it was.

        Args:
            run: what is asked for.
            limit, memory: as `watch.measured` has them.
            others: the share of the machine up to which others may have kept it busy beside the run.
        """
        kept = self.find(run)
        if kept is None or kept["ended"].startswith("failed") or kept.get("others", 0) > others:
            return False
        over = re.fullmatch(r"over (\S+) (s|GB)", kept["ended"])
        return over is None or float(over[1]) >= (limit if over[2] == "s" else memory)

    def keep(self, run: Run, found: dict[str, Any]) -> None:
        """Put a run in its place, and write the file."""
        kept = self.find(run)
        if kept is not None:
            self.runs.remove(kept)
        self.runs.append(run.identity | found)
        temporary = self._path.with_suffix(".part")
        temporary.write_text(json.dumps({"runs": self.runs}, indent=1) + "\n")
        temporary.replace(self._path)
