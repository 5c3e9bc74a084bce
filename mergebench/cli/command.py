"""Finding the verb and running it; whatever is heavy is imported when a verb runs."""

import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from jsonargparse import ArgumentParser, Namespace

from mergebench.cli import completion
from mergebench.cli.complaints import LACKING, complain, in_plain_words, notes_shown
from mergebench.cli.helping import PROGRAM, Plain, examples, first_page, usage
from mergebench.cli.names import as_registered, spread
from mergebench.cli.option_file import expanded
from mergebench.cli.stopping import STATUS, terminable
from mergebench.cli.verbs import VERBS
from mergebench.errors import MergebenchError, Terminated, nearest, on_one_line

LONGEST_PATH = 200  # characters of a path that are shown where it cannot be one


class OneLineParser(ArgumentParser):
    """A parser whose errors are one line and status 2."""

    options: Sequence[str] = ("--help", "--version")
    verb = ""  # that was asked for, if any
    of_verb: "OneLineParser | None" = None
    whole = False

    def error(self, message: str, exception: Exception | None = None) -> NoReturn:
        """Print what is wrong, and leave."""
        line = in_plain_words(str(message), self.options)
        if self.verb and line.endswith(LACKING):
            line += f", as in: {PROGRAM} {VERBS[self.verb].examples[0]}"
        complain(line)
        raise SystemExit(2)

    def format_help(self, *args: Any, **kwargs: Any) -> str:
        """Of the whole command line the first page; of a verb what it takes."""
        return f"{first_page()}\n" if self.whole else super().format_help(*args, **kwargs)


def _verb(name: str) -> Any:
    return importlib.import_module(f"mergebench.cli.{name}")


def make_parser(verb: str | None) -> OneLineParser:
    """The whole command line, with the arguments of one verb; the others show their one line of help only."""
    parser = OneLineParser(
        allow_abbrev=False,
        prog=PROGRAM,
        formatter_class=Plain,
        default_env=False,
        version=_version(),
    )
    parser.whole = True
    subcommands = parser.add_subcommands(required=True, metavar="VERB")
    for name, about in VERBS.items():
        child = OneLineParser(allow_abbrev=False)
        # Arguments only of the verb that is asked for: of the others the first page tells a line.
        if name == verb:
            child.description = f"{about.purpose[0].upper()}{about.purpose[1:]}."
            child.epilog = examples(about)
            _verb(name).add_arguments(child)
            child.usage = usage(name, child)
            parser.of_verb, parser.verb, child.verb = child, verb, verb
            parser.options = child.options = _options(child)  # either may meet what is wrong with one of them
        subcommands.add_subcommand(name, child, help=about.purpose)
    return parser


def parsed(verb: str | None, arguments: Sequence[str]) -> Namespace:
    """A verb's arguments.

    Args:
        verb: which it is.
        arguments: the command line.

    Raises:
        SystemExit: they are wrong, which was told, or what was asked for was help.
    """
    parser = make_parser(verb)
    words = expanded(arguments) if verb == "run" else arguments
    found = parser.parse_args(words if parser.of_verb is None else spread(words, parser.of_verb))
    assert verb is not None  # or the parser has left
    config: Namespace = found[verb]
    return config


def _options(parser: ArgumentParser) -> list[str]:
    return [name for action in parser._actions for name in action.option_strings if name.startswith("--")]  # noqa: SLF001


def _version() -> str:
    from importlib.metadata import version

    return version("mergebench")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb.

    Args:
        arguments: the command line without the program's name; `sys.argv` if not given.

    Returns:
        0 if all went well; 1 if some cells failed (the others are kept); 2 if what was asked for is wrong; 130 if
        interrupted; 141 if nobody reads the output any more; 143 if terminated.
    """
    # Read when torch is first imported. Threads that spin at every barrier starve each other as soon as anything else
    # uses a core: beside a second job on two cores, a merge of 2 s took 41 s spinning and 4 s sleeping.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    if completion.ASKED in os.environ:
        completion.complete(make_parser)
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    verb = next((a for a in arguments if not a.startswith("-")), None)
    if verb is not None and verb not in VERBS:
        complain(f"unknown verb {verb!r}; {nearest(verb, list(VERBS))}")
        return 2
    kept = VERBS[verb].kept if verb else "nothing was written"
    terminated = f"mergebench: terminated; {kept}"
    try:
        with terminable(terminated):
            if not arguments:
                print(first_page(), flush=True)
                return 0
            config = parsed(verb, arguments)
            assert verb is not None  # or there is nothing parsed
            with notes_shown():
                as_registered(verb, config)
                status: int = _verb(verb).execute(config)
            sys.stdout.flush()  # what is left over must find its reader gone here, not when Python ends
            return status
    except MergebenchError as error:
        complain(error)
        return 2
    except RuntimeError as error:
        from mergebench.cli.doctor import diagnose_import, torchvision_mismatch

        if not torchvision_mismatch(error):
            raise
        complain(diagnose_import("torchvision", error))
        return 2
    except BrokenPipeError:  # who reads the output (`head`) has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python would complain when it ends
        return 141
    except OSError as error:  # of a path that cannot be looked at: a name that is too long, a folder that is closed
        if error.filename is None:
            raise
        complain(f"{on_one_line(error.filename, LONGEST_PATH)}: {error.strerror}; give another path")
        return 2
    except Terminated:
        print(terminated, file=sys.stderr)
        return STATUS
    except KeyboardInterrupt:
        print(f"mergebench: interrupted; {kept}", file=sys.stderr)
        return 130
