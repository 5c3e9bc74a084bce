"""Modules as their source has them: what is defined, what is imported, and where that is; nothing is run."""

import ast
import importlib.util
import sys
from functools import cached_property
from importlib.machinery import ModuleSpec
from pathlib import Path

from mergebench.catalogue.syntax import imports_of, names_bound, only_defines, says_nothing
from mergebench.errors import MergebenchError
from mergebench.weights.footing import rests_on

OURS = "mergebench"


class Module:
    """One file.

    Args:
        path: of the file.
        name: its import name; empty for a file outside any package.
        home: the folder of the package that it is of, or of the modules beside it; None where there are none.
        package: that package's name; empty for modules beside it.

    Raises:
        MergebenchError: it cannot be read, or is not Python.
    """

    def __init__(self, path: Path, name: str, home: Path | None = None, package: str = "") -> None:
        self.path, self.name, self.home, self.package = path, name, home, package
        rests_on(path)
        try:
            source = read_source(path)
        except (OSError, ValueError) as error:
            raise MergebenchError(f"cannot read {path}: {error}") from None
        self.tree = parsed(source, path)
        # Name -> the statements that make it; none where only a loose statement does.
        self.definitions: dict[str, list[ast.stmt]] = {}
        self.loose: list[ast.stmt] = []  # what runs whatever is used of the module
        for statement in self.tree.body:
            if not says_nothing(statement):
                plain = only_defines(statement)
                self.loose += [] if plain else [statement]
                for bound in names_bound(statement):
                    self.definitions.setdefault(bound, []).extend([statement] if plain else [])

    @property
    def ours(self) -> bool:
        """Whether it is one of mergebench's own."""
        return self.name.partition(".")[0] == OURS

    @cached_property
    def _import_statements(self) -> list[ast.Import | ast.ImportFrom]:
        return list(imports_of(self.tree))

    @cached_property
    def imports(self) -> dict[str, list[tuple[str, str]]]:
        """Name -> the (module, what of it) that it may stand for; the module itself where the second is empty.

        Imports inside functions count for the whole file, and those for type checkers too: a package may hand names on
        so.
        """
        found: dict[str, list[tuple[str, str]]] = {}
        for node in self._import_statements:
            for alias in node.names:
                if isinstance(node, ast.ImportFrom):
                    found.setdefault(alias.asname or alias.name, []).append((self._start(node), alias.name))
                else:
                    bound = alias.asname or alias.name.partition(".")[0]
                    found.setdefault(bound, []).append((alias.name if alias.asname else bound, ""))
        return found

    @cached_property
    def imported(self) -> list[str]:
        """The full names of all that may be modules among what is imported, and of the packages that are run for it."""
        names = dict.fromkeys(with_packages(self.name)[1:])
        for node in self._import_statements:
            for alias in node.names:
                name = alias.name
                if isinstance(node, ast.ImportFrom):
                    name = f"{self._start(node)}.{alias.name}"
                names |= dict.fromkeys(with_packages(name))
        return list(names)

    def _start(self, node: ast.ImportFrom) -> str:
        parts = self.name.split(".")
        parts = parts if self.path.stem == "__init__" else parts[:-1]
        above = parts[: len(parts) - node.level + 1] if node.level else []
        return ".".join([*above, *filter(None, [node.module])])

    def statements(self, name: str) -> list[ast.stmt]:
        """What makes a definition, or a `Class.method`."""
        outer, _, inner = name.partition(".")
        found = self.definitions.get(outer, [])
        if inner:
            found = [s for c in found for s in getattr(c, "body", []) if inner == getattr(s, "name", "")]
        return found


def read_source(path: Path) -> str:
    """A source file's text."""
    return path.read_text(encoding="utf-8")


def parsed(source: str, path: Path) -> ast.Module:
    """The syntax tree of a source file's text.

    Raises:
        MergebenchError: it is not Python, or nested more deeply than Python itself reads.
    """
    try:
        return ast.parse(source, str(path))
    except (SyntaxError, ValueError) as error:  # the latter of a null byte, in some Pythons
        line = getattr(error, "lineno", None)
        where = f"{path}:{line}" if line else path
        raise MergebenchError(f"{where}: not valid Python: {getattr(error, 'msg', error)}") from None
    except (RecursionError, MemoryError):  # of the parser's own stacks
        raise MergebenchError(f"{path}: nested too deeply to be read; split the expression") from None


def with_packages(name: str) -> list[str]:
    """A module's name and those of the packages that are run when it is imported, the innermost first."""
    parts = name.split(".")
    return [".".join(parts[:n]) for n in range(len(parts), 0, -1)]


def folder_of(package: str) -> Path | None:
    """The folder that a package's (or a module's) file is in; None if there is none.

    `importlib.util.find_spec` would run the packages that it lies in.
    """
    spec: ModuleSpec | None = None
    name = ""
    for part in package.split("."):
        places = spec.submodule_search_locations if spec else None
        if not part.isidentifier() or (name and places is None):
            return None
        name = f"{name}.{part}" if name else part
        finders = (finder.find_spec for finder in sys.meta_path if hasattr(finder, "find_spec"))
        spec = next((found for find in finders if (found := find(name, places))), None)
        if spec is None:
            return None
    return Path(spec.origin).parent if spec and spec.origin and spec.has_location else None


class Shelf:
    """Modules by name, each read once."""

    def __init__(self) -> None:
        # By name too: from a file's name it follows what its imports mean.
        self._read: dict[tuple[Path, str], Module] = {}
        self._places: dict[str, Path | None] = {}

    def module(self, path: Path, name: str) -> Module:
        """The module of a file, whoever's it is."""
        package = name.partition(".")[0]
        depth = name.count(".") + (path.stem == "__init__")  # of folders below the one that holds the package
        home = path.parents[depth - 1] if depth and package != OURS else None
        if not name:
            home = path.parent
        return self._kept(path, name, home, package)

    def find(self, name: str, asking: Module) -> Module | None:
        """The module that an import means: mergebench's, or one of the importing file's own; else None."""
        if name.partition(".")[0] == OURS:
            return self.ours(name)
        if asking.home is None or not (not asking.package or f"{name}.".startswith(f"{asking.package}.")):
            return None
        inside = name.removeprefix(asking.package).strip(".")
        place = asking.home.joinpath(*inside.split(".")) if inside else asking.home
        path = _file_at(place, bool(inside))
        return self._kept(path, name, asking.home, asking.package) if path else None

    def _kept(self, path: Path, name: str, home: Path | None = None, package: str = "") -> Module:
        if (path, name) not in self._read:
            self._read[path, name] = Module(path, name, home, package)
        return self._read[path, name]

    def ours(self, name: str) -> Module | None:
        """One of mergebench's own modules; its parts lie in folders that only the import system knows."""
        if name not in self._places:
            top, rest = ".".join(name.split(".")[:2]), name.split(".")[2:]
            spec = importlib.util.find_spec(top)
            folders = spec and spec.submodule_search_locations
            if folders:
                self._places[name] = _file_at(Path(next(iter(folders))).joinpath(*rest), bool(rest))
            else:
                self._places[name] = Path(spec.origin) if spec and spec.origin and not rest else None
        path = self._places[name]
        return self._kept(path, name) if path else None


def _file_at(place: Path, named: bool) -> Path | None:
    """The file of a module at a place without its ending; the folder of a whole package has no name of its own."""
    files = [place / "__init__.py"] + ([place.with_name(f"{place.name}.py")] if named else [])
    return next((f for f in files if f.is_file()), None)
