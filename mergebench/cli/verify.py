"""`mergebench verify`: submissions, held to what they say; their code is run only with `--run-code`."""

from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse import ArgumentParser, Namespace
from jsonargparse.typing import PositiveFloat

from mergebench.cli.complaints import complain
from mergebench.cli.saying import say
from mergebench.errors import MergebenchError

if TYPE_CHECKING:
    from mergebench.submissions.reading import Read

HOUR = 3600.0  # seconds; the longest merge of ours at real size takes minutes


def add_arguments(parser: ArgumentParser) -> None:
    """What `verify` takes."""
    parser.add_argument("files", nargs="+", type=str, help="submissions (.json), with their .npz beside them")
    parser.add_argument(
        "--suite", type=str | None, default=None, help="YAML file, for the registered suite of its name"
    )
    parser.add_argument(
        "--run-code",
        action="store_true",
        help="merge again and compare; this runs the submission's code, with all that you may do on this machine",
    )
    parser.add_argument(
        "--timeout", type=PositiveFloat, default=HOUR, help="seconds that one merge of --run-code may take"
    )
    parser.add_argument("--device", type=str, default="auto", help="of --run-code: auto, cpu, cuda or cuda:N")


def execute(config: Namespace) -> int:
    """Verify; 1 if a submission does not hold."""
    from mergebench.submissions.text import Refused

    held = 0
    for file in config.files:
        if not Path(file).exists():
            raise MergebenchError(f"no such submission: {file}")
        if Path(file).suffix != ".json" or Path(file).is_dir():
            raise MergebenchError(f"{file}: not a .json file; name the submission's JSON, beside which its .npz lies")
    for file in config.files:
        try:
            _verify(Path(file), config)
            held += 1
        except Refused as reason:
            complain(f"{file}: {reason}")
    if len(config.files) > 1:
        say(f"{held} of {len(config.files)} submissions hold")
    return 0 if held == len(config.files) else 1


def _verify(file: Path, config: Namespace) -> None:
    """Hold one submission to all that can be held here, a line for each."""
    from mergebench.submissions.reading import expected, read

    found = read(file)
    told, method = found.submission.benchmark, found.submission.method
    code = found.submission.code
    say(f"{file}: {method.title} ({method.name}) on {told.suite} v{told.version}, zoo {told.zoo}")
    author = found.submission.submitter.author or "unnamed"
    say(f"  by {author}; {_own(len(code.text.encode())) if code else 'code that comes with mergebench'}")
    say("  ok    schema, texts and numbers; the predictions are those stated")
    say(f"  ok    {len(expected(found.submission))} counts follow from the predictions", flush=True)
    fully = _hold_here(found, config)
    averages = [
        sum(s.correct / s.total for s in run.tasks.values()) / len(run.tasks) for run in found.submission.results
    ]
    each = " ".join(f"{100 * average:.2f}" for average in averages)
    what = ("re-run here" if config.run_code else "holds, code not run") if fully else "holds by itself alone"
    say(f"{what}: average {100 * sum(averages) / len(averages):.2f} % (seeds: {each}); sha256 {found.digest}")


def _own(size: int) -> str:
    return f"its own code of {size:,} bytes"


def _hold_here(found: "Read", config: Namespace) -> bool:
    """Hold a submission to this machine's benchmark, and run it again if asked to; whether that could be done."""
    from mergebench.measuring.measure import resolve_device
    from mergebench.submissions.rerunning import rerun
    from mergebench.submissions.verifying import DOES_THE_SAME, Elsewhere, bench_of, hold_to_benchmark, hold_to_card

    fully = True
    try:
        held = list(hold_to_card(found.submission))
        for sentence in held:
            say(f"  ok    {sentence}")
        if DOES_THE_SAME not in held:
            say("  -     not the same here as where it was measured: what the method, or the engine, does")
    except Elsewhere as lack:
        say(f"  -     not held to a card: {lack}")
        fully = False
    try:
        bench, variant = bench_of(found.submission, config.suite)
        for sentence in hold_to_benchmark(found, bench, variant):
            say(f"  ok    {sentence}", flush=True)
    except Elsewhere as lack:
        say(f"  -     not held to the benchmark, only to its own labels: {lack}")
        fully = False
    if config.run_code:
        if not fully:
            raise MergebenchError(
                f"{found.path}: cannot be run here, see above; have that too, or leave --run-code out"
            )
        suite = str(Path(config.suite).resolve()) if config.suite else found.submission.benchmark.suite
        device = resolve_device(config.device)
        for sentence in rerun(found, bench, variant, device, config.timeout, suite):
            say(f"  ok    {sentence}", flush=True)
    else:
        say("  -     nothing of it was run; --run-code merges again, which predictions copied from labels would fail")
    return fully
