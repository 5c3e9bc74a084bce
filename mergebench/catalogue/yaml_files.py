"""Reading zoos, suites and studies from YAML: what is wrong with a file is said in one line."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError

from mergebench.catalogue import registry
from mergebench.configuration import MODELS, StudyConfig, SuiteConfig, ZooConfig
from mergebench.errors import MergebenchError, nearest, unprefixed
from mergebench.weights.footing import rests_on
from mergebench.weights.reading import plain_text

Section = TypeVar("Section", bound=BaseModel)


BYTES = 2_000_000  # of a file: twenty-one thousand names of classes take a quarter of it
WRITTEN = 100_000  # values that are written in it, which take seconds to read
MOST = 1_000_000  # values that a file may come to, once every alias is written out
DIGITS = 1000  # of a whole number: Python takes for ever to read, and refuses to print, what has many more


class _UniqueKeys(yaml.composer.Composer):
    """YAML in which a key that stands twice is an error: the first would be lost without a word.

    So is a file that names parts of itself so often that nobody could read it to its end, or writes as many.
    """

    written = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """As PyYAML's, counted while it is read; in a mapping the `index` is a node, or None."""
        self.written += 1
        if self.written > WRITTEN:
            mark = self.peek_event().start_mark  # type: ignore[attr-defined]
            raise yaml.composer.ComposerError(None, None, f"more than {WRITTEN:,} values; put them into several", mark)
        return super().compose_node(parent, index)

    def get_single_node(self) -> yaml.Node | None:
        """As PyYAML's, counted before anything is made of it."""
        node = super().get_single_node()
        if node is not None:
            _count(node, {})
        return node

    # PyYAML's stubs have it that an anchor is a dictionary; it is a name, or none.
    def compose_mapping_node(self, anchor: str | None) -> yaml.MappingNode:  # type: ignore[override]
        """As PyYAML's, but for keys that stand twice: as written, before `<<` brings in others."""
        node = super().compose_mapping_node(anchor)  # type: ignore[arg-type]
        seen = set()
        for key, _ in node.value:
            name = key.value if isinstance(key, yaml.ScalarNode) else id(key)
            if name in seen and key.tag != "tag:yaml.org,2002:merge":
                raise yaml.constructor.ConstructorError(None, None, f"{name!r} stands twice", key.start_mark)
            seen.add(name)
        return node


class _Plain(_UniqueKeys, yaml.SafeLoader):
    """By Python alone, whose words for what is no YAML are those that messages have."""


_LIBRARY: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Fast(_UniqueKeys, _LIBRARY):  # type: ignore[misc]
    """By the C library, where PyYAML has it: in a tenth of the time."""

    def __init__(self, text: str) -> None:
        _LIBRARY.__init__(self, text)
        yaml.composer.Composer.__init__(self)


def _loaded(text: str) -> Any:
    """What a text holds; raises as PyYAML does."""
    try:
        return yaml.load(text, Loader=_Fast)  # noqa: S506 (a SafeLoader)
    except (yaml.reader.ReaderError, yaml.scanner.ScannerError, yaml.parser.ParserError, UnicodeError):
        return yaml.load(text, Loader=_Plain)  # noqa: S506 (a SafeLoader)


def _count(node: yaml.Node, counts: dict[int, int | None]) -> int:
    """How many values a node comes to, each alias written out; `counts` holds those of nodes that were met before."""
    if id(node) in counts:
        known = counts[id(node)]
        if known is None:
            raise yaml.constructor.ConstructorError(None, None, "an alias of what it stands in", node.start_mark)
        return known
    if node.tag == "tag:yaml.org,2002:int" and len(node.value) > DIGITS:
        raise yaml.constructor.ConstructorError(None, None, f"a number of more than {DIGITS} digits", node.start_mark)
    if isinstance(node, yaml.ScalarNode) and any("\ud800" <= c <= "\udfff" for c in node.value):
        raise yaml.constructor.ConstructorError(None, None, "half a character, which no file can hold", node.start_mark)
    counts[id(node)] = None  # until it is known
    parts = [] if isinstance(node, yaml.ScalarNode) else node.value
    if isinstance(node, yaml.MappingNode):
        parts = [part for pair in parts for part in pair]
    count = 1 + sum(_count(part, counts) for part in parts)
    if count > MOST:
        told = f"with every alias written out this comes to more than {MOST:,} values"
        raise yaml.constructor.ConstructorError(None, None, told, node.start_mark)
    counts[id(node)] = count
    return count


def kind_of(file: str) -> str:
    """What a YAML file of one's own is: the kind (`suites`, `studies`, `zoos`) that most of its fields are of.

    Raises:
        MergebenchError: no such file, or not YAML.
    """
    if not Path(file).is_file():
        raise MergebenchError(f"no such file: {file}")
    return _likeliest(read_yaml(Path(file)))


def _likeliest(content: Any, unless: str = "suites") -> str:
    """The kind that has most of the fields; `unless` others have more than it."""
    fields = content.keys() if isinstance(content, dict) else set()
    kinds = [unless, *(kind for kind in MODELS if kind != unless)]
    return max(kinds, key=lambda kind: len(fields & MODELS[kind].model_fields.keys()))


