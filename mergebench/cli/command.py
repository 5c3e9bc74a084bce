"""Finding the verb and running it; whatever is heavy is imported when a verb runs."""

import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from jsonargparse import ArgumentParser, Namespace

from mergebench.cli.complaints import complain, in_plain_words, notes_shown
from mergebench.cli.option_file import expanded
from mergebench.cli.stopping import STATUS, terminable
from mergebench.errors import MergebenchError, Terminated, nearest, on_one_line

VERBS = {
    "run": "merge with every method asked for, evaluate, and write the leaderboard",
    "tune": "search a method's hyper-parameters on validation data, and measure what was chosen",
    "list": "list methods, suites, studies, zoos, tasks or corruptions",
    "describe": "tell all about a method, suite, study, zoo, task or corruption",
    "check": "hold methods, built in or your own, to what every method must keep",
    "submit": "check a method, measure it on a suite, and pack a submission to the leaderboard",
    "verify": "hold submissions to their schema, predictions and benchmark; with --run-code, merge again",
    "merge": "merge experts into one checkpoint",
    "evaluate": "evaluate a checkpoint on a suite",
    "inspect": "look at a zoo's task vectors: angles, sizes, signs and spectra by depth",
    "finetune": "train an expert from a zoo's base",
    "leaderboard": "show stored results again, as table and page",
    "table": "print stored results as papers print them: LaTeX, Markdown, CSV, Typst",
    "compare": "hold two methods against each other, image by image, on stored results",
    "runs": "look through a run's folder, remove from it what no longer counts, or pack it for others",
    "fetch": "download and decode what a suite needs of a zoo, ahead of a run",
    "doctor": "say what this machine can do, and what is wrong",
}

LONGEST_PATH = 200  # characters of a path that are shown where it cannot be one

# What an interrupted or terminated verb leaves behind.
KEPT = {
    "run": "finished cells are kept, run again to go on",
    "tune": "finished trials are kept, run again to go on",
    "submit": "finished cells are kept, submit again to go on",
    "fetch": "what was fetched is kept, and the same command goes on",
    "finetune": "with --checkpoints, the same command goes on where it was",
}


class OneLineParser(ArgumentParser):
    """A parser whose errors are one line and status 2."""

    options: Sequence[str] = ("--help", "--version")

    def error(self, message: str, exception: Exception | None = None) -> NoReturn:
        """Print what is wrong, and leave."""
        complain(in_plain_words(str(message), self.options))
        raise SystemExit(2)


def _verb(name: str) -> Any:
    return importlib.import_module(f"mergebench.cli.{name}")


def make_parser(verb: str | None) -> ArgumentParser:
    """The whole command line, with the arguments of one verb; the others show their one line of help only."""
    parser = OneLineParser(
        allow_abbrev=False,
        prog="mergebench",
        description="Benchmark of vision (CLIP ViT) model merging: every method on equal terms.",
        default_env=False,
        version=_version(),
    )
    subcommands = parser.add_subcommands(required=True, metavar="VERB")
    for name, help_text in VERBS.items():
        # Arguments only of the verb that is asked for: the others' help is their one line.
        child = OneLineParser(allow_abbrev=False, description=f"{help_text[0].upper()}{help_text[1:]}.")
        if name == verb:
            _verb(name).add_arguments(child)
            parser.options = child.options = _options(child)  # either may meet what is wrong with one of them
        subcommands.add_subcommand(name, child, help=help_text)
    return parser


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
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    verb = next((a for a in arguments if not a.startswith("-")), None)
    if verb is not None and verb not in VERBS:
        complain(f"unknown verb {verb!r}; {nearest(verb, list(VERBS))}")
        return 2
    kept = KEPT.get(verb, "nothing was written")
    terminated = f"mergebench: terminated; {kept}"
    try:
        with terminable(terminated):
            config: Namespace = make_parser(verb).parse_args(expanded(arguments) if verb == "run" else arguments)
            with notes_shown():
                status = _verb(verb).execute(config[verb])
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
