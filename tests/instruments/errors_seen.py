"""The messages that tests cause: recorded while they run, kept as docs/errors.md, and held to the sources.

MERGEBENCH_ERRORS_SEEN=FOLDER make test
.venv/bin/python tests/instruments/errors_seen.py FOLDER     # writes docs/errors.md
"""

import ast
import json
import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from mergebench.errors import on_one_line

ROOT = Path(__file__).parents[2]
SOURCES = {"mergebench": ROOT / "mergebench", "methods": ROOT / "methods", "tasks": ROOT / "tasks"}
PAGE = ROOT / "docs/errors.md"
LONGEST = 320  # characters of a message that the page shows
HEAD = """# What is said when something is wrong

Every refusal names the thing, the value and the remedy, on one line, with status 2 and without a traceback; what was
done before stays as it is ([the design](design.md#errors-and-exit-status)). These are examples, as the
tests caused them: names, paths and numbers are those of the tests. (Each place that raises one by itself is shown; one
that is not is newer than this page.)
"""


class Site(NamedTuple):
    """A place in the sources that raises one of the project's errors.

    Args:
        file: relative to the project.
        lines: first and last line of the statement.
        pattern: what its messages match; None where the text is made elsewhere.
    """

    file: str
    lines: tuple[int, int]
    pattern: re.Pattern | None


def sites() -> Iterator[Site]:
    """Every statement that raises one of the project's errors."""
    for folder in SOURCES.values():
        for path in sorted(folder.rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                raised = isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call)
                if raised and re.search(
                    r"(Mergebench|Checkpoint|Hyperparameter|Needs|Method)Error$", ast.unparse(node.exc.func)
                ):
                    file = str(path.relative_to(ROOT))
                    yield Site(file, (node.lineno, node.end_lineno or node.lineno), _pattern(node.exc.args))


def _pattern(arguments: list[ast.expr]) -> re.Pattern | None:
    text = _template(arguments[0]) if arguments else None
    constant = re.sub(r"\.\*", "", text or "")
    return re.compile(text, re.DOTALL) if text and len(constant) > 8 else None


def _template(node: ast.expr) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return re.escape(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(_template(part) for part in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _template(node.left) + _template(node.right)
    return ".*"


def record(folder: Path) -> Callable[[], None]:
    """From now on, note every error of the project that is made in this process, with the place that made it.

    Returns:
        What writes them, once the tests are over: some of them count what is written meanwhile.
    """
    from mergebench import errors

    found: dict[str, None] = {}
    begin = errors.MergebenchError.__init__

    def noted(self: Exception, *arguments: object) -> None:
        begin(self, *arguments)
        frame = sys._getframe(1)
        while frame and frame.f_code.co_filename.endswith("mergebench/errors.py"):
            frame = frame.f_back
        place = Path(frame.f_code.co_filename)
        if place.is_relative_to(ROOT) and not place.is_relative_to(ROOT / "tests"):
            found[json.dumps([str(place.relative_to(ROOT)), frame.f_lineno, str(self)])] = None

    def write() -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{os.getpid()}.jsonl").write_text("".join(f"{line}\n" for line in found), encoding="utf-8")

    errors.MergebenchError.__init__ = noted
    return write


def seen(folder: Path) -> dict[Site, str]:
    """Place -> the shortest message that a test caused there."""
    lines = {line for file in folder.glob("*.jsonl") for line in file.read_text("utf-8").splitlines()}
    found: dict[Site, str] = {}
    known = list(sites())
    for file, number, message in map(json.loads, sorted(lines)):
        for site in known:
            if site.file == file and site.lines[0] <= number <= site.lines[1]:
                found[site] = min(found.get(site, message), message, key=lambda text: (len(text), text))
    return found


def page(found: dict[Site, str]) -> str:
    """The table, a section for every room."""
    parts, room = [HEAD], ""
    for site in sorted(found):
        own = site.file.rpartition("/")[0]
        if own != room:
            room = own
            parts.append(f"\n## {room}\n\n| said by | message |\n|---|---|\n")
        parts.append(f"| `{Path(site.file).name}` | {_shown(found[site])} |\n")
    return "".join(parts)


def _shown(message: str) -> str:
    message = on_one_line(message)  # as a terminal shows it
    own = r"/[\w./+~-]*/pytest-of-\w+/[\w-]+/(?:popen-\w+/)?(?!popen-)[\w\[\]-]+"  # the tests' own folders
    text = re.sub(own, "FOLDER", re.sub(f"{own}/", "", message))
    text = re.sub(re.escape(f"{ROOT}/"), "", " ".join(text.split()))
    text = text if len(text) <= LONGEST else text[:LONGEST] + " ..."
    return (
        text.replace("\\", "\\\\")
        .replace("|", "\\|")
        .replace("<", "&lt;")
        .replace("*", "\\*")
        .replace("_", "\\_")
        .replace("`", "\\`")
    )


if __name__ == "__main__":
    all_seen = seen(Path(sys.argv[1]))
    PAGE.write_text(page(all_seen), encoding="utf-8")
    lacking = [site for site in sites() if site not in all_seen]
    print(f"{len(all_seen)} messages; {len(lacking)} that no test caused in its own process:")
    print("\n".join(f"  {site.file}:{site.lines[0]}" for site in lacking))
