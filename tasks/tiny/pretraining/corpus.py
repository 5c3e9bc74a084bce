"""The pre-training corpus: pictures of every family drawn from training sources only, and what may be said of them."""

import json
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mergebench.tasks.tiny.cards import ENTRIES
from mergebench.tasks.tiny.families.entry import Entry
from mergebench.tasks.tiny.pretraining.captions import Recipe, caption
from mergebench.tasks.tiny.pretraining.mixture import EXTRAS
from mergebench.tasks.tiny.rendering import Rendered

if TYPE_CHECKING:
    import numpy as np

SEED = 1000  # not the tasks' own seed: no training image of a task is in the corpus, except the handwritten digits
PICTURES = 6000  # per family, where a family is drawn and not merely read
FAMILIES = (*ENTRIES, *EXTRAS)  # the tasks, then what only pre-training sees


@dataclass(frozen=True)
class Corpus:
    """Pictures of all families.

    Args:
        images: uint8 [N, 32, 32, 3].
        family: index of each picture's family in `FAMILIES`, int64 [N].
        labels: class within the family, int64 [N].
        facts: per picture, what captions may mention.
    """

    images: "np.ndarray"
    family: "np.ndarray"
    labels: "np.ndarray"
    facts: list[dict[str, str]]

    def sample(self, count: int, rng: "np.random.Generator", families: int | None = None) -> "np.ndarray":
        """Indices of `count` random pictures.

        Args:
            families: draw all of them from so many families, chosen by their weights; from all alike if not given.
        """
        import numpy as np

        starts = np.searchsorted(self.family, np.arange(len(FAMILIES) + 1))
        allowed = np.arange(len(FAMILIES))
        if families is not None:
            weights = np.array([entry.weight for entry in FAMILIES])
            allowed = rng.choice(allowed, size=families, replace=False, p=weights / weights.sum())
        chosen = allowed[rng.integers(len(allowed), size=count)]
        return rng.integers(starts[chosen], starts[chosen + 1])

    def captions(self, indices: "np.ndarray", recipe: Recipe, rng: "np.random.Generator") -> list[str]:
        """A fresh caption for each of the pictures."""
        return [
            caption(FAMILIES[k], int(self.labels[i]), self.facts[i], recipe, rng)
            for i, k in zip(indices, self.family[indices], strict=True)
        ]


def corpus(folder: Path) -> Corpus:
    """Draws the corpus, or reads it if `folder` already holds it."""
    import numpy as np

    from mergebench.weights.writing import writing

    path = folder / "corpus.npz"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with ProcessPoolExecutor(2) as pool:
            parts = list(pool.map(_draw, range(len(FAMILIES))))
        arrays = {
            "images": np.concatenate([p[0] for p in parts]),
            "labels": np.concatenate([p[1] for p in parts]),
            "family": np.concatenate([np.full(len(p[1]), k) for k, p in enumerate(parts)]),
            "facts": np.array(json.dumps([fact for p in parts for fact in p[2]])),
        }
        with writing(path) as temporary, temporary.open("wb") as file:
            np.savez(file, **arrays)
    with np.load(path) as file:
        facts = json.loads(str(file["facts"]))
        return Corpus(file["images"], file["family"], file["labels"], facts)


def _draw(number: int) -> tuple["np.ndarray", "np.ndarray", list[dict[str, str]]]:
    """One family's pictures, labels and facts."""
    import numpy as np

    entry: Entry = FAMILIES[number]
    rendered = Rendered(number, entry.draw, len(entry.classes), dict(entry.splits))
    labels = np.arange(min(PICTURES, entry.splits["train"]), dtype=np.int64) % len(entry.classes)
    drawn = rendered.render("train", labels, seed=SEED)
    return np.stack([image for image, _ in drawn]), labels, [facts for _, facts in drawn]
