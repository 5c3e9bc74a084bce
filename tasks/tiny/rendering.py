"""From a renderer to a task's splits: balanced, shuffled, and the same bits in every process."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

SEED = 0
SPLIT_IDS = {"train": 0, "calibration": 1, "validation": 2, "test": 3}
SHUFFLE = 2**31  # an index no image has: the generator that shuffles a split's labels

# (generator, label, split, ordinal) -> (uint8 [32, 32, 3], facts)
Renderer = Callable[["np.random.Generator", int, str, int], tuple["np.ndarray", dict[str, str]]]


@dataclass(frozen=True)
class Rendered:
    """A task's images: its number in the world, its renderer, its classes and its split sizes."""

    task_id: int
    draw: Renderer
    classes: int
    splits: dict[str, int]

    def labels(self, split: str) -> "np.ndarray":
        """Labels int64 [N] of a split: every class as often as another (give or take one), shuffled."""
        import numpy as np

        if split not in self.splits:
            raise ValueError(f"unknown split {split!r}; there are {', '.join(self.splits)}")
        labels = np.arange(self.splits[split], dtype=np.int64) % self.classes
        np.random.default_rng([SEED, self.task_id, SPLIT_IDS[split], SHUFFLE]).shuffle(labels)
        return labels

    def load(self, split: str) -> tuple["np.ndarray", "np.ndarray"]:
        """Images uint8 [N, 32, 32, 3] and labels int64 [N] of a split."""
        import numpy as np

        labels = self.labels(split)
        return np.stack([image for image, _ in self.render(split, labels)]), labels

    def render(self, split: str, labels: "np.ndarray", seed: int = SEED) -> list[tuple["np.ndarray", dict[str, str]]]:
        """Images and facts for a list of labels; another seed draws other images of the same split's sources."""
        import numpy as np

        seen = [0] * self.classes
        drawn = []
        for index, label in enumerate(labels.tolist()):
            rng = np.random.default_rng([seed, self.task_id, SPLIT_IDS[split], index])
            drawn.append(self.draw(rng, label, split, seen[label]))
            seen[label] += 1
        return drawn
