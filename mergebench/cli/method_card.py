"""A method's card as text: where it is from, what it reads, holds and gives, its equation, every hyper-parameter."""

import ast
import re
import textwrap
from typing import TYPE_CHECKING, Any

from mergebench.merging.type_words import in_words

if TYPE_CHECKING:
    from mergebench.merging.method import MethodCard, Needs

FOLLOWS = {
    "paper": "the formula is the paper's; where it gives no one value, the text says whose the defaults are",
    "released code": "formula and defaults are those of released code, which the text names",
    "re-derived": "derived here from the stated objective; no formula is public",
}


def method_card(card: "MethodCard", name: str) -> list[str]:
    """All lines that describe a method.

    Args:
        card: what is known of it without importing it.
        name: how it was asked for, for the examples.
    """
    facts = facts_of(card)
    told = [f"  {fact:<{max(map(len, facts))}}  {text}" for fact, text in facts.items()]
    body, described = parts_of(card.doc)
    setting = next(((n, default) for n, (_, default) in card.hyperparameters.items() if default != "None"), None)
    example = f" --set {card.name}.{setting[0]}={_plain(setting[1])}" if setting else ""
    lines = [f"{card.name}: {card.title}", *told, "", textwrap.indent(body, "  "), ""]
    lines += _table(card, described) if card.hyperparameters else ["  no hyper-parameters"]
    suite = f"scale --only tasks={card.experts}" if card.experts else "tiny-8"
    lines += ["", f"  example: mergebench run --methods {name} --suite {suite}{example}"]
    if card.ranges:
        lines.append(f"  search:  mergebench tune {name} --suite {suite}")
    return lines


def facts_of(card: "MethodCard") -> dict[str, str]:
    """What a card says beside its equation and hyper-parameters: heading -> text; what it does not say is left out."""
    year = f" ({card.year})" if card.year else ""
    facts = {
        "paper": f"{card.paper or '-'}{year}",
        "family": card.family,
        "needs": _needs(card.needs),
        **{f"  {hyper}={value}": _needs(needs) for (hyper, value), needs in card.needs_when.items()},
        "starts": f"from the method that {card.starts!r} names, whose needs are added" if card.starts else "",
        "experts": f"exactly {card.experts}" if card.experts else "any number",
        "fidelity": f"{card.fidelity}: {FOLLOWS.get(card.fidelity, '')}" if card.fidelity else "",
        "holds": card.holds,
        "cost": card.cost,
        "copies": "of one expert give that expert" if card.idempotent else "",
    }
    return {fact: text for fact, text in facts.items() if text}


def _needs(needs: "Needs") -> str:
    told = ", ".join(needs.names()) or "only the experts"
    return f"{told}; an encoder of blocks in sequence" if needs.blocks else told


def parts_of(doc: str) -> tuple[str, dict[str, str]]:
    """A docstring without its list of arguments, and that list: name -> what it is."""
    body, _, arguments = doc.partition("\nArgs:\n")
    arguments = re.split(r"\n\n?(?=\S)", arguments)[0]  # what follows at the margin is another section
    described: dict[str, str] = {}
    for entry in re.split(r"\n(?=    \w)", f"\n{arguments.rstrip()}"):
        names, colon, text = entry.strip().partition(":")
        if colon:
            described |= dict.fromkeys((n.strip() for n in names.split(",")), " ".join(text.split()))
    return body.rstrip(), described


def settings_of(card: "MethodCard") -> list[tuple[str, str, str, str]]:
    """Every hyper-parameter: name, default, type and the range that is searched, in words."""
    return [
        (name, _plain(default), in_words(kind), _range(card.ranges.get(name, ())))
        for name, (kind, default) in card.hyperparameters.items()
    ]


def _table(card: "MethodCard", described: dict[str, str]) -> list[str]:
    """A line for every hyper-parameter: default, type, the range that is searched; below it what it is."""
    rows = [("hyper-parameter", "default", "type", "searched by tune"), *settings_of(card)]
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    lines = []
    for row in rows:
        lines.append("  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
        if row[0] in described:
            indent = " " * 6
            lines.append(textwrap.fill(described[row[0]], 118, initial_indent=indent, subsequent_indent=indent))
    return lines


def _plain(default: str) -> str:
    """A default as it is written on the command line."""
    try:
        value = ast.literal_eval(default)
    except (ValueError, SyntaxError):  # an expression: as it stands
        return default
    return "-" if value is None else str(value)


def _range(values: tuple[Any, ...]) -> str:
    ends = isinstance(values, tuple) and len(values) == 2 and all(type(v) in (int, float) for v in values)
    return " to ".join(f"{v:g}" for v in values) if ends else ", ".join(map(str, values))
