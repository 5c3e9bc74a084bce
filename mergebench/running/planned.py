"""What was asked for, and what a plan makes of it: plain data, known without torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mergebench.measuring.keys import CellKey
from mergebench.merging.method import MethodCard, Needs
from mergebench.suites.variant import Variant

if TYPE_CHECKING:
    from mergebench.merging.method import MergeMethod
    from mergebench.suites.bench import Bench


@dataclass(frozen=True)
class RunRequest:
    """What the user asked for.

    Args:
        methods: patterns, see `registry.select_methods`; the study's, if not given.
        suite: a registered suite or a YAML file; the study's, if not given.
        seeds: one cell of every method for each; the study's (or 0), if not given.
        zoo, zoo_root: in place of the suite's zoo, and of that zoo's folder of weights.
        hyperparameters: method -> name -> value; they win over the suite's and the study's.
        study: a registered study or a YAML file.
        only: axis -> values (as text): only the variants that have one of them.
        device: "auto", "cpu" or "cuda:N".
        elsewhere: whether other machines compute, whose devices this one need not have.
        precision: what evaluation computes in; another one is another measurement.
        devices: how many GPUs, from `device` on, share an evaluation; they change no count.
        download: whether what is on the hub and not here yet may be downloaded.
        allow_code: whether methods' files may be run that only a suite, a study or a zoo names.
        allow_duplicates: whether one and the same image may be in several splits of a task.
        memory: bytes that merges are to stay within; what does not is left out.
        settings: "published", "tuned" (the installed choices of that suite and zoo), or files of choices; each makes
            cells of its own. If not given: the installed choices, and published ones for what these lack.
    """

    methods: Sequence[str] = ()
    suite: str | None = None
    seeds: Sequence[int] = ()
    zoo: str | None = None
    zoo_root: str | None = None
    hyperparameters: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    study: str | None = None
    only: Mapping[str, Sequence[str]] = field(default_factory=dict)
    device: str = "auto"
    elsewhere: bool = False
    precision: str = "float32"
    devices: int = 1
    download: bool = True
    allow_code: bool = False
    allow_duplicates: bool = False
    memory: int | None = None
    settings: Sequence[str] = ()


@dataclass(frozen=True)
class Cell:
    """One unit of work.

    Args:
        card: the method's card.
        function: the method.
        hyperparameters: all of them, resolved.
        needs: under these hyper-parameters.
        seed: of everything random.
        variant: what is merged and evaluated, and under which conditions.
        key: the cell's identity.
        engine: hash of the code that all methods share, as `Sources` has it.
        place: where it stands in its suite or study, as its result notes it.
        tuned: how its hyper-parameters were chosen, where a search has chosen them.
    """

    card: MethodCard
    function: "MergeMethod"
    hyperparameters: dict[str, Any]
    needs: Needs
    seed: int
    variant: Variant
    key: CellKey
    engine: str
    place: Mapping[str, Any] = field(default_factory=dict)
    tuned: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """All cells of a run on one bench, the ceiling first (the others' relative accuracies need it).

    Args:
        bench: what its cells are run on; None in a plan that was remembered, of which nothing is left to do.
        cells, device: what is run, and where.
        precision, devices: of the evaluation.
        left_out: a sentence for every method that cannot be run on some of the variants, or gets fewer images.
        code: a sentence for every file of code that the suite, the study or the zoo names.
        name: of the suite, or of a study on one.
        told: what data that the zoo describes came to, a line each.
    """

    bench: "Bench | None"
    cells: list[Cell]
    device: str
    precision: str = "float32"
    devices: int = 1
    left_out: tuple[str, ...] = ()
    code: tuple[str, ...] = ()
    name: str = ""
    told: tuple[str, ...] = ()

    @property
    def workbench(self) -> "Bench":
        """The bench of a plan that was made in this process, as any is of which something is left to do."""
        assert self.bench is not None
        return self.bench
