"""A merge method under check: how it is run on miniature models, and what it reads and leaves behind there."""

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import StringIO
from types import MappingProxyType
from typing import Any
from warnings import catch_warnings, simplefilter

import numpy as np
import torch
from torch import Tensor

from mergebench.catalogue import discovery, registry
from mergebench.catalogue.ready import ready
from mergebench.conformance.miniature import Inputs, make_inputs
from mergebench.data.images import ExplicitBatches
from mergebench.merging import hyperparameters
from mergebench.merging.contract import PerTask, run_method
from mergebench.merging.method import MethodCard, Needs
from mergebench.merging.pool import ModelPool
from mergebench.weights.states import StateDict

# What makes a method long, by the last word of its name (`shift_steps`) -> what it is lowered to, unless it is set.
SHORT = {"steps": 2, "iterations": 2, "epochs": 2, "samples": 4}

Settings = Mapping[str, Any]
NONE: Settings = MappingProxyType({})
Result = StateDict | PerTask


class WatchedPool(ModelPool):
    """A pool that remembers which needs were made use of."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.read: set[str] = set()

    def _require(self, need: str) -> None:
        super()._require(need)
        self.read.add(need)

    def lent_to(self, method: str, needs: Needs) -> ModelPool:
        """As any pool does; to be allowed something is not to read it."""
        before = set(self.read)
        lent = super().lent_to(method, needs)
        self.read &= before  # in place: the lent pool goes on writing into it
        return lent


class Candidate:
    """A method, its settings, and the miniature models it is checked on.

    Args:
        card: the method's.
        given: hyper-parameters that are set; long methods are shortened where they are not.
        seed: of the models, and of the method.

    Raises:
        MergebenchError: the method's file does not import, or hyper-parameters do not fit.
    """

    def __init__(self, card: MethodCard, given: Mapping[str, Any] | None = None, seed: int = 0) -> None:
        self.card, self.seed = card, seed
        self.printed: dict[str, None] = {}
        self._given = dict(given or {})
        with self.overheard():  # a file may print as it is imported
            self._function = discovery.load_function(card)
        shortened(card, self._given)  # wrong settings show before anything is run

    @contextmanager
    def overheard(self) -> Iterator[None]:
        """What the method prints in the block is kept in `printed`, each line once; its warnings are not seen."""
        heard = StringIO()
        try:
            with catch_warnings(), redirect_stdout(heard), redirect_stderr(heard):
                simplefilter("ignore")
                yield
        finally:
            self.printed |= dict.fromkeys(line for line in heard.getvalue().splitlines() if line.strip())

    def inputs(
        self,
        experts: int | None = None,
        *,
        dtype: torch.dtype = torch.float32,
        other: bool = False,
        kind: str = "ViT",
    ) -> Inputs:
        """Miniature models, others than these, or of another kind."""
        return make_inputs(self.seed + other, experts or self.card.experts or 3, dtype, kind)

    def resolve(self, settings: Settings = NONE) -> dict[str, Any]:
        """All hyper-parameters, with these settings on top of those given."""
        return shortened(self.card, {**self._given, **settings})

    def needs(self, settings: Settings = NONE) -> Needs:
        """What is declared to be read under these settings."""
        return registry.needs_of(self.card, self.resolve(settings))

    def conditions(self) -> list[Settings]:
        """Settings under which the card declares needs: those given, and every other one of its `needs_when`."""
        return [{}, *({name: value} for name, value in self.card.needs_when)]

    def merge(self, inputs: Inputs, settings: Settings = NONE, *, generators: int = 0) -> Result:
        """The method's result on a copy of the inputs.

        Args:
            inputs: what is merged.
            settings: hyper-parameters, on top of those given.
            generators: where the generators stand that are not the pool's: torch's own, NumPy's and Python's.
        """
        return self.run(inputs.copy(), settings, generators=generators)[0]

    def run(self, inputs: Inputs, settings: Settings = NONE, *, generators: int = 0) -> tuple[Result, set[str]]:
        """As `merge`, on the inputs themselves; with the needs that were made use of."""
        resolved = self.resolve(settings)
        pool = WatchedPool(
            self.card.name,
            registry.needs_of(self.card, resolved),
            inputs.base,
            inputs.base.state_dict(),
            inputs.experts,
            calibration={t: ExplicitBatches(batches, t) for t, batches in inputs.calibration.items()},
            test_inputs={t: ExplicitBatches(batches, t) for t, batches in inputs.test_inputs.items()},
            heads=inputs.heads,
            joint=inputs.joint,
            seed=self.seed,
        )
        set_generators(generators)
        return run_method(self._function, pool, resolved, ready), pool.read


def lengthens(name: str) -> bool:
    """Whether a hyper-parameter is a number of steps, images or the like."""
    return name.rpartition("_")[2] in SHORT


def shortened(card: MethodCard, given: Mapping[str, Any]) -> dict[str, Any]:
    """All hyper-parameters of a method: those given, and the defaults, lowered where they make it long.

    The method that it starts from, if any, is shortened too.
    """
    resolved = hyperparameters.resolve(discovery.load_function(card), given)
    for name in filter(lengthens, resolved.keys() - given.keys()):
        if type(resolved[name]) is int:
            resolved[name] = min(resolved[name], SHORT[name.rpartition("_")[2]])
    start, settings = registry.start_of(card, resolved), f"{card.starts}_settings"
    if start is not None and settings in resolved:
        resolved[settings] = shortened(start, resolved[settings] or {})
    return resolved


def set_generators(seed: int) -> None:
    """Put the generators that every method shares with the whole process to one place."""
    torch.manual_seed(seed)
    np.random.seed(seed)
    random.seed(seed)


def generator_states() -> dict[str, object]:
    """Where these generators stand: whose -> something to compare."""
    numpys = np.random.get_state(legacy=False)
    return {
        "torch": torch.get_rng_state().numpy().tobytes(),
        "NumPy": {**numpys, "state": {**numpys["state"], "key": numpys["state"]["key"].tobytes()}},
        "Python": random.getstate(),
    }


@contextmanager
def generators_kept() -> Iterator[None]:
    """The process's generators stand afterwards where they stood before."""
    numpys, pythons = np.random.get_state(), random.getstate()
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        np.random.set_state(numpys)
        random.setstate(pythons)


def tensors(result: Result) -> dict[str, Tensor]:
    """A result's tensors by what they are called in a message."""
    if isinstance(result, PerTask):
        return {f"task {t!r}: {n!r}": v for t, state in result.items() for n, v in state.items()}
    return {repr(n): v for n, v in result.items()}
