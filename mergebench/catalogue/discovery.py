"""Finding merge methods by reading their source: nothing is imported until a method is run."""

import ast
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mergebench.catalogue.modules import parsed
from mergebench.errors import MergebenchError, tell
from mergebench.merging.method import MethodCard, Needs, check_card, merge_method
from mergebench.weights.footing import rests_on

if TYPE_CHECKING:
    from mergebench.merging.method import MergeMethod


def scan_package(name: str) -> Iterator[MethodCard]:
    """Cards of all methods in the modules of a package (or in one module), by its import name.

    What cannot be read of it is told and left out: one package's mistake does not take all others' methods away.

    Raises:
        MergebenchError: no such package.
    """
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise MergebenchError(f"entry point of group 'mergebench.methods' names {name!r}, which cannot be imported")
    if spec.submodule_search_locations is None:
        modules = {name: Path(spec.origin)}
    else:
        paths = sorted(Path(spec.origin).parent.glob("*.py"))
        modules = {f"{name}.{path.stem}": path for path in paths if path.stem != "__init__"}
    for module, path in modules.items():
        try:
            yield from scan_file(path, module, lambda function, fault: tell(f"{fault}; {function} is left out"))
        except MergebenchError as fault:
            tell(f"{fault}; its methods are left out")


Spoilt = Callable[[str, MergebenchError], None]


def scan_file(path: Path, module: str | None = None, spoilt: Spoilt | None = None) -> Iterator[MethodCard]:
    """Cards of all `@merge_method` functions of one file.

    Args:
        path: a Python file.
        module: its import name; None for a file outside any package.
        spoilt: given every function whose decorator is wrong, and why; without it the first such is raised.

    Raises:
        MergebenchError: the file is missing or is not Python, or a decorator is wrong.
    """
    rests_on(path)
    try:
        source = path.read_text(encoding="utf-8")
    except OSError as error:
        raise MergebenchError(f"cannot read the method file {path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise MergebenchError(f"{path}: not UTF-8 text: {error.reason} at byte {error.start}") from None
    tree = parsed(source, path)
    for node in tree.body:
        if not isinstance(node, ast.FunctionDef):
            continue
        for decorator in node.decorator_list:
            if isinstance(decorator, ast.Call) and _callee(decorator) == merge_method.__name__:
                try:
                    card = _card(node, decorator, path, module)
                except MergebenchError as fault:
                    if spoilt is None:
                        raise
                    spoilt(node.name, fault)
                else:
                    yield card


def _callee(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def _card(node: ast.FunctionDef, decorator: ast.Call, path: Path, module: str | None) -> MethodCard:
    where = f"{path}:{node.lineno}: @merge_method of {node.name}"
    try:
        positional = [_literal(a) for a in decorator.args]
        given = _keywords(decorator)
    except ValueError:
        raise MergebenchError(f"{where}: arguments must be literals, for the registry reads them unexecuted") from None
    except TypeError as error:  # a need that does not exist
        raise MergebenchError(f"{where}: {error}") from None
    try:
        bound = inspect.signature(merge_method).bind(*positional, **given).arguments
    except TypeError as error:
        raise MergebenchError(f"{where}: {error}") from None
    try:
        hyper = {
            a.arg: (ast.unparse(a.annotation) if a.annotation else "", ast.unparse(d) if d else "")
            for a, d in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)
        }
    except RecursionError:
        raise MergebenchError(f"{where}: a default or a type is nested too deeply; give it a name") from None
    card = MethodCard(
        **bound,
        doc=ast.get_docstring(node) or "",
        hyperparameters=hyper,
        path=str(path),
        module=module,
        function=node.name,
    )
    named = [*card.ranges, *([card.starts] if card.starts else [])]
    check_card(card.name, card.role, card.fidelity, card.holds, named, hyper)
    return card


def _keywords(call: ast.Call) -> dict[str, Any]:
    given = [(keyword.arg, _literal(keyword.value)) for keyword in call.keywords]
    named = {name: value for name, value in given if name is not None}
    if any(name is None for name, _ in given):
        raise TypeError("keywords must be strings")  # as Python says of what it cannot unpack: `**{}` names none here
    return named


def _literal(node: ast.expr | None) -> Any:
    if node is None:
        raise ValueError("** in a dictionary")
    if isinstance(node, ast.Call) and _callee(node) == Needs.__name__:
        return Needs(*map(_literal, node.args), **_keywords(node))
    if isinstance(node, ast.Dict):
        return {_literal(k): _literal(v) for k, v in zip(node.keys, node.values, strict=True)}
    return ast.literal_eval(node)


def load_function(card: MethodCard) -> "MergeMethod":
    """Import a method's file and return its function.

    Raises:
        MergebenchError: the import fails; the message says with what.
    """
    try:
        if card.module is not None:
            module = importlib.import_module(card.module)
        else:
            # Asked for twice, a file is one module; edited in between it is another, as it is to who reads its source.
            made_of = f"{card.path}\0{Path(card.path).read_text(encoding='utf-8')}"
            name = f"mergebench_plugin_{abs(hash(made_of)):x}"
            if name not in sys.modules:
                spec = importlib.util.spec_from_file_location(name, card.path)
                assert spec is not None and spec.loader is not None  # as of any file that ends in .py
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
    function: MergeMethod = getattr(module, card.function)
    return function
