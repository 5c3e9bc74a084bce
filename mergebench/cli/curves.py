"""`--logger` of what trains and what learns as it merges: curves for whatever shows them."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from jsonargparse import ArgumentParser, Namespace

from mergebench.errors import MergebenchError, tell

if TYPE_CHECKING:
    from lightning.pytorch.loggers import Logger

FOLDER = "logs"


def add_logger_options(parser: ArgumentParser, what: str) -> None:
    """Where curves are written; `what` they are of."""
    parser.add_argument(
        "--logger",
        type=Literal["csv", "tensorboard", "wandb", "mlflow"] | None,
        default=None,
        help=f"write {what} for one of these, step by step",
    )
    parser.add_argument("--log-folder", type=str | None, default=None, help=f"where --logger writes ({FOLDER})")


def logger_of(config: Namespace, run: str) -> "Logger | None":
    """The logger that `--logger` names, for what is called `run`; None if it is not given.

    Raises:
        MergebenchError: a folder that cannot be written, or that nothing is to write to.
    """
    if config.logger is None:
        if config.log_folder is not None:
            raise MergebenchError(f"--log-folder {config.log_folder}: what writes there is named by --logger, as csv")
        return None
    from mergebench.training.loggers import make_logger  # with Lightning, which takes seconds
    from mergebench.weights.writing import check_writable

    folder = Path(config.log_folder or FOLDER)
    check_writable(folder / run / "metrics")
    return make_logger(config.logger, folder, run)


def logged(config: Namespace, logger: "Logger") -> str:
    """Where the curves are, as a sentence."""
    return f"logged with {config.logger} in {logger.log_dir or config.log_folder or FOLDER}"


@contextmanager
def merge_logged(logger: "Logger | None", method: str) -> Iterator[list[int]]:
    """While the block runs, what a method tells of its steps is written; it is told if that was nothing.

    Args:
        logger: where to; nothing is asked for if None.
        method: the method's name.

    Yields:
        The steps that were logged so far.
    """
    from mergebench.merging.reports import logged_by

    steps: list[int] = []
    if logger is None:
        yield steps
        return

    def log(step: int, values: Mapping[str, float]) -> None:
        steps.append(step)
        logger.log_metrics(dict(values), step)

    with logged_by(log):
        yield steps
    if not steps:
        tell(f"--logger: method {method!r} tells nothing of any steps, so nothing is logged")
    logger.finalize("success")
