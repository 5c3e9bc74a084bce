"""A merge method is one function: the decorator, the card it makes, and the needs it declares."""

import inspect
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Protocol, TypeVar, cast

from mergebench.errors import MergebenchError

ROLES = ("method", "floor", "ceiling", "joint")
# What a method's formula and defaults follow, where there is something to follow.
FIDELITIES = ("", "paper", "released code", "re-derived")

Function = TypeVar("Function", bound=Callable[..., object])


@dataclass(frozen=True)
class Needs:
    """What a method reads besides the experts' weights; the pool refuses everything else.

    Args:
        base: the pre-trained weights.
        calibration: unlabelled calibration images of each task.
        labels: the labels of those calibration images.
        test_inputs: unlabelled images of the test split, as test-time methods use.
        heads: the tasks' frozen classifiers.
        joint: the zoo's one model that was trained on all of the tasks together; for the reference that shows it.
        blocks: not what is read, but what the encoder must have: known blocks, one after the other.
    """

    base: bool = False
    calibration: bool = False
    labels: bool = False
    test_inputs: bool = False
    heads: bool = False
    joint: bool = False
    blocks: bool = False

    def __or__(self, other: "Needs") -> "Needs":
        return Needs(*(getattr(self, f.name) or getattr(other, f.name) for f in fields(self)))

    def names(self) -> list[str]:
        """What is read, in the order of the fields."""
        return [f.name for f in fields(self) if getattr(self, f.name) and f.name != "blocks"]

    @property
    def family(self) -> str:
        """`data-free`, `calibration` or `test-time`: the company in which the method may be compared."""
        if self.test_inputs:
            return "test-time"
        return "calibration" if self.calibration or self.labels else "data-free"


@dataclass(frozen=True)
class MethodCard:
    """What is known of a method without importing it.

    Args:
        name: how it is asked for.
        title: its name for people.
        paper: arXiv number or other citation.
        needs: what it reads.
        needs_when: (hyper-parameter, value) -> needs that hold instead when that value is chosen.
        role: `method`, or a reference: `floor` (the base itself), `ceiling` (each expert on its own task) or `joint`
            (one model trained on all tasks).
        year: of the paper; 0 if there is none.
        fidelity: what formula and defaults follow: `paper`, `released code`, or `re-derived` from a stated objective
            where no formula is public.
        holds: what a merge holds at once besides its result, in what it computes in: terms as `2 T + 6 models`,
            `T + 1 tensors` or `0.5 GB`, with commas between them. T is the number of experts, a tensor the largest one;
            an `expert` is a model as it is stored, which 16 bits make half of one.
        cost: what a merge does, in passes and decompositions, for people.
        idempotent: whether copies of one expert give that expert, with the defaults.
        experts: the exact number of experts that it merges; None for any.
        ranges: hyper-parameter -> (lowest, highest) or the values that `tune` searches unless told otherwise.
        starts: the hyper-parameter that names another method, from whose result this one starts; its needs are added.
            `{starts}_settings`, if there is one, holds that method's hyper-parameters.
        doc: the function's docstring.
        hyperparameters: name -> (annotation, default), as text.
        path: the file that holds it.
        module: the importable module, or None for a file plug-in.
        function: the function's name in that file.
    """

    name: str
    title: str
    paper: str = ""
    needs: Needs = Needs()
    needs_when: Mapping[tuple[str, Any], Needs] = field(default_factory=dict)
    role: str = "method"
    year: int = 0
    fidelity: str = ""
    holds: str = ""
    cost: str = ""
    idempotent: bool = False
    experts: int | None = None
    ranges: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    starts: str = ""
    doc: str = ""
    hyperparameters: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    path: str = ""
    module: str | None = None
    function: str = ""

    def needs_for(self, hyperparameters: Mapping[str, Any]) -> Needs:
        """Its own needs under these (resolved) hyper-parameters; `registry.needs_of` adds those of a start."""
        for (name, value), needs in self.needs_when.items():
            if hyperparameters.get(name) == value:
                return needs
        return self.needs

    def lacks(self, experts: int, in_sequence: bool = True) -> str:
        """Why it cannot merge this many experts, of an encoder whose blocks are in sequence or not; empty if it can."""
        if self.experts not in (None, experts):
            return f"{self.name} merges {self.experts} experts, not {experts}"
        if self.needs.blocks and not in_sequence:
            return f"{self.name} goes through the blocks, and of this encoder none are known that follow each other"
        return ""

    @property
    def family(self) -> str:
        """The family by which `--methods` can select it."""
        return "references" if self.role != "method" else self.needs.family


