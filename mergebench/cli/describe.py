"""`mergebench describe`: all that is known of one method, suite, study, zoo, task or corruption."""

import shlex
import textwrap
from typing import TYPE_CHECKING, Any

from jsonargparse import ArgumentParser, Namespace

from mergebench.cli.saying import say
from mergebench.cli.spellings import meant
from mergebench.errors import MergebenchError, UnknownNameError, on_one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from pydantic import BaseModel

    from mergebench.configuration import PointConfig, SuiteConfig, TaskConfig, ZooConfig
    from mergebench.suites.variant import Variant


def add_arguments(parser: ArgumentParser) -> None:
    """What `describe` takes."""
    parser.add_argument(
        "name",
        type=str,
        help="a method (or FILE.py:FUNCTION), suite, study, zoo or described task (FILE.yaml), task or corruption",
    )


def execute(config: Namespace) -> int:
    """Print whatever bears that name.

    Raises:
        MergebenchError: nothing does, or the file is broken.
    """
    from mergebench.catalogue import registry
    from mergebench.catalogue.yaml_files import kind_of
    from mergebench.cli.description import describes_a_task

    name = config.name
    makers = {
        **dict.fromkeys(registry.methods(), _method),
        **dict.fromkeys(registry.config_files("suites"), _suite),
        **dict.fromkeys(registry.config_files("studies"), _study),
        **dict.fromkeys(registry.config_files("zoos"), _zoo),
        **dict.fromkeys(registry.tasks(), _task),
        **dict.fromkeys(registry.corruptions(), _corruption),
    }
    if name.endswith((".yaml", ".yml")):
        kinds = {"suites": _suite, "studies": _study, "zoos": _zoo}
        makers[name] = _described if describes_a_task(name) else kinds[kind_of(name)]
    elif ".py" in name:
        makers[name] = _method
    name = meant(name, makers)
    if name not in makers:
        spelt = {card.title: method for method, card in registry.methods().items()}
        name = spelt.get(meant(name, spelt), name)
    if name not in makers:
        raise UnknownNameError("method, suite, study, zoo, task or corruption", name, makers)
    for line in "\n".join(makers[name](name)).split("\n"):
        say(line)
    return 0


def _method(name: str) -> list[str]:
    from mergebench.catalogue import registry
    from mergebench.cli.method_card import method_card

    return method_card(registry.method(name), name)


def _suite(name: str) -> list[str]:
    from mergebench.catalogue.yaml_files import read_suite
    from mergebench.suites.variant import axes_of

    suite = read_suite(name)
    merge = f"the zoo's first {suite.merge} tasks" if isinstance(suite.merge, int) else " ".join(suite.merge)
    facts = {"version": f"v{suite.version}", "zoo": suite.zoo, "merge": merge, "evaluate": " ".join(suite.evaluate)}
    facts |= {f"order {order}": " | ".join(" ".join(g) for g in groups) for order, groups in suite.orders.items()}
    facts |= _sections(suite) | _settings(suite.hyperparameters) | _code(suite)
    variants = _variants(suite, name)
    example = f"  example: mergebench run --methods all --suite {name}{_only(variants[-1].point)}"
    return [_headed(name, suite.title), *_wrapped(facts | _axes(axes_of(variants))), "", example]


def _variants(suite: "SuiteConfig", name: str) -> "list[Variant]":
    """The variants of a suite of this name or file, found without any weights."""
    from mergebench.catalogue.registry import find_task
    from mergebench.catalogue.yaml_files import beside, read_zoo
    from mergebench.suites.variant import suite_variants

    tasks = read_zoo(beside(suite.zoo, name)).tasks
    merge = suite.merged_of(tasks, suite.zoo)
    return suite_variants(suite, merge, lambda name: find_task(name, tasks, f"zoo {suite.zoo!r}"))


def _axes(axes: "Mapping[str, Iterable[str]]") -> dict[str, str]:
    return {f"axis {axis}": " ".join(values) for axis, values in axes.items()}


def _only(point: "Mapping[str, Any]") -> str:
    """An example of how one variant is chosen; empty where there is but one."""
    from mergebench.suites.variant import as_text

    chosen = " ".join(shlex.quote(f"{axis}={as_text(value)}") for axis, value in point.items())
    return f" --only {chosen}" if chosen else ""


def _study(name: str) -> list[str]:
    from mergebench.catalogue.yaml_files import beside, read_study, read_suite
    from mergebench.suites.variant import as_text, axes_of

    study = read_study(name)
    facts = {"suite": study.suite, "methods": " ".join(study.methods), "seeds": " ".join(map(str, study.seeds))}
    suite = beside(study.suite, name)
    variants = _variants(read_suite(suite), suite)
    values = {axis: ["each block, by its number"] if v == "each" else v for axis, v in study.vary.items()}
    facts |= _axes(axes_of(variants) | {axis: map(as_text, v) for axis, v in values.items()})
    for arm, point in study.points.items():
        said = point.hyperparameters | ({"methods": point.methods} if point.methods else {}) | _sections(point)
        facts[f"arm {arm}"] = ", ".join(f"{k}: {v}" for k, v in said.items()) or "as the suite"
    if study.choose_on_validation:
        facts["chosen"] = "each method's best point, by the validation split"
    facts |= _settings(study.hyperparameters) | _code(study)
    last = {axis: 0 if v == "each" else v[-1] for axis, v in study.vary.items()}
    last |= {"arm": list(study.points)[-1]} if study.points else {}
    example = f"  example: mergebench run --study {name}{_only({**variants[-1].point, **last})}"
    return [_headed(name, study.title), *_wrapped(facts), "", example]


