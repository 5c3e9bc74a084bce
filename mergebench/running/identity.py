"""What code a cell's numbers come from, as hashes: another comment is no other cell, another constant is."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mergebench.catalogue import registry
from mergebench.catalogue.code import Code
from mergebench.merging.method import MethodCard

# What every cell runs, and from which the contract, the evaluation and all else is found by following names. Weights
# and images are not among it: what was read of them is part of the key by its own hash, whatever code has read it.
ENGINE = {
    "mergebench.running.cell": ("_evaluate", "_validate"),
    "mergebench.running.execution": ("Executor.merge", "Executor._merge", "Executor.evaluate"),
    "mergebench.suites.bench": ("Bench.pool", "Bench._sources"),
    # Handed in, so that no name need lead to them.
    "mergebench.suites.variant": ("Variant",),
    "mergebench.weights.encoders": ("Encoder",),
    "mergebench.zoo.heads": ("LinearHead", "ZeroShotHead"),
    "mergebench.zoo.zoo": ("Zoo.make_empty_encoder",),
}


@dataclass(frozen=True)
class Sources:
    """Hashes of code, 16 hex digits each.

    Args:
        engine: what all methods share.
        method: the method with it.
        starts: the same of every method from whose result this one starts, directly or through another, by name.
    """

    engine: str
    method: str
    starts: Mapping[str, str]


class SourceReader:
    """Reads the sources of cells, every file once: a plan's cells are all of the files as they were then."""

    def __init__(self) -> None:
        self._code = Code()
        self._engine = [self._code.ours(module, name) for module, names in ENGINE.items() for name in names]
        self._digests: dict[str, str] = {}

    @property
    def engine(self) -> str:
        """The hash of what all methods share."""
        return self._digest("")

    def read(self, card: MethodCard, hyperparameters: Mapping[str, Any] | None = None) -> Sources:
        """The sources of a method's cells.

        Args:
            card: the method.
            hyperparameters: they may name another method that it starts from.

        Raises:
            MergebenchError: a file of the method's own cannot be read.
        """
        starts: dict[str, str] = {}
        settings, at = hyperparameters or {}, card
        while (start := registry.start_of(at, settings)) is not None:
            settings = settings.get(f"{at.starts}_settings") or {}
            starts[start.name], at = self._of(start), start
        return Sources(self.engine, self._of(card), starts)

    def _of(self, card: MethodCard) -> str:
        return self._digest(f"{card.path}:{card.function}", card)

    def _digest(self, name: str, card: MethodCard | None = None) -> str:
        if name not in self._digests:
            method = [self._code.of_method(card)] if card else []
            self._digests[name] = self._code.digest(*self._engine, *method)
        return self._digests[name]
