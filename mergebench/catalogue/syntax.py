"""Python source as what it does: a syntax tree in words, without anything that only a reader sees.

Comments and layout are in no tree; docstrings, type annotations, imports and a card's words are left out here. A name
that is imported or defined in the module stands for what it names, whoever reads the tree says how. The words are our
own, as those of `ast.dump` differ from one Python to the next.
"""

import ast
from collections.abc import Callable, Iterable, Iterator
from typing import TypeGuard

# (name, attribute, attribute ...), as in `name.attribute.attribute` -> words for it, or None where the name is not the
# module's.
Resolve = Callable[[tuple[str, ...]], str | None]

# What of a `@merge_method(...)` is for people, or for a search.
CARD_WORDS = ("title", "paper", "year", "fidelity", "holds", "cost", "idempotent", "ranges")
LEFT_OUT = ("annotation", "returns", "type_comment", "type_params", "ctx", "kind")
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
# Names bound in these are theirs alone.
SCOPES = (*FUNCTIONS, ast.ClassDef, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


def in_words(nodes: Iterable[ast.AST], resolve: Resolve) -> str:
    """What statements do.

    Args:
        nodes: the statements.
        resolve: says what a name of the module's stands for.
    """
    return " ".join(_Words(resolve).statements(nodes, frozenset(), in_class=False))


def imports_of(node: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    """All import statements in a tree, inside functions too; those for type annotations alone as well."""
    yield from (n for n in ast.walk(node) if isinstance(n, (ast.Import, ast.ImportFrom)))


def names_bound(node: ast.stmt) -> Iterator[str]:
    """The names that a statement of a module gives something to; those of imports are not among them."""
    if isinstance(node, DEFINITIONS):
        yield node.name
        return
    for part in _outside_scopes(node):
        if isinstance(part, DEFINITIONS):
            yield part.name
        elif isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store):
            yield part.id


def says_nothing(node: ast.AST) -> bool:
    """Whether a statement does nothing when it is run: a docstring, `pass`, an import, or what is for type checkers."""
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant)
    return isinstance(node, (ast.Pass, ast.Import, ast.ImportFrom)) or (_for_type_checkers(node) and not node.orelse)


def only_defines(statement: ast.stmt) -> bool:
    """Whether a module's statement gives names something to stand for, and does nothing else."""
    if isinstance(statement, DEFINITIONS):
        return True
    targets = getattr(statement, "targets", None) or [getattr(statement, "target", None)]
    assigns = isinstance(statement, (ast.Assign, ast.AnnAssign, ast.AugAssign))
    return assigns and not any(isinstance(p, (ast.Attribute, ast.Subscript)) for t in targets for p in ast.walk(t))


def _for_type_checkers(node: ast.AST) -> TypeGuard[ast.If]:
    test = getattr(node, "test", None)
    return isinstance(node, ast.If) and "TYPE_CHECKING" in (getattr(test, "id", ""), getattr(test, "attr", ""))


def _outside_scopes(node: ast.AST) -> Iterator[ast.AST]:
    """A tree's nodes, without what stands inside functions, classes and comprehensions in it."""
    waiting = [*ast.iter_child_nodes(node)][::-1]
    while waiting:  # and no recursion, as long sums are deep trees
        child = waiting.pop()
        yield child
        if not isinstance(child, SCOPES):
            waiting += [*ast.iter_child_nodes(child)][::-1]


