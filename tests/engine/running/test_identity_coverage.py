"""No code of ours that a cell runs is left out of its identity: real merges and evaluations are watched."""

import sys
from pathlib import Path

import pytest

import mergebench
from mergebench.catalogue import registry
from mergebench.catalogue.code import Code
from mergebench.running.cell import run_cell
from mergebench.running.execution import Executor
from mergebench.running.identity import ENGINE
from mergebench.running.plan import RunRequest, make_plan

pytestmark = pytest.mark.usefixtures("few_images")

ROOT = Path(mergebench.__file__).parents[1]
METHODS = registry.methods()
SHORT = ("steps", "samples")

# What runs though it is no part of a cell's source: file or folder, and definitions of it -> why.
HANDED_OVER = {
    ("mergebench/catalogue", ""): "finds a method and its settings, which the key holds",
    ("mergebench/merging/hyperparameters.py", ""): "finds a method's settings, which the key holds",
    ("mergebench/merging/method.py", "Needs MethodCard"): "says what may be read, and how many experts may be merged",
    ("mergebench/running/execution.py", "Recipe"): "says what may be read",
    ("mergebench/running/cell.py", "run_cell _result _storable weights_of"): "writes down what came out",
    ("mergebench/measuring/measure.py", "environment _version _commit _git"): "writes down where it was measured",
    ("mergebench/measuring/results.py", "Result"): "writes down what came out",
    ("mergebench/measuring/facts.py", "beside"): "writes down what came out",
    ("mergebench/measuring/secrets.py", ""): "leaves what is secret out of what is written down",
    ("mergebench/running/kept.py", ""): "keeps what was measured, by hashes of weights and images",
    ("mergebench/data/content.py", ""): "hands out the images whose digest the key holds, held to it",
    (
        "mergebench/data/image_cache.py",
        "load_split _complete _build _mapped",
    ): "makes the images whose digest the key holds",
    ("mergebench/suites/bench.py", "Bench.expert Bench.head Bench.split Bench.joint"): "hands out what the key hashes",
    ("mergebench/zoo/zoo.py", "Zoo"): "hands out what the key hashes, and an encoder and scales that it states",
    ("mergebench/zoo/zoo_files.py", ""): "says where weights are from",
    ("mergebench/weights/states.py", "SafetensorsState"): "reads tensors, which the key hashes",
    ("tasks/tiny/model.py", ""): "makes the zoo's encoder, whose code the key hashes by itself",
}


def watched(function):
    """Runs a function; gives (file, the definition or `Class.method`) of all of the project's code that it ran."""
    ran = set()

    def note(frame, event, _):
        file, name = frame.f_code.co_filename, frame.f_code.co_qualname
        if event == "call" and file.startswith(str(ROOT)) and name != "<module>":
            ran.add((file, ".".join(name.split(".<locals>")[0].split(".")[:2])))

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        function()
    finally:
        sys.setprofile(before)
    files = ((Path(file).relative_to(ROOT).as_posix(), name) for file, name in ran)
    return {(file, name) for file, name in files if file.startswith(("mergebench/", "methods/", "tasks/"))}


def covered(*cards):
    """(file, definition) of all that the source of these methods' cells is of."""
    code = Code()
    engine = [code.ours(module, name) for module, names in ENGINE.items() for name in names]
    parts = code.reached([*engine, *map(code.of_method, cards)])
    return {(part.module.path.relative_to(ROOT).as_posix(), part.name) for part in parts}


def is_handed_over(file, name):
    return any(
        file.startswith(place) and (not names or {name, name.split(".")[0]} & set(names.split()))
        for place, names in HANDED_OVER
    )


@pytest.mark.long
@pytest.mark.parametrize("sequence", [False, True], ids=["at once", "in sequence"])
@pytest.mark.parametrize("method", ["finetuned", "regmean++", "featcal", "fisher", "adamerging++", "doge_am", "opcm"])
def test_all_code_that_a_cell_runs_is_part_of_its_identity(write, method, sequence):
    fields = {"merge": ["digits", "signs", "scenes"], "restrict": {"blocks": "late"}}
    if sequence:
        fields["orders"] = {"one": [["digits", "signs"], ["scenes"]]}
    card = METHODS[method]
    short = {method: {name: 2 for name in card.hyperparameters if name.endswith(SHORT)}}
    plan = make_plan(RunRequest([method], write("suite", title="t", zoo="tiny", **fields), hyperparameters=short))
    cell = [c for c in plan.cells if c.card.name == method][-1]
    executor = Executor(plan.bench, "cpu")
    ran = watched(lambda: run_cell(executor, cell))
    assert ("mergebench/measuring/classifier.py", "MultiTaskClassifier.forward") in ran  # there was something to see
    start = registry.start_of(card, cell.hyperparameters)
    known = covered(card, *([start] if start else []))
    # A default that is a lambda is named after its class, or after nothing; it is part of that whose default it is.
    left = {(f, n) for f, n in ran if not {(f, n), (f, n.split(".")[0])} & known and not n.endswith("<lambda>")}
    assert {(file, name) for file, name in left if not is_handed_over(file, name)} == set()
