"""A merge method is one function: the decorator, the card it makes, and the needs it declares."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from mergebench.errors import MergebenchError

ROLES = ("method", "floor", "ceiling")


@dataclass(frozen=True)
class Needs:
    """What a method reads besides the experts' weights; the pool refuses everything else.

    Args:
        base: the pre-trained weights.
        calibration: unlabelled calibration images of each task.
        labels: the labels of those calibration images.
        test_inputs: unlabelled images of the test split, as test-time methods use.
        heads: the tasks' frozen zero-shot classifiers.
    """

    base: bool = False
    calibration: bool = False
    labels: bool = False
    test_inputs: bool = False
    heads: bool = False

    def names(self) -> list[str]:
        """The declared needs, in the order of the fields."""
        return [f.name for f in fields(self) if getattr(self, f.name)]

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
        role: `method`, or a reference: `floor` (the base itself) or `ceiling` (each expert on its own task).
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
    doc: str = ""
    hyperparameters: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    path: str = ""
    module: str | None = None
    function: str = ""

    def needs_for(self, hyperparameters: Mapping[str, Any]) -> Needs:
        """The needs under these (resolved) hyper-parameters."""
        for (name, value), needs in self.needs_when.items():
            if hyperparameters.get(name) == value:
                return needs
        return self.needs

    @property
    def family(self) -> str:
        """The family by which `--methods` can select it."""
        return "references" if self.role != "method" else self.needs.family


def merge_method(
    name: str,
    *,
    title: str,
    paper: str = "",
    needs: Needs = Needs(),  # noqa: B008 (frozen)
    needs_when: Mapping[tuple[str, Any], Needs] | None = None,
    role: str = "method",
) -> Callable[[Callable], Callable]:
    """Make `function(pool, *, hyper=default, ...) -> StateDict` a merge method.

    The arguments must be literals (`Needs(base=True)` counts as one): the registry reads them from the source, so that
    listing methods imports none of them.

    Args:
        name, title, paper, needs, needs_when, role: see `MethodCard`.

    Returns:
        The decorator; it leaves the function as it is, with its card in `function.card`.

    Raises:
        MergebenchError: a role that does not exist, or a hyper-parameter that is positional or has no type or default.
    """

    def decorate(function: Callable) -> Callable:
        if role not in ROLES:
            raise MergebenchError(f"method {name!r}: role={role!r} is not one of {', '.join(ROLES)}")
        for parameter in list(inspect.signature(function).parameters.values())[1:]:
            unset = inspect.Parameter.empty in (parameter.annotation, parameter.default)
            if parameter.kind is not inspect.Parameter.KEYWORD_ONLY or unset:
                raise MergebenchError(
                    f"method {name!r}: {parameter.name!r} must be a keyword-only argument with a type and a default"
                )
        function.card = MethodCard(
            name=name,
            title=title,
            paper=paper,
            needs=needs,
            needs_when=needs_when or {},
            role=role,
            doc=inspect.getdoc(function) or "",
            function=function.__name__,
        )
        return function

    return decorate
