"""Planning: from what was asked for to the list of cells."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import nn

from mergebench import discovery, hyperparameters, registry
from mergebench.configuration import SuiteConfig, read_suite, short_name
from mergebench.errors import HyperparameterError, MergebenchError, nearest
from mergebench.image_cache import Split, load_split
from mergebench.images import DrawnImages
from mergebench.measure import resolve_device
from mergebench.method import MethodCard, Needs
from mergebench.pool import ModelPool
from mergebench.results import CellKey
from mergebench.states import SafetensorsState
from mergebench.zoo import Zoo


@dataclass(frozen=True)
class RunRequest:
    """What the user asked for.

    Args:
        methods: patterns, see `registry.select_methods`.
        suite: a registered suite or a YAML file.
        seeds: one cell of every method for each.
        zoo, zoo_root: in place of the suite's zoo, and of that zoo's folder of weights.
        hyperparameters: method -> name -> value; they win over the suite's.
        device: "auto", "cpu" or "cuda:N".
        threads: CPU threads; None leaves torch's choice.
    """

    methods: Sequence[str]
    suite: str
    seeds: Sequence[int] = (0,)
    zoo: str | None = None
    zoo_root: str | None = None
    hyperparameters: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    device: str = "auto"
    threads: int | None = None


class Bench:
    """A suite with its zoo and data in place: what every cell of a run shares, each loaded once, when first used.

    Args:
        suite: a registered suite or a YAML file.
        zoo, zoo_root: see `RunRequest`.
        base: a checkpoint in place of the zoo's base.
        experts: name -> checkpoint, merged in place of the suite's experts. A name need be a task of the zoo only where
            a method asks for that task's images or head.

    Raises:
        MergebenchError: an unknown suite, zoo or task.
    """

    def __init__(
        self,
        suite: str,
        zoo: str | None = None,
        zoo_root: str | None = None,
        base: str | None = None,
        experts: Mapping[str, str] | None = None,
    ) -> None:
        self.suite: SuiteConfig = read_suite(suite)
        self.name = short_name(suite)
        self.zoo = Zoo(zoo or self.suite.zoo, zoo_root, base)
        for task in (*self.suite.merge, *self.suite.evaluated):
            self.zoo.task(task)
        self._files = experts
        self._splits: dict[tuple[str, str], Split] = {}
        if experts is not None:
            self.suite = self.suite.model_copy(update={"merge": list(experts), "evaluate": self.suite.evaluated})

    @cached_property
    def experts(self) -> dict[str, Mapping]:
        """task -> expert weights, checked against the base."""
        if self._files is not None:
            return {t: self.zoo.check_expert(t, SafetensorsState(f)) for t, f in self._files.items()}
        return {t: self.zoo.expert(t) for t in self.suite.merge}

    @cached_property
    def heads(self) -> dict[str, nn.Module]:
        """task -> classifier, of all tasks merged or evaluated."""
        return {t: self.zoo.head(t) for t in dict.fromkeys((*self.suite.merge, *self.suite.evaluated))}

    @cached_property
    def weights(self) -> dict[str, str]:
        """Hashes of all weights that enter."""
        return self.zoo.digests(self.suite.merge, self.heads)

    def split(self, task: str, name: str) -> Split:
        """One split of a task's images, decoded once."""
        if (task, name) not in self._splits:
            self._splits[task, name] = load_split(self.zoo.task(task), name)
        return self._splits[task, name]

    @cached_property
    def data(self) -> dict[str, str]:
        """Hashes of all images that enter: test of what is evaluated, calibration and test of what is merged."""
        wanted = [(t, "test") for t in self.heads] + [(t, "calibration") for t in self.suite.merge]
        return {f"{t}/{n}": self.split(t, n).digest for t, n in wanted}

    def _sources(self, split: str, seed: int) -> dict[str, DrawnImages]:
        mean, std = self.zoo.config.mean, self.zoo.config.std
        drawn = {t: self.split(t, split) for t in self.suite.merge}
        return {t: DrawnImages(s.images, s.labels, mean, std, t, seed) for t, s in drawn.items()}

    def pool(self, name: str, needs: Needs, seed: int, device: str) -> tuple[ModelPool, dict[str, DrawnImages]]:
        """A fresh pool for one merge, and its image sources keyed "task/split" (they know what was drawn)."""
        calibration = self._sources("calibration", seed) if needs.calibration else {}
        test = self._sources("test", seed) if needs.test_inputs else {}
        pool = ModelPool(
            name,
            needs,
            self.zoo.make_empty_encoder(),
            self.zoo.base,
            self.experts,
            calibration=calibration,
            test_inputs=test,
            heads=self.heads if needs.heads else {},
            seed=seed,
            device=device,
        )
        named = {f"{t}/calibration": s for t, s in calibration.items()} | {f"{t}/test": s for t, s in test.items()}
        return pool, named


