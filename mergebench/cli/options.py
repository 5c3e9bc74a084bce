"""Options that several verbs share."""

import os
from typing import TYPE_CHECKING, Any

from jsonargparse import ArgumentParser, Namespace
from jsonargparse.typing import PositiveInt

from mergebench.cli.amounts import in_bytes
from mergebench.errors import MergebenchError, tell
from mergebench.precisions import Precision

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from mergebench.suites.bench import Bench
    from mergebench.suites.variant import Variant
    from mergebench.weights.encoders import Encoder


DEFAULT_SUITE = "tiny-8"
TIMEOUT_HELP = "seconds that one merge may take; longer is a failure"


def add_suite_options(parser: ArgumentParser) -> None:
    """Which suite, which of its variants, and whose weights."""
    parser.add_argument("--suite", type=str | None, default=None, help=f"a suite or a YAML file ({DEFAULT_SUITE})")
    parser.add_argument(
        "--only", nargs="+", type=str, default=[], help="AXIS=VALUE[,VALUE]: only these variants, as order=1 step=1,2"
    )
    parser.add_argument("--zoo", type=str | None, default=None, help="in place of the suite's zoo")
    parser.add_argument("--zoo-root", type=str | None, default=None, help="folder that replaces the zoo's weights")
    add_duplicates_option(parser)


def add_duplicates_option(parser: ArgumentParser) -> None:
    """Whether a task's splits may share images."""
    parser.add_argument(
        "--allow-duplicates",
        action="store_true",
        help="let one and the same image be in several splits of a task, or classes; results note it",
    )


def wanted_variants(items: list[str]) -> dict[str, list[str]]:
    """`["order=1", "step=1,2"]` -> {"order": ["1"], "step": ["1", "2"]}.

    Raises:
        MergebenchError: an item without `=`.
    """
    wanted: dict[str, list[str]] = {}
    for item in items:
        axis, equals, values = item.partition("=")
        if not equals or not axis:
            raise MergebenchError(f"--only {item}: write AXIS=VALUE, as order=1")
        wanted.setdefault(axis, []).extend(values.split(","))
    return wanted


def one_variant(bench: "Bench", items: list[str]) -> "Variant":
    """The one variant that `--only` leaves.

    Raises:
        MergebenchError: it leaves several, or none.
    """
    from mergebench.suites.variant import select_one

    return select_one(bench.variants, wanted_variants(items), bench.name)


def add_encoder_options(parser: ArgumentParser) -> None:
    """What makes the empty encoder."""
    parser.add_argument(
        "--encoder", type=str | None, default=None, help="a name in timm, or MODULE:FUNCTION, if the files do not say"
    )
    parser.add_argument(
        "--encoder-options", nargs="+", type=str, default=[], help="of a name in timm, as NAME=VALUE: img_size=84"
    )
    parser.add_argument(
        "--image-size",
        type=PositiveInt | None,
        default=None,
        help="another size of images, in pixels, than the base's file is of: position embeddings of base and experts "
        "are interpolated",
    )


def named_encoder(config: Namespace) -> "Encoder | None":
    """What `--encoder` and `--encoder-options` name; None if they are not given."""
    from mergebench.weights.encoders import Encoder

    options = encoder_options(config.encoder, config.encoder_options)
    return Encoder(config.encoder, options) if config.encoder else None


def encoder_options(encoder: str | None, items: list[str]) -> "dict[str, Any]":
    """`["img_size=84"]` -> {"img_size": 84}, of a name in timm.

    Raises:
        MergebenchError: an item without `=`, or options of no named encoder.
    """
    from mergebench.merging.hyperparameters import parse_assignments

    if items and not encoder:
        raise MergebenchError(f"--encoder-options {' '.join(items)}: name whose options they are, --encoder")
    return parse_assignments(items)


def check_output(path: "str | Path", inputs: "Iterable[str | None]" = ()) -> None:
    """Hold `--output`, a checkpoint to be written, to what can be written and read back, before any work.

    That a file is there already, whose place it takes, is told.

    Args:
        path: where to.
        inputs: files (or other places) that it is made from.

    Raises:
        MergebenchError: a name that no safetensors file may have, a place that cannot be written, or one of the inputs.
    """
    from pathlib import Path

    from mergebench.weights.writing import check_writable

    if Path(path).suffix != ".safetensors":
        raise MergebenchError(f"--output {path}: weights are written as safetensors; give it a name in .safetensors")
    if any(
        given and os.path.exists(given) and os.path.exists(path) and os.path.samefile(given, path) for given in inputs
    ):
        raise MergebenchError(f"--output {path}: what is made from it would take its place; name another file")
    check_writable(path)
    if os.path.isfile(path):
        tell(f"--output {path} is there already; what is finished takes its place")


def add_trust_option(parser: ArgumentParser) -> None:
    """Whether code that only YAML files name may be run."""
    parser.add_argument("--allow-code", action="store_true", help="run methods' files that only YAML names")


def add_device_options(parser: ArgumentParser) -> None:
    """Where to compute."""
    parser.add_argument("--device", type=str, default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--threads", type=PositiveInt | None, default=None, help="CPU threads")


def add_verbose_option(parser: ArgumentParser) -> None:
    """-v of verbs that go on where something fails."""
    parser.add_argument("-v", "--verbose", action="store_true", help="show the traceback of what fails")


def add_quiet_option(parser: ArgumentParser) -> None:
    """Whether progress is shown."""
    parser.add_argument("-q", "--quiet", action="store_true", help="show what comes of it, and errors, alone")


def add_memory_option(parser: ArgumentParser) -> None:
    """How much memory merges may take."""
    parser.add_argument(
        "--memory", type=str | None, default=None, help="what merges are to stay within, as 8GB: smaller batches, "
        "tokens on disk; what cannot is refused"
    )  # fmt: skip


def memory_of(config: Namespace) -> int | None:
    """Bytes that `--memory` names; None if it is not given.

    Raises:
        MergebenchError: it names none.
    """
    return in_bytes(config.memory) if config.memory is not None else None


def add_evaluation_options(parser: ArgumentParser) -> None:
    """How to evaluate."""
    parser.add_argument(
        "--precision", type=Precision, default="float32", help="of evaluation; bfloat16 is another measurement"
    )
    parser.add_argument("--devices", type=PositiveInt, default=1, help="GPUs (or processes) that share an evaluation")
