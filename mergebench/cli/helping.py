"""What `--help` shows: what a verb is for, examples, and its options in words; and the first page."""

import argparse
import textwrap
from typing import get_args

from jsonargparse import ArgumentParser, DefaultHelpFormatter

from mergebench.cli.verbs import BEGIN, VERBS, Verb

PROGRAM = "mergebench"
DESCRIPTION = "The benchmark of vision model merging: every method on equal terms."


class Plain(DefaultHelpFormatter):
    """Help in a user's words: no types of Python's, and defaults where there are any."""

    def _get_help_string(self, action: argparse.Action) -> str:
        said = action.help or ""
        if isinstance(action, argparse._HelpAction):  # noqa: SLF001
            return "show this and exit"
        facts = []
        if choices := choices_of(action):
            facts.append(f"one of {', '.join(choices)}")
        if action.required and action.option_strings:
            facts.append("required")
        default = _default(action)
        # Many say it by themselves, in words that tell more.
        if default and f"({default}" not in said:
            facts.append(f"default: {default}")
        return " ".join(part for part in (said, f"({'; '.join(facts)})" if facts else "") if part)

    def _format_args(self, action: argparse.Action, default_metavar: str) -> str:
        if action.nargs == "+":
            return f"{self._metavar_formatter(action, default_metavar)(1)[0]} ..."
        return super()._format_args(action, default_metavar)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if text.startswith("examples:"):
            return textwrap.indent(text, indent)
        return super()._fill_text(text, width, indent)


def choices_of(action: argparse.Action) -> list[str]:
    """Those of an option that may also be left out, which the parser's own help does not show."""
    kinds = get_args(getattr(action, "_typehint", None))
    return [str(name) for kind in kinds for name in get_args(kind) if isinstance(name, str)]


def _default(action: argparse.Action) -> str:
    """What holds if an option is not given, as one would type it; empty where that is nothing or no."""
    value = action.default
    nothing = value is None or value is False or value in ([], {}, argparse.SUPPRESS)
    if nothing or not action.option_strings:
        return ""
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def usage(name: str, parser: ArgumentParser) -> str:
    """A verb's line of usage: what it cannot do without, and that there are options."""
    needed, free = [], []
    for action in parser._actions:  # noqa: SLF001
        if action.option_strings:
            several = " ..." if action.nargs == "+" else ""
            needed += [f"{action.option_strings[-1]} {action.dest.upper()}{several}"] if action.required else []
        else:
            choices = f"{{{','.join(map(str, action.choices))}}}" if action.choices else ""
            shown = str(action.metavar or choices or action.dest)
            free.append(f"[{shown}]" if action.nargs == "?" else f"{shown} ..." if action.nargs == "+" else shown)
    return " ".join([PROGRAM, name, *free, *needed, "[options]"])


def examples(verb: Verb) -> str:
    """A verb's examples, as they are typed."""
    return "\n".join(["examples:", *(f"  {PROGRAM} {line}" for line in verb.examples)])


def first_page() -> str:
    """What `mergebench` alone shows: what it is, what to begin with, and all verbs by what they are for."""
    lines = [f"usage: {PROGRAM} VERB [options]", "", DESCRIPTION, "", "to begin with:"]
    lines += _aligned({f"{PROGRAM} {line}": told for line, told in BEGIN.items()})
    for group in dict.fromkeys(verb.group for verb in VERBS.values()):
        lines += ["", f"{group}:", *_aligned({n: v.purpose for n, v in VERBS.items() if v.group == group})]
    lines += ["", f"{PROGRAM} VERB --help: a verb's options, with examples; {PROGRAM} --version"]
    return "\n".join(lines)


def _aligned(rows: dict[str, str]) -> list[str]:
    """Rows of a name and what it is, folded where the terminal ends."""
    width = max(map(len, (*VERBS, *rows))) + 4
    columns = max(width + 40, argparse.HelpFormatter(PROGRAM)._width)  # noqa: SLF001 (of COLUMNS, or the terminal)
    return [
        textwrap.fill(f"  {name:<{width - 2}}{told}", columns, subsequent_indent=" " * width)
        for name, told in rows.items()
    ]