def _scope(function: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda, outside: frozenset[str]) -> frozenset[str]:
    """The names that are not the module's in a function's body.

    One too few is a name that the function is taken to depend on; one too many would hide what it depends on.
    """
    given = function.args
    taken = (*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg)
    own, everywhere = {part.arg for part in taken if part}, set()
    if not isinstance(function, ast.Lambda):
        parts = list(_outside_scopes(ast.Module(function.body, [])))
        own |= {p.id for p in parts if isinstance(p, ast.Name) and isinstance(p.ctx, ast.Store)}
        own |= {p.name for p in parts if isinstance(p, DEFINITIONS)}
        everywhere = {name for p in parts if isinstance(p, ast.Global) for name in p.names}
        # What is imported here stands for what it names, also where the function has another use for the name.
        imported = (alias for p in parts if isinstance(p, (ast.Import, ast.ImportFrom)) for alias in p.names)
        everywhere |= {alias.asname or alias.name.partition(".")[0] for alias in imported}
    return (outside | own) - everywhere


class _Words:
    """Puts trees into words.

    Args:
        resolve: says what a name of the module's stands for.
    """

    def __init__(self, resolve: Resolve) -> None:
        self._resolve = resolve

    def statements(self, nodes: Iterable[ast.AST], local: frozenset[str], in_class: bool) -> Iterator[str]:
        """The words of each; `local` are the names that are not the module's here."""
        for node in nodes:
            if says_nothing(node):
                continue
            if _for_type_checkers(node):
                yield from self.statements(node.orelse, local, in_class)
            elif isinstance(node, ast.AnnAssign) and not in_class:  # in a class it makes a field
                if node.value:
                    yield self.node(ast.Assign(targets=[node.target], value=node.value), local, in_class)
            else:
                yield self.node(node, local, in_class)

    def node(self, node: ast.AST, local: frozenset[str], in_class: bool) -> str:
        """The words of one node and all below it."""
        if isinstance(node, (ast.Name, ast.Attribute)):
            found = self._named(node, local)
            if found is not None:
                return found
        if isinstance(node, (*FUNCTIONS, ast.ClassDef)):
            in_class = isinstance(node, ast.ClassDef)
        parts = []
        for field, value in ast.iter_fields(node):
            if isinstance(node, ast.JoinedStr):  # some Pythons put empty pieces into f-strings
                value = [part for part in value if getattr(part, "value", None) != ""]
            if field in LEFT_OUT or value is None or value == []:
                continue
            scope = local
            if isinstance(node, FUNCTIONS) and field == "body":  # decorators and defaults are not inside
                scope = _scope(node, local)
            if not isinstance(value, list):
                told = self._value(value, scope, in_class)
            elif isinstance(value[0], ast.stmt):
                told = " ".join(self.statements(value, scope, in_class))
            elif field == "decorator_list":
                told = " ".join(_card(item) or self.node(item, scope, in_class) for item in value)
            else:
                told = " ".join(self._value(item, scope, in_class) for item in value)
            parts.append(f"{field}={told}")
        return f"({type(node).__name__} {' '.join(parts)})"

    def _value(self, value: object, local: frozenset[str], in_class: bool) -> str:
        if isinstance(value, ast.AST):
            return self.node(value, local, in_class)
        # Not `repr`: which characters it writes as they are, and how long a number may be, differs among Pythons.
        return hex(value) if type(value) is int else ascii(value)

    def _named(self, node: ast.Name | ast.Attribute, local: frozenset[str]) -> str | None:
        """Words for `name` or `name.attribute...`, where the name is one of the module's."""
        attributes: list[str] = []
        at: ast.expr = node
        while isinstance(at, ast.Attribute):
            attributes.insert(0, at.attr)
            at = at.value
        if not isinstance(at, ast.Name) or at.id in local:
            return None
        return self._resolve((at.id, *attributes))


def _card(call: ast.AST) -> str | None:
    """A `@merge_method(...)` without what is for people; its names are literals' and depend on nothing."""
    if not isinstance(call, ast.Call):
        return None
    if "merge_method" not in (getattr(call.func, "id", ""), getattr(call.func, "attr", "")):
        return None
    kept = [keyword for keyword in call.keywords if keyword.arg not in CARD_WORDS]
    return " ".join(_Words(lambda chain: None).statements([*call.args, *kept], frozenset(), in_class=False))
