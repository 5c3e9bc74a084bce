"""A submission, held to what this machine has of its benchmark: weights, images, labels, the method's card."""

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mergebench.catalogue import registry
from mergebench.catalogue.discovery import scan_file
from mergebench.catalogue.yaml_files import short_name
from mergebench.errors import MergebenchError, in_words, on_one_line
from mergebench.merging.method import MethodCard
from mergebench.running.identity import SourceReader
from mergebench.submissions.reading import Read
from mergebench.submissions.schema import Submission
from mergebench.submissions.text import Refused
from mergebench.suites.bench import Bench
from mergebench.suites.variant import Variant

DOES_THE_SAME = "method and engine do what they do here"
CODE_FILE = "method.py"  # what a submitted file is called wherever it is written; the submission has no say in it


class Elsewhere(MergebenchError):
    """What a submission would be held to is not on this machine; the message is what is lacking."""


def bench_of(submission: Submission, suite: str | None = None) -> tuple[Bench, Variant]:
    """The benchmark that a submission says it was measured on, as this machine has it.

    Args:
        submission: read.
        suite: a YAML file, in place of the registered suite of that name.

    Raises:
        Elsewhere: there is no such suite or zoo here, or another version of it.
        Refused: `suite` is another.
    """
    told = submission.benchmark
    if suite and short_name(suite) != told.suite:
        raise Refused.at("benchmark.suite", f"{told.suite!r}, not {short_name(suite)!r}")
    # Looked up and not opened: what a submission names must never be a path.
    if not suite and told.suite not in registry.config_files("suites"):
        raise Elsewhere(f"no suite {told.suite!r} here; name its file with --suite")
    bench = Bench(suite or told.suite, download=False)
    if bench.zoo.name != told.zoo:
        if told.zoo not in registry.config_files("zoos"):
            raise Elsewhere(f"no zoo {told.zoo!r} here")
        bench = Bench(suite or told.suite, told.zoo, download=False)
    if bench.suite.version != told.version:
        raise Elsewhere(f"it is of {told.suite} v{told.version}, and here is v{bench.suite.version}")
    if len(bench.variants) != 1:
        raise Elsewhere(f"suite {told.suite!r} has {len(bench.variants)} variants here")
    return bench, bench.variants[0]


def hold_to_benchmark(found: Read, bench: Bench, variant: Variant) -> Iterator[str]:
    """Hold a submission to the benchmark's tasks, conditions, weights, images and labels.

    Yields:
        A sentence for everything that it was held to.

    Raises:
        Refused: something is otherwise.
        Elsewhere: weights or images are not on this machine.
    """
    submission = found.submission
    told = submission.benchmark
    _same(dict.fromkeys(submission.results[0].tasks, ""), dict.fromkeys(variant.evaluate, ""), "results.0.tasks")
    if sorted(told.merged) != sorted(variant.merged):
        raise Refused.at("benchmark.merged", f"the suite merges {', '.join(variant.merged)}")
    try:
        precision = submission.environment.precision
        reduced = {} if precision == "float32" else {"precision": precision}
        conditions = variant.identity | {"zoo": bench.zoo.identity} | reduced
        _same(_stated(told.conditions), _stated(conditions), "benchmark.conditions")
        _same(told.weights, bench.weights(variant), "benchmark.weights")
        _same(told.data, bench.data(variant), "benchmark.data")
        labels = {task: bench.split(task, "test").labels for task in variant.evaluate}
    except Refused:
        raise
    except MergebenchError as error:
        raise Elsewhere(on_one_line(error)) from None
    yield f"weights and images are those of {told.suite} v{told.version} on zoo {told.zoo}"
    for task, right in labels.items():
        theirs = found.labels[task]
        wrong = len(right) if len(right) != len(theirs) else int((np.asarray(right) != theirs).sum())
        if wrong:
            raise Refused.at(f"predictions.labels/{task}", f"{wrong} of {len(right)} labels are not the test split's")
    yield f"the labels of all {len(labels)} tasks are this machine's, and the counts follow from them"


def _same(told: Mapping[str, Any], ours: Mapping[str, Any], where: str) -> None:
    """Refuses the first field that is not this machine's."""
    for name in (*told, *ours):
        if name not in ours:
            raise Refused.at(f"{where}.{name}", "no such thing in the benchmark")
        if name not in told:
            raise Refused.at(f"{where}.{name}", "missing: the benchmark has it")
        if told[name] != ours[name]:
            raise Refused.at(f"{where}.{name}", f"{on_one_line(told[name], 60)}, here {on_one_line(ours[name], 60)}")


def _stated(conditions: Mapping[str, Any]) -> dict[str, Any]:
    """Conditions but for the hash of the encoder's code, which is told and parts nothing."""
    zoo = {name: value for name, value in conditions.get("zoo", {}).items() if name != "encoder_source"}
    return {**conditions, "zoo": zoo}


def hold_to_card(submission: Submission) -> Iterator[str]:
    """Hold what is said of the method to its card, which is read from the source and not run.

    Yields:
        A sentence for what it was held to.

    Raises:
        Refused: the card says something else.
        Elsewhere: a method that is neither here nor in the submission.
    """
    told = submission.method
    with tempfile.TemporaryDirectory() as folder:
        card = card_of(submission, Path(folder))
        try:
            needs = registry.needs_of(card, told.hyperparameters)
            sources = SourceReader().read(card, told.hyperparameters)
        # Settings are anybody's: what they make the reading of a card stumble over cannot be foreseen.
        except Exception as error:  # noqa: BLE001
            raise Refused.at("method", on_one_line(in_words(error)).replace(folder, "")) from None
    facts = {"name": card.name, "title": card.title, "paper": card.paper or "", "year": card.year or 0}
    facts |= {"fidelity": card.fidelity or "", "family": needs.family, "needs": needs.names()}
    for name, ours in facts.items():
        if getattr(told, name) != ours:
            raise Refused.at(f"method.{name}", f"{getattr(told, name)!r}, but the card says {ours!r}")
    stranger = next((n for n in told.hyperparameters if n not in card.hyperparameters), None)
    stranger = stranger or next((n for n in card.hyperparameters if n not in told.hyperparameters), None)
    if stranger is not None:
        raise Refused.at(f"method.hyperparameters.{stranger}", "not what the method has, or missing")
    yield "name, paper, needs and hyper-parameters are the card's"
    if (told.source, told.engine, told.starts) == (sources.method, sources.engine, dict(sources.starts)):
        yield DOES_THE_SAME


def card_of(submission: Submission, folder: Path) -> MethodCard:
    """The card of a submission's method: of its own file, written into `folder`, or of the installed one."""
    told, code = submission.method, submission.code
    if code is None:
        if told.name not in registry.methods():
            raise Elsewhere(f"no method {told.name!r} is installed here, and the submission holds no code")
        return registry.methods()[told.name]
    file = folder / CODE_FILE
    file.write_text(code.text, encoding="utf-8", newline="")
    try:
        cards = [card for card in scan_file(file) if card.function == code.function]
    except (MergebenchError, RecursionError, MemoryError, ValueError) as error:
        told_so = on_one_line(in_words(error)).replace(str(file), CODE_FILE)
        raise Refused.at("code.text", told_so) from None
    if len(cards) != 1:
        raise Refused.at("code.function", f"no one function {code.function!r} under @merge_method in the text")
    if cards[0].name in registry.methods():
        raise Refused.at("method.name", f"{cards[0].name!r} is a built-in method; its own file needs another name")
    return cards[0]
