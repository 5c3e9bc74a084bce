"""Variants: the conditions under which a suite is run, from what its YAML and a study's say."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from pydantic import ValidationError

from mergebench.catalogue import registry
from mergebench.configuration import CalibrationConfig, PointConfig, RestrictConfig, StudyConfig, SuiteConfig
from mergebench.errors import MergebenchError, UnknownNameError, nearest, unprefixed

Point = Mapping[str, Any]
Section = TypeVar("Section", CalibrationConfig, RestrictConfig)


@dataclass(frozen=True)
class Variant:
    """One condition: what is merged from which images, and what is evaluated under what.

    Args:
        merge: tasks whose experts are merged.
        evaluate: tasks whose test split is evaluated.
        point: axis -> value, that tell it from its suite's other variants; empty if it is the only one.
        previous: the variant whose result is one of the candidates (tasks that arrive in sequence).
        steps: how many steps its order has; 0 where tasks do not arrive in sequence.
        corruption: kind and severity of the corruption that test images are under; None if they are clean.
        calibration: which images methods are given.
        restrict: the part of the encoder that is merged.
        hyperparameters: what a study's point sets, for every method that has it.
        methods: only these are run; all, if empty.
        reference: the variant without what a study varies: base and experts do not depend on that.
    """

    merge: tuple[str, ...]
    evaluate: tuple[str, ...]
    point: Point = field(default_factory=dict)
    previous: "Variant | None" = None
    steps: int = 0
    corruption: tuple[str, int] | None = None
    calibration: CalibrationConfig = CalibrationConfig()
    restrict: RestrictConfig = RestrictConfig()
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    methods: tuple[str, ...] = ()
    reference: "Variant | None" = None

    @property
    def name(self) -> str:
        """The point as text: "corruption=contrast,severity=5"."""
        return ",".join(f"{axis}={as_text(value)}" for axis, value in self.point.items())

    @property
    def arm(self) -> str:
        """What a study sets here; empty outside studies."""
        suite = self.reference.point if self.reference else self.point
        return repr({axis: value for axis, value in self.point.items() if axis not in suite})

    @property
    def merged(self) -> tuple[str, ...]:
        """All tasks whose experts have entered, those of earlier steps first."""
        return (*(self.previous.merged if self.previous else ()), *self.merge)

    @property
    def merge_identity(self) -> dict[str, Any]:
        """All that a merge depends on; two variants that share it share the merged model."""
        return {
            "merge": sorted(self.merge),
            "previous": self.previous.merge_identity if self.previous else None,
            "calibration": self.calibration.model_dump(exclude_defaults=True),
            "corruption": list(self.corruption) if self.corruption and self.calibration.corrupted else None,
            "restrict": self.restrict.model_dump(exclude_defaults=True),
        }

    @property
    def identity(self) -> dict[str, Any]:
        """All that its results depend on, as JSON holds it."""
        corruption = list(self.corruption) if self.corruption else None
        return self.merge_identity | {"evaluate": list(self.evaluate), "test_corruption": corruption}


def suite_variants(suite: SuiteConfig, merge: Sequence[str], find: Callable[[str], str]) -> list[Variant]:
    """The variants of a suite, one if it names no axis.

    Args:
        suite: as read.
        merge: as `suite.merged_of` gives them.
        find: a task's own name in the zoo, from that or from the CLIP task it stands for.

    Raises:
        MergebenchError: an unknown task or corruption, or numbers that do not fit.
    """
    everything = tuple(map(find, merge))
    twice = next((t for t in everything if everything.count(t) > 1), None)
    if twice:
        raise MergebenchError(f"merge: task {twice!r} is named twice")
    evaluate = tuple(map(find, suite.evaluate)) or everything
    plain = Variant(everything, evaluate, calibration=suite.calibration, restrict=suite.restrict)
    if suite.prefixes:
        if max(suite.prefixes) > len(everything):
            raise MergebenchError(f"prefixes: {max(suite.prefixes)} tasks, but merge names {len(everything)}")
        parts = {n: everything[:n] for n in suite.prefixes}
        return [replace(plain, merge=part, evaluate=part, point={"tasks": n}) for n, part in parts.items()]
    if suite.alone:
        return [replace(plain, merge=(task,), point={"expert": task}) for task in everything]
    if suite.held_out:
        return [_held_out(plain, tuple(map(find, group))) for group in suite.held_out]
    if suite.corruptions:
        for kind in suite.corruptions.kinds:
            registry.get("corruption", kind, registry.corruptions())
        clean = replace(plain, point={"corruption": "clean", "severity": 0})
        pairs = dict.fromkeys(itertools.product(suite.corruptions.kinds, suite.corruptions.severities))
        return [clean] + [replace(plain, point={"corruption": k, "severity": s}, corruption=(k, s)) for k, s in pairs]
    if suite.orders:
        orders = {order: [tuple(map(find, group)) for group in groups] for order, groups in suite.orders.items()}
        return [step for order, groups in orders.items() for step in _steps(plain, order, groups)]
    return [plain]


def _held_out(plain: Variant, group: tuple[str, ...]) -> Variant:
    absent = [t for t in group if t not in plain.merge]
    if absent:
        raise MergebenchError(f"held_out: task {absent[0]!r} is not among those merged: {', '.join(plain.merge)}")
    rest = tuple(t for t in plain.merge if t not in group)
    if not rest:
        raise MergebenchError("held_out: a group holds out every task; nothing is left to merge")
    return replace(plain, merge=rest, point={"held_out": "+".join(group)})


def _steps(plain: Variant, order: str | int, groups: Sequence[tuple[str, ...]]) -> list[Variant]:
    arriving = [t for group in groups for t in group]
    twice = next((t for t in arriving if arriving.count(t) > 1), None)
    if twice:
        raise MergebenchError(f"orders: task {twice!r} arrives twice in order {order}")
    absent = [t for t in arriving if t not in plain.merge]
    if absent:
        raise MergebenchError(f"orders: task {absent[0]!r} of order {order} is not among those to be merged")
    steps: list[Variant] = []
    for number, group in enumerate(groups, start=1):
        previous = steps[-1] if steps else None
        where = {"order": order, "step": number}
        steps.append(replace(plain, merge=group, point=where, previous=previous, steps=len(groups)))
    return steps


def study_variants(study: StudyConfig, variants: Sequence[Variant], blocks: int) -> list[Variant]:
    """Every variant of the suite at every point of the study.

    Args:
        study: as read.
        variants: the suite's.
        blocks: number of the encoder's blocks, for `each`.

    Raises:
        MergebenchError: an axis or value that does not exist.
    """
    if study.points:
        points = [({"arm": name}, point) for name, point in study.points.items()]
    else:
        axes = {axis: [[i] for i in range(blocks)] if v == "each" else v for axis, v in study.vary.items()}
        combinations = (dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values()))
        points = [(values, _point(values)) for values in combinations]
    return [_at(v, where, point) for v in variants for where, point in points]


def _point(values: Mapping[str, Any]) -> PointConfig:
    """What a combination of axis values sets."""
    sections: dict[str, dict[str, Any]] = {"calibration": {}, "restrict": {}}
    hyperparameters = {}
    for axis, value in values.items():
        section, dot, name = axis.partition(".")
        if not dot:
            hyperparameters[axis] = value
        elif axis in AXES:
            sections[section][name] = value
        else:
            raise MergebenchError(f"vary: no axis {axis!r}; {nearest(axis, list(AXES))}, or a hyper-parameter's name")
    given = {name: fields for name, fields in sections.items() if fields}
    try:
        return PointConfig.model_validate({"hyperparameters": hyperparameters, **given})
    except ValidationError as error:
        reason = unprefixed(error.errors()[0]["msg"])
        raise MergebenchError(f"vary: {', '.join(f'{a}={v!r}' for a, v in values.items())}: {reason}") from None


AXES = ("calibration.source", "calibration.classes", "calibration.corrupted", "restrict.blocks", "restrict.component")


def _at(variant: Variant, where: Point, point: PointConfig) -> Variant:
    return replace(
        variant,
        point={**variant.point, **where},
        previous=_at(variant.previous, where, point) if variant.previous else None,
        calibration=_updated(variant.calibration, point.calibration),
        restrict=_updated(variant.restrict, point.restrict),
        hyperparameters=point.hyperparameters,
        methods=tuple(point.methods),
        reference=variant,
    )


def _updated(section: Section, changes: Section | None) -> Section:
    """A suite's section with the fields that a point names."""
    return section.model_copy(update=changes.model_dump(exclude_unset=True)) if changes else section


