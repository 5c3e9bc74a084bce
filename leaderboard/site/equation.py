"""Equations of docstrings as MathML, which browsers set by themselves.

The notation is the docstrings' own: Greek letters by name, `_` and `^` for what is below and above, `sum`, `||x||`.
What is no part of it stays as it is written.
"""

import re
from collections.abc import Iterator

from markupsafe import Markup, escape

GREEK = {
    "alpha": "α",
    "beta": "β",
    "gamma": "γ",
    "delta": "δ",
    "epsilon": "ε",
    "eta": "η",
    "theta": "θ",
    "lambda": "λ",
    "mu": "μ",
    "phi": "φ",
    "pi": "π",
    "rho": "ρ",
    "sigma": "σ",
    "tau": "τ",
}
SIGNS = {"sum": "∑", "<=": "≤", ">=": "≥", "->": "→", "||": "‖", "-": "−", "*": "·", "~": "∼"}
CLOSING = {"(": ")", "{": "}", "[": "]"}
TOKEN = re.compile(r"\s{2,}|\s|<=|>=|->|\|\||\d+(?:\.\d+)?(?:e-?\d+)?|[^\W\d_]+|.", re.DOTALL)


def blocks(text: str) -> list[tuple[str, list[str]]]:
    """A docstring in parts: ("text", its paragraphs) and ("equation", its lines), in order.

    Args:
        text: without its list of arguments; equations are indented.
    """
    found: list[tuple[str, list[str]]] = []
    for part in re.split(r"\n\s*\n", text.strip("\n")):
        lines = part.splitlines()
        # An equation may begin or end within a paragraph.
        for line in lines:
            kind = "equation" if line.startswith("  ") and line.strip() else "text"
            if found and found[-1][0] == kind and line is not lines[0]:
                found[-1][1].append(line)
            else:
                found.append((kind, [line]))
    return [
        (kind, [line.strip() for line in lines] if kind == "equation" else [" ".join(map(str.strip, lines))])
        for kind, lines in found
        if any(line.strip() for line in lines)
    ]


def as_math(line: str) -> Markup:
    """One line of an equation, in a `math` element for each part that wide spaces set apart."""
    parts = re.split(r"\s{3,}", line.strip())
    return Markup(" ".join(_element("math", _element("mrow", _row(part))) for part in parts))


def _row(text: str) -> Markup:
    tokens = [match.group() for match in TOKEN.finditer(text)]
    return Markup("".join(_items(_Tokens(tokens))))


def _element(name: str, *inner: Markup) -> Markup:
    """An element around what is markup already."""
    return Markup(f"<{name}>{''.join(inner)}</{name.partition(' ')[0]}>")


class _Tokens:
    """Tokens that can be looked at before they are taken."""

    def __init__(self, tokens: list[str]) -> None:
        self._tokens, self._place = tokens, 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if self._place >= len(self._tokens):
            raise StopIteration
        self._place += 1
        return self._tokens[self._place - 1]

    def peek(self, ahead: int = 0) -> str:
        """The token that comes, or one further on; empty at the end."""
        place = self._place + ahead
        return self._tokens[place] if place < len(self._tokens) else ""


def _items(tokens: "_Tokens", until: str = "") -> Iterator[Markup]:
    """Elements up to a closing bracket, which is taken and not given."""
    for token in tokens:
        if token == until:
            return
        if token.isspace():
            yield Markup('<mspace width="0.3em"/>')
            continue
        yield _scripted(_atom(token), tokens)


def _scripted(base: Markup, tokens: "_Tokens") -> Markup:
    """An element with what stands below and above it."""
    while tokens.peek() == "'" and not tokens.peek(1).isalpha():
        next(tokens)
        base = _element("msup", base, _element("mo", Markup("′")))
    below = above = None
    while (tokens.peek() == "_" and below is None) or (tokens.peek() == "^" and above is None):
        if not tokens.peek(1) or tokens.peek(1).isspace():
            break
        if next(tokens) == "_":
            below = _script(tokens)
        else:
            above = _script(tokens)
    if below is not None and above is not None:
        return _element("msubsup", base, below, above)
    if below is not None:
        return _element("msub", base, below)
    return base if above is None else _element("msup", base, above)


def _script(tokens: "_Tokens") -> Markup:
    """What follows `_` or `^`: a group in brackets, or a name or number, with what a comma joins to it."""
    first = next(tokens)
    if first in CLOSING:
        return _element("mrow", *_items(tokens, CLOSING[first]))
    parts = [_atom(first)]
    if first in "-+−" and tokens.peek().isalnum():
        parts.append(_atom(next(tokens)))
    while tokens.peek() == "," and len(tokens.peek(1)) == 1 and tokens.peek(1).isalpha():
        parts += [_atom(next(tokens)), _atom(next(tokens))]
    return _element("mrow", *parts)


def _atom(token: str) -> Markup:
    """A token by itself."""
    if token in GREEK:
        return _element("mi", escape(GREEK[token]))
    if token[0].isdigit():
        return _element("mn", escape(token))
    if token.isalpha() and token not in SIGNS:
        # One letter is a quantity, more are a word.
        return _element("mi" if len(token) == 1 else "mtext", escape(token))
    bracket = token in "()[]{}|" or token == "||"
    return _element('mo stretchy="false"' if bracket else "mo", escape(SIGNS.get(token, token)))