class MergeMethod(Protocol):
    """A function that `merge_method` has given a card.

    Its first argument is a `ModelPool`, which knows what needs are and so is not known here; what somebody else's code
    returns may be anything, and `contract.run_method` holds it to a state dict.
    """

    card: MethodCard

    def __call__(self, pool: Any, /, **hyperparameters: Any) -> Any:
        """Merge the pool's experts."""
        ...


@dataclass(frozen=True)
class Term:
    """One term of what a method holds: (each T + fixed) of a unit."""

    each: float
    fixed: float
    unit: str


def terms(holds: str) -> list[Term]:
    """`2 T + 6 models, 0.5 GB` -> its terms, in models, experts, tensors and GB.

    Raises:
        ValueError: something else.
    """
    found = []
    for text in filter(None, holds.split(", ")):
        match = re.fullmatch(r"(?:(\d+(?:\.\d+)? )?(T)|)(?: \+ )?(\d+(?:\.\d+)?)? (models?|experts?|tensors?|GB)", text)
        if not match or not (match[2] or match[3]):
            raise ValueError(text)
        unit = match[4] if match[4] == "GB" else match[4].rstrip("s") + "s"
        found.append(Term(float(match[1] or 1) if match[2] else 0, float(match[3] or 0), unit))
    return found


def _check_holds(name: str, holds: str) -> None:
    try:
        terms(holds)
    except ValueError as error:
        raise MergebenchError(
            f"method {name!r}: holds={holds!r}: {str(error)!r} is not as 2 T + 6 models, T + 1 tensors or 0.5 GB"
        ) from None


def check_card(
    name: str, role: str, fidelity: str, holds: str, named: Iterable[str], hyperparameters: Collection[str]
) -> None:
    """Refuses what no card may say, by a MergebenchError.

    That is a role or fidelity that does not exist, `holds` in other words than `MethodCard` has, or a name that is no
    hyper-parameter's.
    """
    _check_holds(name, holds)
    if role not in ROLES:
        raise MergebenchError(f"method {name!r}: role={role!r} is not one of {', '.join(ROLES)}")
    if fidelity not in FIDELITIES:
        known = ", ".join(f for f in FIDELITIES if f)
        raise MergebenchError(f"method {name!r}: fidelity={fidelity!r} is not one of {known}")
    for other in named:
        if other not in hyperparameters:
            raise MergebenchError(f"method {name!r}: its card speaks of {other!r}, which is no hyper-parameter")


def _names(function: Callable[..., object]) -> list[str]:
    return list(inspect.signature(function).parameters)[1:]


def merge_method(
    name: str,
    *,
    title: str,
    paper: str = "",
    needs: Needs = Needs(),  # noqa: B008 (frozen)
    needs_when: Mapping[tuple[str, Any], Needs] | None = None,
    role: str = "method",
    year: int = 0,
    fidelity: str = "",
    holds: str = "",
    cost: str = "",
    idempotent: bool = False,
    experts: int | None = None,
    ranges: Mapping[str, tuple[Any, ...]] | None = None,
    starts: str = "",
) -> Callable[[Function], Function]:
    """Make `function(pool, *, hyper=default, ...) -> StateDict` a merge method.

    The arguments are the fields of `MethodCard`. They must be literals (`Needs(base=True)` counts as one): the registry
    reads them from the source, so that listing methods imports none of them.

    Returns:
        The decorator; it leaves the function as it is, with its card in `function.card`.

    Raises:
        MergebenchError: a role or fidelity that does not exist, `holds` that is not as `MethodCard` has it, `ranges` or
            `starts` of no hyper-parameter, or a hyper-parameter that is positional or has no type or default.
    """

    def decorate(function: Function) -> Function:
        check_card(name, role, fidelity, holds, [*(ranges or {}), *([starts] if starts else [])], _names(function))
        for parameter in list(inspect.signature(function).parameters.values())[1:]:
            unset = inspect.Parameter.empty in (parameter.annotation, parameter.default)
            if parameter.kind is not inspect.Parameter.KEYWORD_ONLY or unset:
                raise MergebenchError(
                    f"method {name!r}: {parameter.name!r} must be a keyword-only argument with a type and a default"
                )
        cast(MergeMethod, function).card = MethodCard(
            name=name,
            title=title,
            paper=paper,
            needs=needs,
            needs_when=needs_when or {},
            role=role,
            year=year,
            fidelity=fidelity,
            holds=holds,
            cost=cost,
            idempotent=idempotent,
            experts=experts,
            ranges=ranges or {},
            starts=starts,
            doc=inspect.getdoc(function) or "",
            function=function.__name__,
        )
        return function

    return decorate