def axes_of(variants: Sequence[Variant]) -> dict[str, dict[str, Any]]:
    """axis -> the values that variants have there, by the text that stands for them after `--only`."""
    found: dict[str, dict[str, Any]] = {}
    for axis, value in (item for v in variants for item in v.point.items()):
        found.setdefault(axis, {})[as_text(value)] = value
    return found


def select(variants: Sequence[Variant], wanted: Mapping[str, Sequence[str]]) -> list[Variant]:
    """Only the variants with these values.

    Args:
        variants: to choose from.
        wanted: axis -> values, as text.

    Raises:
        MergebenchError: an axis or a value that none has, with the nearest; or values that no variant has together.
    """
    axes = axes_of(variants)
    for axis, values in wanted.items():
        if axis not in axes:
            raise UnknownNameError("axis of these variants:", axis, axes)
        for text in values:
            if not any(_meant(value, text) for value in axes[axis].values()):
                raise MergebenchError(f"unknown {axis} {text!r}; {nearest(text, list(axes[axis]))}")
    left = [v for v in variants if all(any(_meant(v.point.get(a), t) for t in texts) for a, texts in wanted.items())]
    if not left:
        asked = " and ".join(f"{axis}={','.join(texts)}" for axis, texts in wanted.items())
        raise MergebenchError(f"no variant has {asked}; there are: {'; '.join(v.name for v in variants)}")
    return left


def select_one(variants: Sequence[Variant], wanted: Mapping[str, Sequence[str]], suite: str) -> Variant:
    """The one variant with these values.

    Args:
        variants, wanted: as `select` takes them.
        suite: whose they are, for the message.

    Raises:
        MergebenchError: as `select`; or several are left.
    """
    left = select(variants, wanted)
    if len(left) != 1:
        axes = " ".join(f"{axis}={as_text(value)}" for axis, value in variants[0].point.items())
        raise MergebenchError(f"suite {suite!r}: {len(left)} variants left; choose one, as --only {axes}")
    return left[0]


def _meant(value: Any, text: str) -> bool:
    """Whether a text names a value; a number may be written in any way: 1, 1.0, 1e0."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            return float(text) == value
        except ValueError:
            return False
    return as_text(value) == text


def as_text(value: Any) -> str:
    """A value of an axis as it stands in a variant's name and after `--only`."""
    return "+".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
