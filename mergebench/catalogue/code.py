"""Which code something depends on, and that code as one hash that only what the code does can change.

The sources are read, never run. From a definition the names in it lead to other definitions, of other modules too, and
from these on. What they say is put into words (`syntax.py`) and hashed in the order in which it is met, every name
replaced by the number of what it names: so neither a module's name nor its place counts, and nothing that is not met.

mergebench's own modules are followed definition by definition. Other people's are taken file by file, with all that
they import of their own: a file may register or replace what no name in it shows. What third parties' packages do is
told by name alone; a name that is put together at run time is not seen.
"""

import hashlib
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from mergebench.catalogue.modules import Module, Shelf
from mergebench.catalogue.syntax import in_words
from mergebench.errors import MergebenchError
from mergebench.merging.method import MethodCard

DEEP = 8000  # frames: long sums and chains of calls are deep trees, which Python itself compiles
MARK = "\0"  # stands in the words for what has a number; no source holds it


@dataclass(frozen=True)
class Part:
    """Some of a module's code.

    Args:
        module: the file.
        name: a definition or `Class.method`; empty for the statements that define nothing; None for the whole file.
    """

    module: Module
    name: str | None


# A part, or the name of something of a third party's; and the attributes that are taken of it.
Meaning = tuple[Part | str, tuple[str, ...]]


class Code:
    """Reads sources, each once, so that what is asked of one is asked of the files as they were then."""

    def __init__(self) -> None:
        self._shelf = Shelf()
        self._words: dict[Part, tuple[str, list[Part]]] = {}

    def ours(self, module: str, name: str) -> Part:
        """A definition, or a `Class.method`, of one of mergebench's own modules.

        Raises:
            LookupError: there is none.
        """
        found = self._shelf.ours(module)
        if found is None or not found.statements(name):
            raise LookupError(f"{module} has no {name}")
        return Part(found, name)

    def named(self, module: ModuleType, name: str) -> Part:
        """The part that a name of a module's stands for, wherever it is defined.

        Raises:
            MergebenchError: the module is of no file.
        """
        file = getattr(module, "__file__", None)
        if file is None:
            raise MergebenchError(f"module {module.__name__!r} is of no file; put {name!r} into one")
        part = self._part(Path(file), module.__name__, name)
        meant = next(self._meant(part.module, (name,), ()), (None,))[0] if part.name else None
        return meant if isinstance(meant, Part) else part

    def of_method(self, card: MethodCard) -> Part:
        """The part that a merge method is."""
        return self._part(Path(card.path), card.module or "", card.function)

    def _part(self, path: Path, module: str, name: str) -> Part:
        found = self._shelf.module(path, module)
        return Part(found, name if found.ours else None)

    def digest(self, *parts: Part) -> str:
        """A hash of all that these parts depend on, 16 hex digits.

        Raises:
            MergebenchError: a file that is imported cannot be read.
        """
        reached = {part: number for number, part in enumerate(self.reached(parts))}
        hashed = hashlib.sha256()
        for part in reached:
            words, names = self._said(part)
            for piece, name in zip(words.split(MARK), [*names, None], strict=True):
                hashed.update(f"{piece} #{reached[name]} ".encode() if name else f"{piece}\n".encode())
        return hashed.hexdigest()[:16]

    def reached(self, parts: Sequence[Part]) -> list[Part]:
        """All parts that these depend on, themselves first, each once, in the order in which they are met."""
        met = list(dict.fromkeys(parts))
        known = set(met)
        for part in met:  # which grows as parts are met
            for named in self._said(part)[1]:
                if named not in known:
                    known.add(named)
                    met.append(named)
        return met

    def _said(self, part: Part) -> tuple[str, list[Part]]:
        """A part in words, with a mark for every part that it names or runs with; and these parts in order."""
        if part not in self._words:
            module = part.module
            names: list[Part] = []

            def resolve(chain: tuple[str, ...]) -> str | None:
                meant = list(dict.fromkeys(self._meant(module, chain, ())))
                names.extend(thing for thing, _ in meant if isinstance(thing, Part))
                told = [".".join([MARK if isinstance(thing, Part) else thing, *rest]) for thing, rest in meant]
                # One name may stand for several things: what two functions import, or what may be lacking.
                return " or ".join(told) or None

            if part.name is None:
                statements = module.tree.body
            else:
                statements = module.statements(part.name) if part.name else module.loose
            beside = self._beside(part)
            limit = sys.getrecursionlimit()
            sys.setrecursionlimit(max(limit, DEEP))
            try:
                words = in_words(statements, resolve)
            except RecursionError:
                raise MergebenchError(f"{module.path}: nested too deeply to be read; split the expression") from None
            finally:
                sys.setrecursionlimit(limit)
            self._words[part] = words + MARK * len(beside), names + beside
        return self._words[part]

    def _beside(self, part: Part) -> list[Part]:
        """What runs with a part without being named in it."""
        module = part.module
        if part.name is not None:
            return [Part(module, "")] if part.name and module.loose else []
        own = [self._shelf.find(name, module) for name in module.imported]
        return [Part(m, None) for m in own if m and not m.ours]

    def _meant(self, module: Module, chain: tuple[str, ...], seen: tuple[tuple[Module, str], ...]) -> Iterator[Meaning]:
        """What `name.attribute...` stands for in a module, with attributes that are left; nothing if it is not its."""
        name, *rest = chain
        if (module, name) in seen:  # two modules that hand a name on to each other
            return
        if name in module.definitions and module.ours:
            yield Part(module, name if module.definitions[name] else ""), tuple(rest)
        elif name in module.definitions:
            yield Part(module, None), chain
        known = name in module.definitions or name in module.imports
        for start, _ in () if known else module.imports.get("*", ()):
            target = self._shelf.find(start, module)
            if target and target.ours and (name in target.definitions or name in target.imports):
                yield from self._meant(target, chain, (*seen, (module, name)))
        for start, symbol in module.imports.get(name, ()):
            yield from self._imported(module, start, (*filter(None, [symbol]), *rest), (*seen, (module, name)))

    def _imported(
        self, module: Module, start: str, chain: tuple[str, ...], seen: tuple[tuple[Module, str], ...]
    ) -> Iterator[Meaning]:
        """What `chain` stands for in the module that is called `start` where another module imports it."""
        target = self._shelf.find(start, module)
        if chain and target and target.ours and (chain[0] in target.definitions or chain[0] in target.imports):
            yield from self._meant(target, chain, seen)
        elif chain and self._shelf.find(f"{start}.{chain[0]}", module):
            yield from self._imported(module, f"{start}.{chain[0]}", chain[1:], seen)
        else:
            yield Part(target, None) if target else start, chain
