"""What `mergebench inspect` left in a run's folder: read with suspicion, and shown with its pictures."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, ValidationError, model_validator

from mergebench.errors import on_one_line
from mergebench.leaderboard.site.known import address, digest
from mergebench.leaderboard.site.views import plain_table

FOLDER, FACTS = "inspect", "inspect.json"
PNG = b"\x89PNG\r\n\x1a\n"
LARGEST = 4_000_000  # bytes of a picture, or of the file that tells of them
THEMES = {"light": "", "dark": "-dark"}  # page -> ending of a picture's name

Text = Annotated[str, Field(max_length=2000)]
Row = Annotated[list[Text], Field(max_length=20)]


class Picture(BaseModel):
    """One picture: its files' name, what stands above it, how it is read, what is seen on it."""

    name: Annotated[str, Field(pattern="^[a-z][a-z-]{0,40}$")]
    title: Text
    caption: Text
    alt: Text


class Facts(BaseModel):
    """Whose task vectors were looked at, and what they came to."""

    schema_version: Literal[1]
    zoo: Annotated[str, Field(min_length=1, max_length=300)]
    title: Text = ""
    tasks: Annotated[list[Text], Field(min_length=1, max_length=1000)]
    merged: Text = ""
    header: Row
    rows: Annotated[list[Row], Field(max_length=1000)]
    pictures: Annotated[list[Picture], Field(max_length=20)]

    @model_validator(mode="after")
    def _square(self) -> "Facts":
        if any(len(row) != len(self.header) for row in self.rows):
            raise ValueError("rows: one is not as long as the header")
        return self


@dataclass(frozen=True)
class Inspection:
    """What was told, and the pictures: (name, theme) -> PNG."""

    facts: Facts
    pictures: dict[tuple[str, str], bytes]


def read_inspections(folders: Iterable[Path]) -> tuple[list[Inspection], list[str]]:
    """The inspections in runs' folders, one of each zoo, and a sentence for every one that cannot be shown.

    Args:
        folders: of runs; of a zoo that several have, the first one's is shown.
    """
    found: dict[str, Inspection] = {}
    told = []
    for path in (path for folder in folders for path in sorted((folder / FOLDER).glob(f"*/{FACTS}"))):
        try:
            one = _read(path)
        except (OSError, ValueError, RecursionError) as error:
            told.append(f"{path} is not shown: {_why(error)}; make it again: mergebench inspect")
        else:
            found.setdefault(one.facts.zoo, one)
    return list(found.values()), told


def _read(path: Path) -> Inspection:
    facts = Facts.model_validate_json(_bytes(path))
    pictures = {}
    for picture in facts.pictures:
        for theme, ending in THEMES.items():
            file = path.with_name(f"{picture.name}{ending}.png")
            pictures[picture.name, theme] = _bytes(file)
            if not pictures[picture.name, theme].startswith(PNG):
                raise ValueError(f"{file.name} is no PNG picture")
    return Inspection(facts, pictures)


def _bytes(path: Path) -> bytes:
    with path.open("rb") as file:
        content = file.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise ValueError(f"{path.name} has more than {LARGEST:,} bytes")
    return content


def _why(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc'])) or FACTS}: {first['msg']}"
    if isinstance(error, OSError):
        return f"{Path(error.filename or FACTS).name}: {error.strerror}"
    return str(error)


def inspection_view(one: Inspection) -> tuple[dict[str, Any], dict[str, bytes]]:
    """What the section of an inspection shows, and its pictures: path in the site -> PNG."""
    facts = one.facts
    named = address(f"inspect--{facts.zoo}")
    files: dict[str, bytes] = {}
    pictures = []
    for picture in facts.pictures:
        places = {}
        for theme in THEMES:
            content = one.pictures[picture.name, theme]
            places[theme] = f"pictures/{named}-{picture.name}-{theme}-{digest(repr(content))}.png"
            files[places[theme]] = content
        width, height = (int.from_bytes(one.pictures[picture.name, "light"][at : at + 4], "big") for at in (16, 20))
        told = {part: on_one_line(getattr(picture, part)) for part in ("title", "caption", "alt")}
        pictures.append({**places, **told, "width": width, "height": height})
    merged = f", and a merged model ({facts.merged})" * bool(facts.merged)
    view = {
        "id": named,
        "kind": "inspection",
        "title": on_one_line(f"task vectors of {facts.zoo}"),
        "summary": on_one_line(f"{facts.title or facts.zoo}: {len(facts.tasks)} task vectors{merged}"),
        "lead": "",
        "notes": [],
        "pictures": pictures,
        "tables": [plain_table("Task by task", facts.header, facts.rows)],
    }
    return view, files