def _code(config: "BaseModel") -> dict[str, str]:
    """The methods' files that a YAML file names, and what they may do."""
    from mergebench.catalogue.trust import method_files

    files = method_files(config)
    return {"code": f"{', '.join(files)}: run only with --allow-code"} if files else {}


def _sections(config: "SuiteConfig | PointConfig") -> dict[str, str]:
    """What a suite or point says of calibration and region, where it says anything."""
    parts = {"calibration": config.calibration, "restrict": config.restrict}
    said = {n: part.model_dump(exclude_defaults=True) for n, part in parts.items() if part is not None}
    return {n: ", ".join(f"{k} {v}" for k, v in fields.items()) for n, fields in said.items() if fields}


def _settings(hyperparameters: dict[str, dict[str, Any]]) -> dict[str, str]:
    return {
        f"set {method}": ", ".join(f"{k}={v}" for k, v in given.items()) for method, given in hyperparameters.items()
    }


def _headed(name: str, title: str) -> str:
    return on_one_line(f"{name}: {title}")


def _wrapped(facts: dict[str, str]) -> list[str]:
    """A line or paragraph for every fact that is there, aligned."""
    there = {name: text for name, text in facts.items() if text}
    width = max(map(len, there)) + 4
    return [
        textwrap.fill(f"  {name:<{width - 2}}{text}", 118, subsequent_indent=" " * width, break_on_hyphens=False)
        for name, text in there.items()
    ]


def _zoo(name: str) -> list[str]:
    from mergebench.catalogue.trust import is_installed
    from mergebench.catalogue.yaml_files import read_zoo

    zoo = read_zoo(name)
    run = "" if is_installed(zoo.encoder or "") else " (code, which is run)"
    return [
        _headed(name, zoo.title),
        f"  encoder  {zoo.encoder or 'as the base says'}{run}",
        *["  merged   the encoder with its projection, of which each expert has its own"]
        * (zoo.projection == "merged"),
        *[f"  images   of {zoo.image_size} pixels, to which position embeddings are interpolated"]
        * bool(zoo.image_size),
        *(f"  {field:<8} {value}" for field in ("backbone", "family") if (value := getattr(zoo, field))),
        *(f"  {field:<8} {value}" for field in ("weights", "base", "experts", "text") if (value := _place(zoo, field))),
        f"  tasks    {' '.join(zoo.tasks)}",
        *(f"  {_data_or_why_not(task, fields, name)}" for task, fields in zoo.described.items()),
        *(f"  {fact:<8} {text}" for fact, text in _code(zoo).items()),
    ]


def _described(name: str) -> list[str]:
    """What the data of a description (`finetune --describe`) come to; nothing is fetched for it."""
    from pathlib import Path

    from mergebench.catalogue.yaml_files import checked
    from mergebench.cli.description import of_file
    from mergebench.configuration import TaskConfig

    return [_data(Path(name).stem, checked(TaskConfig, of_file(name)), Path())]


def _data(task: str, fields: "TaskConfig", folder: "Path") -> str:
    """What a described task's data come to; nothing is fetched for it."""
    from mergebench.data.described import make_task
    from mergebench.data.task import Place

    placed = make_task(task, fields, folder).at
    assert placed is not None  # as of every description
    return placed(Place(1, download=False)).told  # of whatever size: classes and splits are the same


def _data_or_why_not(task: str, fields: "TaskConfig", zoo: str) -> str:
    """The same of a zoo's task, of which one that cannot be read leaves the others to be told."""
    from mergebench.catalogue import registry

    try:
        return _data(task, fields, registry.config_file("zoos", zoo).absolute().parent)
    except MergebenchError as error:
        return str(error)


def _place(zoo: "ZooConfig", field: str) -> str:
    """Where weights are, as the zoo's file says it."""
    value = getattr(zoo, field)
    if isinstance(value, dict):
        return ", ".join(f"{task}: {place}" for task, place in value.items())
    pinned = f", {len(zoo.revisions)} of {len(zoo.tasks)} pinned to a commit" if zoo.revisions else ""
    return f"{value or ''}{pinned if field == 'experts' else ''}"


def _task(name: str) -> list[str]:
    from mergebench.catalogue import registry

    card = registry.tasks()[name].card
    splits = ", ".join(f"{split} {count:,}" for split, count in card.splits.items())
    facts = {
        "stands for": card.stands_for,
        "classes": f"{len(card.classes)}: {', '.join(card.classes)}",
        "templates": " | ".join(card.templates),
        "images": splits or "as many as there are",
        "source": card.source,
        "licence": card.licence,
        "real": card.real,
        "drawn": card.drawn,
    }
    return [f"{card.name}: {card.title}", *_wrapped(facts)]


def _corruption(name: str) -> list[str]:
    from mergebench.catalogue import registry

    corruption = registry.corruptions()[name]
    example = f"mergebench run --methods average --suite corruptions --only corruption={name} severity=1,5"
    return [f"{name}: {corruption.title}", f"  {corruption.definition}", "", f"  example: {example}"]
