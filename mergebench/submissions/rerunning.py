"""Running a submission's code, where a person says so: it merges in a process of its own, and is measured in this one.

What that process gives is a file of weights, which cannot run anything; so no code of a submission counts its own hits.
It runs with all rights of who starts it.
"""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np

from mergebench.catalogue.yaml_files import short_name
from mergebench.configuration import option_value
from mergebench.errors import CheckpointError, on_one_line
from mergebench.measuring.measure import environment
from mergebench.measuring.rounding import flips
from mergebench.merging.contract import PerTask
from mergebench.running.execution import Executor
from mergebench.running.identity import SourceReader
from mergebench.submissions.packing import machine
from mergebench.submissions.reading import EXPERTS, Read
from mergebench.submissions.schema import Machine, Run
from mergebench.submissions.text import Refused
from mergebench.submissions.verifying import CODE_FILE, card_of
from mergebench.suites.bench import Bench
from mergebench.suites.variant import Variant
from mergebench.weights.states import SafetensorsState, digest

LAST = 4000  # bytes of what a failed process says that are looked at


def differences(there: Machine, here: Machine) -> list[str]:
    """In what two environments differ that decides how numbers are rounded, as "torch 2.9 and 2.10"."""
    facts = [m.model_dump(include={"device", "precision", "threads", "platform", "processor", "capability"})
             | m.packages for m in (there, here)]  # fmt: skip
    names = dict.fromkeys(name for fact in facts for name in fact)
    return [
        f"{name} {facts[0].get(name, '-')} and {facts[1].get(name, '-')}"
        for name in names
        if facts[0].get(name) != facts[1].get(name)
    ]


def rerun(found: Read, bench: Bench, variant: Variant, device: str, timeout: float, suite: str) -> Iterator[str]:
    """Merge again for every seed, and hold weights and predictions to what was submitted.

    With the same code and versions on the same kind of machine they must be the same to the last bit.

    Args:
        found: the submission, held to the benchmark.
        bench, variant: of it.
        device: where to compute.
        timeout: seconds that one merge may take.
        suite: its name, or its file.

    Yields:
        A sentence for each thing that agrees.

    Raises:
        Refused: something does not agree, or the code fails.
        MergebenchError: base or experts cannot be read.
    """
    submission = found.submission
    with tempfile.TemporaryDirectory(prefix="mergebench-verify-") as name:
        folder = Path(name)
        card = card_of(submission, folder)
        sources, told = SourceReader().read(card, submission.method.hyperparameters), submission.method
        there = submission.environment
        here = Machine.model_validate(machine(environment(device, there.precision)))
        here = here.model_copy(update={"threads": there.threads})  # as many as are asked of the merging process
        differing = differences(there, here)
        differing += ["the engine's code"] if sources.engine != told.engine else []
        differing += (
            ["the method's code"] if (sources.method, dict(sources.starts)) != (told.source, told.starts) else []
        )
        yield (
            f"held to a tolerance, as these differ: {'; '.join(differing)}"
            if differing
            else ("code, versions and machine are the same: weights and counts must be")
        )
        named = ["--suite", suite]
        named += ["--zoo", bench.zoo.name] if bench.zoo.name != short_name(bench.suite.zoo) else []
        executor = Executor(bench, device, precision=there.precision)
        experts = PerTask({task: dict(bench.expert(task)) for task in submission.experts})
        measured, _ = executor.evaluate(experts, variant.evaluate)
        totals = {f"{EXPERTS}{task}": score.total for task, score in submission.experts.items()}
        predicted = {f"{EXPERTS}{task}": ids for task, ids in measured.predictions.items()}
        yield f"experts: {_held(found, predicted, totals, bool(differing))}"
        for place, run in enumerate(submission.results):
            file = folder / f"s{run.seed}.safetensors"
            _merge(found, run, file, device, timeout, named)
            try:
                state = SafetensorsState(file)
                bench.zoo.check(state, f"what the code merged for seed {run.seed}")
            except CheckpointError as error:
                raise Refused.at("code", on_one_line(error)) from None
            weights = digest(state)
            if weights != run.merged and not differing:
                raise Refused.at(f"results.{place}.merged", f"{run.merged}, but merging again gives {weights}")
            measured, _ = executor.evaluate(dict(state), variant.evaluate)
            executor.forget_scores()
            file.unlink()
            totals = {f"s{run.seed}/{task}": score.total for task, score in run.tasks.items()}
            predicted = {f"s{run.seed}/{task}": ids for task, ids in measured.predictions.items()}
            alike = "the same weights, bit for bit" if weights == run.merged else "weights of other bits"
            yield f"seed {run.seed}: {alike}, {_held(found, predicted, totals, bool(differing))}"


def _held(found: Read, predicted: dict[str, np.ndarray], totals: dict[str, int], tolerant: bool) -> str:
    """Refuses predictions of which too many are others than those submitted; says how many are."""
    others = {}
    for name, total in totals.items():
        others[name] = int((np.asarray(predicted[name]) != found.predictions[name]).sum())
        most = flips(total) if tolerant else 0
        if others[name] > most:
            raise Refused.at(
                f"predictions.{name}", f"{others[name]} of {total} are others than measured here; {most} may be"
            )
    told = f"{sum(others.values())} of {sum(totals.values()):,} predictions are others"
    return f"{told} (at most {max(others.values())} of a task)" if any(others.values()) else "the same predictions"


def _merge(found: Read, run: Run, file: Path, device: str, timeout: float, named: list[str]) -> None:
    """Merge one seed in a process of its own, by the very verb that anybody merges with."""
    submission, folder = found.submission, file.parent
    code = submission.code
    method = f"{folder / CODE_FILE}:{code.function}" if code else submission.method.name
    settings = [f"{name}={option_value(value)}" for name, value in submission.method.hyperparameters.items()]
    command = [sys.executable, "-P", "-m", "mergebench", "merge", "--method", method, *named]
    command += ["--seed", str(run.seed), "--device", device, "--threads", str(submission.environment.threads)]
    command += ["--output", str(file), *(["--set", *settings] if settings else [])]
    said = folder / "said"
    with said.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=folder, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
        try:
            status = process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise Refused.at(
                "code", f"merging seed {run.seed} took more than {timeout:g} s and was ended; --timeout gives it more"
            ) from None
        finally:
            _end(process)
    if status != 0 or not file.is_file():
        told = said.read_bytes()[-LAST:].decode(errors="replace").strip().splitlines()
        last = on_one_line(told[-1]) if told else "it said nothing"
        raise Refused.at("code", f"merging seed {run.seed} failed (status {status}): {last}")


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process with all that it has started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