@dataclass(frozen=True)
class Cell:
    """One unit of work.

    Args:
        card: the method's card.
        function: the method.
        hyperparameters: all of them, resolved.
        needs: under these hyper-parameters.
        seed: of everything random.
        key: the cell's identity.
    """

    card: MethodCard
    function: Callable
    hyperparameters: dict[str, Any]
    needs: Needs
    seed: int
    key: CellKey


@dataclass(frozen=True)
class Plan:
    """All cells of a run on one bench, the ceiling first (the others' relative accuracies need it)."""

    bench: Bench
    cells: list[Cell]
    device: str


def make_plan(request: RunRequest) -> Plan:
    """Check everything that was asked for, and list the cells.

    Raises:
        MergebenchError: anything unknown, unfitting or broken: nothing has been run or written then.
    """
    cards = registry.select_methods(request.methods)
    # Accuracies relative to the experts need the experts' own, so the ceiling is always measured, once.
    cards += [c for c in registry.methods().values() if c.role == "ceiling" and c not in cards]
    cards.sort(key=lambda c: c.role != "ceiling")
    bench = Bench(request.suite, request.zoo, request.zoo_root)
    given = merged_settings(bench, cards, request.hyperparameters)
    functions = {c.name: discovery.load_function(c) for c in cards}
    resolved = {c.name: hyperparameters.resolve(functions[c.name], given.get(c.name, {})) for c in cards}
    device = resolve_device(request.device)
    bench.experts, bench.heads  # noqa: B018 (checked before the first cell runs)
    cells = []
    for seed in dict.fromkeys(request.seeds):
        for card in cards:
            key = CellKey(
                method=card.name,
                source=source_digest(card),
                hyperparameters=resolved[card.name],
                suite=bench.name,
                evaluated=tuple(bench.suite.evaluated),
                zoo=bench.zoo.name,
                variant="",
                seed=seed,
                weights=bench.weights,
                data=bench.data,
                device=device.partition(":")[0],
            )
            needs = card.needs_for(resolved[card.name])
            cells.append(Cell(card, functions[card.name], resolved[card.name], needs, seed, key))
    return Plan(bench, cells, device)


def merged_settings(
    bench: Bench, cards: Sequence[MethodCard], given: Mapping[str, Mapping[str, Any]]
) -> dict[str, dict[str, Any]]:
    """Each method's settings: the suite's, overridden by those given.

    Raises:
        HyperparameterError: settings for a method that is not run.
    """
    names = [c.name for c in cards]
    for method in given:
        if method not in names:
            raise HyperparameterError(f"hyper-parameters for {method!r}, which is not run; {nearest(method, names)}")
    unknown = [m for m in bench.suite.hyperparameters if m not in registry.methods()]
    if unknown:
        raise MergebenchError(f"suite {bench.name!r} sets hyper-parameters of {unknown[0]!r}, which is no known method")
    return {n: {**bench.suite.hyperparameters.get(n, {}), **given.get(n, {})} for n in names}


def source_digest(card: MethodCard) -> str:
    """Hash of the method's file and the engine's modules: results of changed code are never taken for this code's."""
    engine = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"\0".join(p.read_bytes() for p in (Path(card.path), *engine))).hexdigest()[:16]
