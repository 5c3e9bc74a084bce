"""What pages tell of methods and tasks beyond their results: plain texts, which the caller gathers."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

LONGEST = 80  # letters of a name in a file's name


@dataclass(frozen=True)
class Setting:
    """A hyper-parameter of a method, in words: its default, type, what is searched, and what it is."""

    name: str
    default: str
    kind: str
    searched: str
    text: str


@dataclass(frozen=True)
class MethodFacts:
    """A method's card.

    Args:
        year: of its paper; 0 if there is none.
        fidelity: what formula and defaults follow.
        facts: heading -> text.
        text: the docstring without its list of arguments; equations stand in it, indented.
        settings: of its hyper-parameters.
    """

    year: int = 0
    fidelity: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)
    text: str = ""
    settings: tuple[Setting, ...] = ()


@dataclass(frozen=True)
class TaskFacts:
    """A task's card.

    Args:
        title: its name for people.
        facts: heading -> text.
        classes: in the order of the label ids.
        sheet: a picture of test images (WebP); None where there is none.
        edition: what the picture was made of; another one is another file.
        note: what the picture shows, or why there is none.
    """

    title: str
    facts: Mapping[str, str] = field(default_factory=dict)
    classes: tuple[str, ...] = ()
    sheet: bytes | None = None
    edition: str = ""
    note: str = ""


@dataclass(frozen=True)
class Known:
    """All that is known, by name; what is not among it has what its results say."""

    methods: Mapping[str, MethodFacts] = field(default_factory=dict)
    tasks: Mapping[str, TaskFacts] = field(default_factory=dict)


def address(name: str) -> str:
    """A name as it may stand in a file's name and a link; two names stay two."""
    plain = re.sub(r"[^A-Za-z0-9+_-]", "_", name)
    return plain if plain == name and 0 < len(name) < LONGEST else f"{plain[: LONGEST // 2]}-{digest(name)}"


def digest(text: str) -> str:
    """A few letters that tell texts apart."""
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:8]


def method_path(method: str) -> str:
    """Where a method's page lies in the site."""
    return f"methods/{address(method)}.html"


def task_path(task: str) -> str:
    """Where a task's page lies in the site."""
    return f"tasks/{address(task)}.html"


def sheet_path(task: str, edition: str) -> str:
    """Where a task's picture lies in the site."""
    return f"pictures/task-{address(task)}-{digest(edition)}.webp"
