"""A folder of submissions: which are listed, how far each is held to, and what boards show of them."""

import csv
import io
import os
import re
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from mergebench.errors import MergebenchError, in_words
from mergebench.measuring.facts import TaskScore, beside
from mergebench.measuring.results import Listing, Result
from mergebench.submissions.reading import Read, read
from mergebench.submissions.schema import WORD
from mergebench.submissions.text import Refused, odd_text

TIERS = ("self-reported", "re-run here", "authors confirmed")
LOG, SCHEMA = "log.csv", "schema.json"
COLUMNS = ["date", "file", "sha256", "tier", "change"]
FILES = 10_000  # submissions of a folder that are looked at
LOG_BYTES = 10_000_000
IDS = 1_000_000_000  # predictions of all that are shown together, a byte each; a thousand submissions have half of it


def listed(folder: Path) -> tuple[list[Result], list[str]]:
    """The results of a folder's submissions, and a sentence for every file that is none.

    Raises:
        MergebenchError: there is no such folder, or its log is none.
    """
    if not folder.is_dir():
        raise MergebenchError(f"no folder of submissions: {folder}")
    tiers, results, told, read_so_far = logged(folder), [], [], 0
    files = sorted(f for f in folder.glob("*.json") if f.name != SCHEMA)
    if len(files) > FILES:
        told.append(f"{folder}: the first {FILES:,} of {len(files):,} submissions are read")
    for file in files[:FILES]:
        try:
            found = read(file)
            read_so_far += sum(map(len, found.predictions.values()))
            if read_so_far > IDS:
                told.append(f"{file} and those behind it are left out: {IDS:,} predictions of a folder are read")
                break
            results += results_of(found, _tier(found, tiers))
        except Refused as reason:
            told.append(f"{file} is left out: {reason}")
        # Files are other people's: what they make their reader stumble over costs their own rows.
        except Exception as error:  # noqa: BLE001
            told.append(f"{file} is left out: it cannot be read ({in_words(error)})")
    return results, told


def logged(folder: Path) -> dict[str, tuple[str, str]]:
    """File -> SHA-256 and tier that the last of its lines in the folder's log says; nothing where there is no log.

    Raises:
        MergebenchError: a line that says nothing of the kind, or one that is out of its order.
    """
    path = folder / LOG
    if not os.path.lexists(path):
        return {}
    if not path.is_file():  # a pipe would be waited for; a log that is not read would let go of every digest in it
        raise MergebenchError(f"{path} is no file; put the folder's log there, or take it away")
    found: dict[str, tuple[str, str]] = {}
    before = ""
    for number, line in enumerate(_lines(path), 1):
        if number == 1:
            fault = (
                "" if line == COLUMNS else f"the columns are {','.join(COLUMNS)}, in UTF-8 without a mark before them"
            )
        else:
            fault = _fault(line, before)
        if fault:
            raise MergebenchError(f"{path}:{number}: {fault}")
        if number > 1:
            before, file, digest, tier, _ = line
            found[file] = digest, tier
    return found


def _lines(path: Path) -> Iterator[list[str]]:
    try:
        if path.stat().st_size > LOG_BYTES:
            raise MergebenchError(f"{path} has more than {LOG_BYTES:,} bytes; put the folder's log there")
        yield from csv.reader(io.StringIO(path.read_text(encoding="utf-8"), newline=""), strict=True)
    except (OSError, ValueError, csv.Error) as error:
        raise MergebenchError(f"{path} cannot be read ({error}); it is to be CSV in UTF-8") from None


def _fault(line: list[str], before: str) -> str:
    """What is wrong with a line of the log; empty if nothing is."""
    if len(line) != len(COLUMNS):
        return f"{len(line)} columns, not {len(COLUMNS)}"
    when, file, digest, tier, change = line
    try:
        written = date.fromisoformat(when).isoformat()
    except ValueError:
        written = ""
    if when != written:  # there are other ways to write a date, which do not sort
        return f"date: {when!r} is none; write YYYY-MM-DD"
    if when < before:
        return f"date: {when} is before the line above; lines are only added, at the end"
    if not re.fullmatch(rf"{WORD}\.json", file):
        return f"file: {file!r} is no submission's name"
    if not re.fullmatch("[0-9a-f]{64}", digest):
        return "sha256: not 64 hex digits"
    if tier not in TIERS:
        return f"tier: {tier!r} is none of {', '.join(TIERS)}"
    return f"change: it {odd_text(change)}" if odd_text(change) else "" if change else "change: say what changed"


def _tier(found: Read, tiers: dict[str, tuple[str, str]]) -> str:
    """How far a submission is held to; only the folder's log can raise it, and only of the very file it was said of.

    Raises:
        Refused: the log's is another file.
    """
    digest, tier = tiers.get(found.path.name, (found.digest, TIERS[0]))
    if digest != found.digest:
        raise Refused(f"{LOG} says sha256 {digest[:12]}... of it, and it has {found.digest[:12]}...; add a line")
    return tier


def results_of(found: Read, tier: str = TIERS[0]) -> list[Result]:
    """What boards show of a submission, a result a seed.

    Raises:
        Refused: a name that cannot stand on a board, or fields that no result has.
    """
    if not re.fullmatch(WORD, found.name) or len(found.name) > 80:
        raise Refused("its name must be of letters, digits and single . _ - or + between them")
    submission = found.submission
    told, method = submission.benchmark, submission.method
    experts = {task: TaskScore(**score.model_dump()) for task, score in submission.experts.items()}
    shared = {
        name: getattr(told, name) for name in ("suite", "zoo", "conditions", "merged", "weights", "data", "origins")
    }
    shared |= {name: getattr(method, name) for name in ("title", "paper", "family", "needs", "hyperparameters")}
    shared |= {name: getattr(method, name) for name in ("source", "engine", "starts")}
    shared["environment"] = submission.environment.model_dump(exclude={"processor", "capability"})
    try:
        return [
            Result(
                status="ok",
                role="method",
                method=method.name,
                variant="",
                seed=run.seed,
                tasks=beside({task: TaskScore(**score.model_dump()) for task, score in run.tasks.items()}, experts),
                drawn=run.drawn,
                drawn_images=run.drawn_images,
                merge=run.merge,
                evaluation=run.evaluation,
                started=run.started,
                **shared,
            ).listed(Listing(found.name, submission.submitter.author or "unnamed", tier), _hits(found, run.seed))
            for run in submission.results
        ]
    except ValidationError as error:
        first = error.errors()[0]
        raise Refused.at(".".join(map(str, first["loc"])), first["msg"]) from None


def _hits(found: Read, seed: int) -> dict[str, np.ndarray]:
    """Which test images one seed classifies correctly, by the labels submitted: task -> [N]."""
    return {task: found.predictions[f"s{seed}/{task}"] == right for task, right in found.labels.items()}