def read_yaml(path: Path) -> Any:
    """What a YAML file holds, unchecked.

    Raises:
        MergebenchError: it cannot be read, or is not YAML; the message says where.
    """
    rests_on(path, alone=True)  # it names what else is read
    try:
        text = plain_text(path, BYTES)
    except (OSError, ValueError) as error:
        raise MergebenchError(f"cannot read {path}: {error}") from None
    try:
        return _loaded(text)
    except yaml.YAMLError as error:
        raise MergebenchError(f"{path} is not valid YAML: {_fault(error)}") from None
    except RecursionError:
        raise MergebenchError(f"{path} is not valid YAML: it is nested too deeply") from None
    # Of a date or a number that there cannot be, or of a tag on something else: PyYAML's constructors check nothing.
    except (ValueError, ArithmeticError, LookupError, AttributeError, TypeError) as error:
        told = error if isinstance(error, ValueError) else f"a value that is not what its tag says ({error})"
        raise MergebenchError(f"{path} is not valid YAML: {told}") from None


def _fault(error: yaml.YAMLError) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
        mark = error.problem_mark
        return f"line {mark.line + 1}, column {mark.column + 1}: {error.problem}"
    return " ".join(str(error).split())


def _read(kind: str, model: type[Section], name: str) -> Section:
    path = registry.config_file(kind, name)
    content = read_yaml(path)
    namesake = registry.config_files(kind).get(path.stem)
    if namesake not in (None, path) and read_yaml(namesake) != content:
        raise MergebenchError(
            f"{name}: results would call it {path.stem!r}, as a registered {registry.SINGULAR[kind]}; rename it"
        )
    try:
        return checked(model, content)
    except MergebenchError as error:
        reason = str(error)
    other = _likeliest(content, unless=kind)
    if other != kind:
        is_, wanted = registry.SINGULAR[other], registry.SINGULAR[kind]
        reason = f"these are the fields of a {is_}, not of a {wanted}; `run` takes it as --{is_}"
    raise MergebenchError(f"{path}: {reason}")


def checked(model: type[Section], content: Any) -> Section:
    """What a file's fields come to.

    Raises:
        MergebenchError: the first thing that is wrong with them, in one line.
    """
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise MergebenchError(_reason(model, error)) from None


def _reason(model: type[BaseModel], error: ValidationError) -> str:
    """The first thing wrong in a file, in one line; a field that is misspelt before one that is missing for it."""
    # Of a union's several complaints, one about a number's range says more than one about the other's type.
    ranked = ("extra_forbidden", "greater_than", "greater_than_equal", "less_than", "less_than_equal")
    first = min(error.errors(), key=lambda e: ranked.index(e["type"]) if e["type"] in ranked else len(ranked))
    if not first["loc"] and first["type"] == "value_error":  # of fields that do not fit together, which it names
        return unprefixed(first["msg"])
    *section, name = first["loc"] or ("the file",)
    where = ".".join(str(part) for part in (*section, name) if "[" not in str(part))  # pydantic's names of types
    where = re.sub(r"^described\b", "tasks", where)  # as the file has it
    if first["type"] == "extra_forbidden":
        return f"{where}: there is no such field; {nearest(str(name), list(_at(model, section).model_fields))}"
    if first["type"] == "model_type":
        fields = ", ".join(_at(model, first["loc"]).model_fields)
        return f"{where}: must be a section with fields ({fields}), not {first['input']!r}"
    # What a whole section holds would bury the reason.
    got = "" if isinstance(first["input"], dict) else f" (got {first['input']!r})"
    return f"{where}: {unprefixed(first['msg'])}{got}"


def _at(model: type[BaseModel], where: Sequence[str | int]) -> type[BaseModel]:
    """The section of a file at a place; names of points and the like are no sections of their own."""
    for name in where:
        field = model.model_fields.get(str(name))
        inner = [t for t in _types(field.annotation) if issubclass(t, BaseModel)] if field else []
        model = inner[0] if inner else model
    return model


def _types(annotation: Any) -> list[type]:
    """The classes that an annotation is made of."""
    parts = get_args(annotation)
    return [t for part in parts for t in _types(part)] if parts else [annotation] * isinstance(annotation, type)


def read_suite(name: str) -> SuiteConfig:
    """A suite by name, or from a YAML file of one's own.

    Raises:
        MergebenchError: unknown, not YAML, or a field that does not fit.
    """
    return _read("suites", SuiteConfig, name)


def read_zoo(name: str) -> ZooConfig:
    """A zoo by name, or from a YAML file of one's own; raises as `read_suite` does."""
    return _read("zoos", ZooConfig, name)


def read_study(name: str) -> StudyConfig:
    """A study by name, or from a YAML file of one's own; raises as `read_suite` does."""
    return _read("studies", StudyConfig, name)


def short_name(name: str) -> str:
    """The name under which a suite, study or zoo is stored: a registered name as it is, a file by its stem."""
    return Path(name).stem if name.endswith((".yaml", ".yml")) else name


def beside(named: str, where: str) -> str:
    """What a study names as its suite, or a suite as its zoo: a file beside it, or else from the current folder."""
    file = Path(where).parent / named
    return str(file) if named.endswith((".yaml", ".yml")) and file.is_file() else named
