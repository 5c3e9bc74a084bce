"""Finding merge methods by reading their source: nothing is imported until a method is run."""

import ast
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from mergebench.errors import MergebenchError
from mergebench.method import MethodCard, Needs, merge_method


def scan_package(name: str) -> Iterator[MethodCard]:
    """Cards of all methods in the modules of a package (or in one module), by its import name.

    Raises:
        MergebenchError: no such package, or a source that cannot be read.
    """
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise MergebenchError(f"entry point of group 'mergebench.methods' names {name!r}, which cannot be imported")
    if spec.submodule_search_locations is None:
        yield from scan_file(Path(spec.origin), name)
        return
    for path in sorted(Path(spec.origin).parent.glob("*.py")):
        if path.stem != "__init__":
            yield from scan_file(path, f"{name}.{path.stem}")


def scan_file(path: Path, module: str | None = None) -> Iterator[MethodCard]:
    """Cards of all `@merge_method` functions of one file.

    Args:
        path: a Python file.
        module: its import name; None for a file outside any package.

    Raises:
        MergebenchError: the file is missing or is not Python.
    """
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    except OSError as error:
        raise MergebenchError(f"cannot read the method file {path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise MergebenchError(f"{path}: not UTF-8 text: {error.reason} at byte {error.start}") from None
    except SyntaxError as error:
        raise MergebenchError(f"{path}:{error.lineno}: not valid Python: {error.msg}") from None
    for node in tree.body:
        if not isinstance(node, ast.FunctionDef):
            continue
        for decorator in node.decorator_list:
            if isinstance(decorator, ast.Call) and _callee(decorator) == merge_method.__name__:
                yield _card(node, decorator, path, module)


def _callee(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def _card(node: ast.FunctionDef, decorator: ast.Call, path: Path, module: str | None) -> MethodCard:
    where = f"{path}:{node.lineno}: @merge_method of {node.name}"
    try:
        positional = [_literal(a) for a in decorator.args]
        given = {k.arg: _literal(k.value) for k in decorator.keywords}
    except ValueError:
        raise MergebenchError(f"{where}: arguments must be literals, for the registry reads them unexecuted") from None
    except TypeError as error:  # a need that does not exist
        raise MergebenchError(f"{where}: {error}") from None
    try:
        bound = inspect.signature(merge_method).bind(*positional, **given).arguments
    except TypeError as error:
        raise MergebenchError(f"{where}: {error}") from None
    hyper = {
        a.arg: (ast.unparse(a.annotation) if a.annotation else "", ast.unparse(d) if d else "")
        for a, d in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)
    }
    return MethodCard(
        **bound,
        doc=ast.get_docstring(node) or "",
        hyperparameters=hyper,
        path=str(path),
        module=module,
        function=node.name,
    )


def _literal(node: ast.expr) -> Any:
    if isinstance(node, ast.Call) and _callee(node) == Needs.__name__:
        return Needs(*map(_literal, node.args), **{k.arg: _literal(k.value) for k in node.keywords})
    if isinstance(node, ast.Dict):
        return {_literal(k): _literal(v) for k, v in zip(node.keys, node.values, strict=True)}
    return ast.literal_eval(node)


def source_files(card: MethodCard) -> list[Path]:
    """The method's file, and every file of its own package (or folder) that it imports, directly or through others.

    Imports are read from the sources, inside functions too; one that is put together at run time is not seen.
    """
    module = card.module or ""
    top = module.partition(".")[0]
    # The engine is no method's own: only the package that holds the built-in methods is.
    home = Path(importlib.util.find_spec(top).origin if top not in ("", "mergebench") else card.path).parent
    found: dict[Path, None] = {}
    left = [(Path(card.path), module)]
    while left:
        path, name = left.pop()
        if path not in found:
            found[path] = None
            left += [
                (p, n)
                for p, n in _imported(path, name)
                if p.is_relative_to(home) and "site-packages" not in p.relative_to(home).parts
            ]
    return list(found)


def _imported(path: Path, module: str) -> Iterator[tuple[Path, str]]:
    """The files and names of all modules that a file imports."""
    package = module if path.stem == "__init__" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and (package or not node.level):
            start = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
            names = [start, *(f"{start}.{alias.name}" for alias in node.names)]
        for name in names:
            try:
                spec = importlib.util.find_spec(name)
            except (ImportError, ValueError, AttributeError):  # what is imported from a module need not be one
                continue
            if spec and spec.origin and spec.origin.endswith(".py"):
                yield Path(spec.origin), name


def load_function(card: MethodCard) -> Callable:
    """Import a method's file and return its function.

    Raises:
        MergebenchError: the import fails; the message says with what.
    """
    try:
        if card.module is not None:
            module = importlib.import_module(card.module)
        else:
            # A stable, path-made name: the same plug-in file asked for twice is one module.
            name = f"mergebench_plugin_{abs(hash(card.path)):x}"
            if name not in sys.modules:
                spec = importlib.util.spec_from_file_location(name, card.path)
                module = importlib.util.module_from_spec(spec)
                # Dataclasses look their module up while it is still being executed.
                sys.modules[name] = module
                try:
                    spec.loader.exec_module(module)
                except BaseException:
                    del sys.modules[name]
                    raise
            module = sys.modules[name]
    except Exception as error:
        raise MergebenchError(f"method {card.name!r}: importing {card.path} failed: {error!r}") from error
    return getattr(module, card.function)
