"""What mkdocs is told beyond the files of this folder: a page for whatever is registered, and for every verb.

The pages say what `mergebench describe NAME` and `mergebench VERB --help` print, so that none of them can go stale.
"""

import contextlib
import io
import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from mergebench.catalogue import registry
from mergebench.cli.command import VERBS, main, make_parser

ROOT = Path(__file__).parent.parent
COLUMNS = 100  # of the verbs' help
WIDE = "---\nhide: [toc]\n---\n\n"  # a page without headings leaves their place to its lines
# Pages of the project that lie elsewhere: where readers of a checkout look for them.
ELSEWHERE = {
    "CHANGELOG.md": "project/CHANGELOG.md",
    "CONTRIBUTING.md": "project/CONTRIBUTING.md",
    "README.md": "index.md",
    "SECURITY.md": "project/SECURITY.md",
    "tasks/tiny/README.md": "project/tiny-zoo.md",
}
NAMES: dict[str, Callable[[], Iterable[str]]] = {
    "methods": registry.methods,
    "tasks": registry.tasks,
    "suites": lambda: registry.config_files("suites"),
    "studies": lambda: registry.config_files("studies"),
    "zoos": lambda: registry.config_files("zoos"),
    "corruptions": registry.corruptions,
    "verbs": lambda: VERBS,
}


# Pages whose tables begin with names that have pages of their own.
TABLES = {"methods.md": ("methods",), "suites.md": ("suites", "studies")}


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the pages of what is registered where the menu names their folder."""
    config.nav = _unfolded(config.nav)
    return config


def _unfolded(entry: Any) -> Any:
    if isinstance(entry, dict):
        return {title: _unfolded(inner) for title, inner in entry.items()}
    if isinstance(entry, list):
        return [_unfolded(inner) for inner in entry]
    kind = entry.removeprefix("reference/")
    return [{name: f"{entry}/{name}.md"} for name in NAMES[kind]()] if kind in NAMES else entry


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made, and those that lie elsewhere."""
    for kind, names in NAMES.items():
        for name in names():
            text = _help(name) if kind == "verbs" else _described(name)
            files.append(File.generated(config, f"reference/{kind}/{name}.md", content=f"{WIDE}# {name}\n\n{text}\n"))
    for source, page in ELSEWHERE.items():
        if page != "index.md":
            files.append(File.generated(config, page, content=(ROOT / source).read_text(encoding="utf-8")))
    return files


def _described(name: str) -> str:
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        main(["describe", name])
    return f"`mergebench describe {name}` says:\n\n```text\n{said.getvalue().rstrip()}\n```"


def _help(verb: str) -> str:
    os.environ["COLUMNS"] = str(COLUMNS)
    return f"`mergebench {verb} --help` says:\n\n```text\n{make_parser(verb).of_verb.format_help().rstrip()}\n```"


def _with_pages(names: str, kinds: Iterable[str]) -> str:
    """A table's first cell, its names leading to their pages."""
    known = {name: kind for kind in kinds for name in NAMES[kind]()}
    parts = [(part, part.strip("`")) for part in names.split("; ")]
    return "; ".join(f"[{p}](reference/{known[n]}/{n}.md)" if n in known else p for p, n in parts)


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Lead links that leave the folder to the page that stands for what they name; files without one are but named."""
    uri = page.file.src_uri
    source = next((path for path, own in ELSEWHERE.items() if own == uri and path != "README.md"), f"docs/{uri}")

    def lead(found: re.Match) -> str:
        text, target, anchor = found.groups()
        if "://" in target or not target:
            return found[0]
        path = PurePosixPath(os.path.normpath(PurePosixPath(source).parent / target)).as_posix()
        place = path.removeprefix("docs/") if path.startswith("docs/") else ELSEWHERE.get(path)
        if place is None:
            return text
        return f"[{text}]({os.path.relpath(place, PurePosixPath(uri).parent)}{anchor or ''})"

    if uri in TABLES:
        markdown = re.sub(r"(?m)^\| ([^|]+?) \|", lambda row: f"| {_with_pages(row[1], TABLES[uri])} |", markdown)
    return re.sub(r"(?<!!)\[([^\]]+)\]\(([^)#\s]*)(#[^)]*)?\)", lambda m: lead(m), markdown)
