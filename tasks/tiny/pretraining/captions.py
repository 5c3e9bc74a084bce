"""Captions for the pre-training pictures, as good or as poor as a recipe asks for, and their tokens."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from mergebench.tasks.tiny.families.entry import Entry

CONTEXT = 16  # tokens, with the start and end tokens

OPENERS = ("a photo of a", "a picture of a", "a", "the", "a small photo of the", "this is a")


@dataclass(frozen=True)
class Recipe:
    """How good the captions are.

    Args:
        named: probability that a caption names the class; otherwise it is generic ("a vehicle").
        wrong: probability that the name is one of another class of the family, as alt texts often are.
        facts: probability that a caption mentions each further fact (colour, background ...).
    """

    named: float
    wrong: float
    facts: float


def caption(entry: "Entry", label: int, facts: dict[str, str], recipe: Recipe, rng: "np.random.Generator") -> str:
    """One caption of one picture of a family; another call gives another wording."""
    if rng.random() < recipe.named:
        wrong = rng.random() < recipe.wrong
        name = entry.classes[rng.integers(len(entry.classes))] if wrong else entry.classes[label]
        thing = entry.named[rng.integers(len(entry.named))].format(name)
    else:
        thing = entry.generic[rng.integers(len(entry.generic))]
    told = {key: value for key, value in facts.items() if rng.random() < recipe.facts}
    words = [OPENERS[rng.integers(len(OPENERS))]]
    words += [told[key] for key in ("tone", "relief", "colour") if key in told] + [thing]
    words += [told[key] for key in ("plate",) if key in told]
    words += [f"facing {told['facing']}" for _ in told if "facing" in told][:1]
    words += [f"on {told[key]}" for key in ("background", "ground") if key in told]
    return " ".join(words)


@cache
def _subwords() -> "object":
    from open_clip.tokenizer import SimpleTokenizer

    return SimpleTokenizer()


class Vocabulary:
    """open_clip's subwords that occur in the captions, renumbered without gaps in their old order.

    The end token keeps the highest number: the text tower pools at the argmax.

    Args:
        subwords: ids of the kept subwords in open_clip's numbering, without start and end.
    """

    def __init__(self, subwords: Iterable[int]) -> None:
        self.subwords = sorted(set(subwords))
        self._number = {subword: number + 1 for number, subword in enumerate(self.subwords)}
        self.start, self.end = len(self.subwords) + 1, len(self.subwords) + 2
        self.size = len(self.subwords) + 3  # 0 is padding
        self._known: dict[str, list[int]] = {}

    @classmethod
    def of(cls, texts: Iterable[str]) -> "Vocabulary":
        """The vocabulary of some texts."""
        return cls(subword for text in set(texts) for subword in _subwords().encode(text.lower()))

    @classmethod
    def read(cls, path: Path) -> "Vocabulary":
        """A vocabulary that `write` wrote."""
        return cls(json.loads(path.read_text())["subwords"])

    def write(self, path: Path) -> None:
        """Writes the subwords' ids as JSON."""
        path.write_text(json.dumps({"context": CONTEXT, "subwords": self.subwords}))

    def encode(self, text: str) -> list[int]:
        """Tokens of one text, `CONTEXT` of them.

        Raises:
            ValueError: a subword was never seen in pre-training.
        """
        if text not in self._known:
            subwords = _subwords().encode(text.lower())
            missing = [_subwords().decode([s]).strip() for s in subwords if s not in self._number]
            if missing:
                raise ValueError(f"the tiny text tower never saw {missing} in {text!r}; choose other words")
            tokens = [self.start, *(self._number[s] for s in subwords[: CONTEXT - 2]), self.end]
            self._known[text] = tokens + [0] * (CONTEXT - len(tokens))
        return self._known[text]

    def __call__(self, texts: Sequence[str]) -> "Tensor":
        """Tokens int64 [len(texts), CONTEXT]."""
        import torch

        return torch.tensor([self.encode(text) for text in texts])
