"""The command line. One file per verb; `command.py` finds the verb, so that `list` stays Python's own name there."""

from mergebench.cli.command import main

__all__ = ["main"]
