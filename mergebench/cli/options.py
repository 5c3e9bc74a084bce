"""Options that several verbs share."""

from jsonargparse import ArgumentParser
from jsonargparse.typing import PositiveInt


def add_suite_options(parser: ArgumentParser) -> None:
    """Which suite, and whose weights."""
    parser.add_argument("--suite", type=str, default="tiny-8", help="a registered suite or a YAML file")
    parser.add_argument("--zoo", type=str | None, default=None, help="in place of the suite's zoo")
    parser.add_argument("--zoo-root", type=str | None, default=None, help="folder that replaces the zoo's weights")


def add_device_options(parser: ArgumentParser) -> None:
    """Where to compute."""
    parser.add_argument("--device", type=str, default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--threads", type=PositiveInt | None, default=None, help="CPU threads")
