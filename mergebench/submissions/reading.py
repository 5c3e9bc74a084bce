"""Reading a submission: its JSON by the schema, its arrays by their headers, and every count once more."""

import hashlib
import io
import os
import stat
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from mergebench.errors import on_one_line, unprefixed
from mergebench.measuring.proof import LABELS, Unproven, class_ids, count
from mergebench.submissions.schema import SCHEMA_VERSION, Score, Submission
from mergebench.submissions.text import BYTES, SHOWN, Refused, below, parsed

ARRAYS = 64_000_000  # bytes of the arrays' file: five seeds of twenty tasks of 50,000 images take 10 at most
IDS = 100_000_000  # class ids in all arrays together, whatever they were packed to: 200 MB
LISTED, SPARE = b"PK\1\2", 100  # what begins an entry of an archive's list; by chance it stands elsewhere, too
EXPERTS = "experts/"  # before a task's name: what its own expert predicts


@dataclass(frozen=True)
class Read:
    """A submission that holds by itself.

    Args:
        path: the JSON file.
        digest: SHA-256 of that file, in which the arrays' stands.
        submission: its fields.
        labels: task -> the right class ids [N], as submitted.
        predictions: "s<seed>/<task>" and "experts/<task>" -> class ids [N].
    """

    path: Path
    digest: str
    submission: Submission
    labels: Mapping[str, np.ndarray]
    predictions: Mapping[str, np.ndarray]

    @property
    def name(self) -> str:
        """The file's, without its ending."""
        return self.path.stem


def read(path: str | Path) -> Read:
    """A submission, held to the schema and to its own predictions; nothing in it is run.

    Raises:
        Refused: it does not hold; the message is the field's path and the reason.
    """
    path = Path(path)
    if path.suffix != ".json":
        raise Refused("not a .json file; name the submission's JSON, beside which its .npz lies")
    content = _content(path, BYTES)
    submission = validated(parsed(content))
    arrays = _content(path.with_suffix(".npz"), ARRAYS, "predictions")
    if hashlib.sha256(arrays).hexdigest() != submission.predictions.sha256:
        raise Refused.at("predictions.sha256", f"{path.with_suffix('.npz').name} is another file")
    found = unpacked(arrays, submission)
    _recount(submission, found)
    labels = {name.removeprefix(LABELS): ids for name, ids in found.items() if name.startswith(LABELS)}
    predictions = {name: ids for name, ids in found.items() if not name.startswith(LABELS)}
    return Read(path, hashlib.sha256(content).hexdigest(), submission, labels, predictions)


def _content(path: Path, longest: int, field: str = "") -> bytes:
    """A file's bytes, if it is a plain file of no more than `longest`."""
    try:
        # A pipe or a device would be waited for, or never end.
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise Refused.at(field, f"{path.name} is no file")
            content = file.read(longest + 1)
    except OSError as error:
        raise Refused.at(field, f"cannot read {path.name}: {error.strerror}") from None
    if len(content) > longest:
        raise Refused.at(field, f"{path.name} has more than {longest:,} bytes")
    return content


def validated(fields: Mapping[str, Any]) -> Submission:
    """The fields of a submission, held to the schema.

    Raises:
        Refused: they are not what the schema says.
    """
    version = fields.get("schema_version")
    if "schema_version" in fields and type(version) is not int:  # true, and 1.0, are 1 to Python
        raise Refused.at("schema_version", f"should be {SCHEMA_VERSION}, not {_shown(version)}")
    if version and version > SCHEMA_VERSION:
        raise Refused.at(
            "schema_version",
            f"{version} is of a later mergebench, which may verify it; this one reads {SCHEMA_VERSION}",
        )
    try:
        submission = Submission.model_validate(fields, strict=True)
    except ValidationError as error:
        first, *others = error.errors()
        path = ""
        for part in first["loc"]:
            path = below(path, part) if part != "[key]" else path
        more = f" (and {len(others)} more)" if others else ""
        given = "" if isinstance(first["input"], dict | list) else f", not {_shown(first['input'])}"
        reason = {"extra_forbidden": "unknown field", "missing": "required, but not there"}.get(first["type"])
        if first["type"] == "value_error":
            given = ""
        raise Refused.at(path, (reason or f"{unprefixed(first['msg'])}{given}") + more) from None
    if submission.code and hashlib.sha256(submission.code.text.encode()).hexdigest() != submission.code.sha256:
        raise Refused.at("code.sha256", "the text's is another")
    return submission


def _shown(value: object) -> str:
    return on_one_line(repr(value), SHOWN)


def expected(submission: Submission) -> dict[str, Score]:
    """The arrays of predictions that there are to be -> the counts that follow from them."""
    scores = {f"s{run.seed}/{task}": score for run in submission.results for task, score in run.tasks.items()}
    return scores | {f"{EXPERTS}{task}": score for task, score in submission.experts.items()}


def unpacked(content: bytes, submission: Submission) -> dict[str, np.ndarray]:
    """The arrays of a side file, each no larger than the counts say, and no others.

    Raises:
        Refused: it lacks one, has others, or is no such file.
    """
    totals = {name: score.total for name, score in expected(submission).items()}
    totals |= {f"{LABELS}{task}": score.total for task, score in submission.results[0].tasks.items()}
    if sum(totals.values()) > IDS:
        raise Refused.at("predictions", f"{sum(totals.values()):,} class ids; {IDS:,} at most")
    # Before the archive's own list of what it holds is read, of which 64 MB may hold a million.
    if content.count(LISTED) > 2 * len(totals) + SPARE:
        raise Refused.at("predictions", f"an archive of more than the {len(totals)} arrays that are expected")
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            there, wanted = archive.namelist(), [f"{name}.npy" for name in totals]
            odd = next((n for n in there if n not in wanted), None)
            lacking = next((n for n in wanted if n not in there), None)
            named, fault = (odd, "not expected") if odd is not None else (lacking, "missing")
            if named is not None:
                raise Refused.at("predictions", f"array {_shown(named.removesuffix('.npy'))} is {fault}")
            if len(there) > len(wanted):
                raise Refused.at("predictions", "an array is there twice")
            return {name: _ids(archive, name, total) for name, total in totals.items()}
    except Refused:
        raise
    # Whatever a broken archive makes the readers of archives and arrays stumble over.
    except Exception as error:  # noqa: BLE001
        reason = str(error) if isinstance(error, Unproven) else f"cannot be read ({type(error).__name__})"
        raise Refused.at("predictions", reason) from None


def _ids(archive: zipfile.ZipFile, name: str, total: int) -> np.ndarray:
    found = class_ids(archive, f"{name}.npy", total)
    if found.dtype.newbyteorder("=") != np.uint16:  # of which the counts' hashes are; wider ones take more memory
        raise Unproven(f"of {name} are {found.dtype}, not uint16")
    return found


def _recount(submission: Submission, arrays: Mapping[str, np.ndarray]) -> None:
    """Refuses counts that do not follow from predictions and submitted labels."""
    places = {f"s{run.seed}": f"results.{place}.tasks" for place, run in enumerate(submission.results)}
    places["experts"] = "experts"
    for name, score in expected(submission).items():
        whose, _, task = name.partition("/")
        found = count(arrays[name], arrays[f"{LABELS}{task}"])
        where = f"{places[whose]}.{task}"
        if found.correct != score.correct:
            raise Refused.at(f"{where}.correct", f"{score.correct}, but its predictions give {found.correct}")
        if found.predictions != score.predictions:
            raise Refused.at(f"{where}.predictions", f"{score.predictions}, but the array's are {found.predictions}")
