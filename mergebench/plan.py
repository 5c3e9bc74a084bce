"""Planning: from what was asked for to the list of cells."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mergebench import discovery, hyperparameters, registry
from mergebench.bench import Bench
from mergebench.errors import HyperparameterError, MergebenchError, nearest
from mergebench.measure import resolve_device
from mergebench.method import MethodCard, Needs
from mergebench.results import CellKey


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
    """

    methods: Sequence[str]
    suite: str
    seeds: Sequence[int] = (0,)
    zoo: str | None = None
    zoo_root: str | None = None
    hyperparameters: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    device: str = "auto"


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
