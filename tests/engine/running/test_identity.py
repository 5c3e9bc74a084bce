"""A cell's identity covers what the code does: a comment does not change it, a constant that numbers come from does."""

import ast
from pathlib import Path

import pytest

import mergebench
from mergebench.catalogue import modules, registry
from mergebench.running.identity import SourceReader

pytestmark = pytest.mark.usefixtures("few_images")

ROOT = Path(mergebench.__file__).parents[1]
METHODS = registry.methods()


def sources_of(methods):
    reader = SourceReader()
    return {name: reader.read(card) for name, card in methods.items()}


@pytest.fixture(scope="module")
def before():
    """The sources of all methods as the files are."""
    return sources_of(METHODS)


@pytest.fixture
def edited(monkeypatch):
    """Sources of all methods where files' texts are what `change(path, text)` gives; nothing on the disk changes."""

    def sources(change):
        monkeypatch.setattr(modules, "read_source", lambda path: change(path, path.read_text(encoding="utf-8")))
        return sources_of(METHODS)

    return sources


@pytest.fixture
def changed(edited, before):
    """The methods whose cells become others by a change of a file."""

    def methods(*change):
        after = edited(replaced(*change))
        return {name for name in METHODS if before[name] != after[name]}

    return methods


def replaced(file, old, new):
    """A change of one file of the project."""
    path = ROOT / file
    assert old in path.read_text(encoding="utf-8"), f"{file} no longer has {old!r}"
    return lambda at, text: text.replace(old, new) if at == path else text


def commented(path, text):
    """A comment, blank lines and a docstring wherever they may stand; annotations gone."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            node.returns = None
            for argument in (*node.args.args, *node.args.kwonlyargs):
                argument.annotation = ast.Name("Whatever")
        if isinstance(node, (ast.Module, ast.FunctionDef, ast.ClassDef)):
            told = isinstance(node.body[0], ast.Expr) and isinstance(node.body[0].value, ast.Constant)
            node.body[: int(told)] = [ast.Expr(ast.Constant("Said in other words."))]
    return "# A comment.\n\n\n" + ast.unparse(ast.fix_missing_locations(tree)).replace("\n", "  # why\n\n", 1)


def test_comments_docstrings_annotations_and_blank_lines_in_every_file_leave_every_cell(edited, before):
    read = []
    assert edited(lambda path, text: read.append(path) or commented(path, text)) == before
    assert {ROOT / "mergebench/merging/least_squares.py", ROOT / "mergebench/measuring/evaluation.py"} <= set(read)


def test_what_no_number_comes_from_is_not_even_read(edited):
    read = []
    edited(lambda path, text: read.append(path) or text)
    rooms = {
        path.relative_to(ROOT / "mergebench").parts[0] for path in read if path.is_relative_to(ROOT / "mergebench")
    }
    assert not rooms & {"cli", "tuning", "training", "conformance", "catalogue"}
    assert not any(
        path.is_relative_to(ROOT / folder) for path in read for folder in ("leaderboard", "tasks", "configs")
    )


@pytest.mark.long
def test_a_change_of_a_constant_of_the_evaluation_or_the_contract_makes_every_cell_another(changed):
    for change in (
        ("mergebench/measuring/classifier.py", "batch_size: int = 256", "batch_size: int = 128"),
        ("mergebench/measuring/proof.py", '.astype("<u2").tobytes', '.astype("<u4").tobytes'),
        ("mergebench/merging/contract.py", "else pool.unmerged(n)", "else -pool.unmerged(n)"),
        ("mergebench/merging/pool.py", "PASS_SIZE = 64", "PASS_SIZE = 32"),
        ("mergebench/data/images.py", "torch.float32) / 255", "torch.float32) / 256"),
        ("mergebench/suites/bench.py", "default_rng([seed, len(tasks)])", "default_rng([seed])"),
        ("mergebench/zoo/heads.py", "self.logit_scale.to(features.dtype) * embedded", "embedded"),
    ):
        assert changed(*change) == set(METHODS), change


WALKS = {"regmean", "regmean++"}
SOLVES = WALKS | {"featcal", "lot_merging", "ace_merging", "actmat"}
TOUCHED = {
    ("mergebench/merging/least_squares.py", "SINGULAR = 1e13", "SINGULAR = 1e12"): SOLVES,
    ("mergebench/merging/least_squares.py", "max(rows, 1)", "max(rows, 2)"): WALKS | {"lot_merging"},
    (
        "mergebench/merging/blockwalk.py",
        "grams[name].add(input_rows(layers[name], inputs[0]))",
        "grams[name].add(inputs[-1])",
    ): WALKS,
    ("methods/pcb.py", "EXTREMES = 0.01", "EXTREMES = 0.02"): {"pcb"},
    ("methods/doge.py", "def task_weights(vectors: Tensor, eta: float)", "def task_weights(vectors, eta, more=1)"): {
        "doge_ta",
        "doge_am",
    },
    ("methods/features.py", "SMALLEST_NORM = 1e-8", "SMALLEST_NORM = 1e-7"): {"featcal"},
    ("methods/sparsify.py", "def drop_at_random(vector", "def drop_at_random(vectors"): {
        "dare",
        "core_space",
        "knots",
    },
    ("methods/iso.py", "scaling: NonNegativeFloat = 1.5", "scaling: NonNegativeFloat = 1.4"): {"iso_cts"},
    # The card's words are for people; what it declares is held to.
    ("methods/magmax.py", "year=2024", "year=2025"): set(),
    ("methods/magmax.py", "needs=Needs(base=True)", "needs=Needs(base=True, calibration=True)"): {"magmax"},
    # What no number comes from.
    ("mergebench/cli/run.py", "def ", "def more(): return 1\n\n\ndef "): set(),
    ("mergebench/measuring/keys.py", "SCHEMA_VERSION: Final = 1", "SCHEMA_VERSION: Final = 2"): set(),
    ("mergebench/errors.py", "class MergebenchError", "class More(Exception): ...\n\n\nclass MergebenchError"): set(),
    ("mergebench/zoo/zoo_files.py", "def ", "def more(): return 1\n\n\ndef "): set(),
}


@pytest.mark.long
@pytest.mark.parametrize("change", TOUCHED, ids=lambda change: f"{Path(change[0]).stem}: {change[1][:24]}")
def test_a_change_makes_those_cells_others_that_it_can_touch_and_no_more(changed, change):
    assert changed(*change) == TOUCHED[change]


def test_a_module_that_is_renamed_changes_no_cell(edited, before, monkeypatch):
    old = "mergebench.merging.least_squares"
    find = modules.Shelf.ours
    real = ROOT / "mergebench/merging/least_squares.py"

    def moved(shelf, name):
        """The module lies elsewhere, under another name; under the old one there is none."""
        if name == "mergebench.data.regressions":
            return shelf.module(real, name)
        return None if name == old else find(shelf, name)

    monkeypatch.setattr(modules.Shelf, "ours", moved)
    after = edited(lambda path, text: text.replace(old, "mergebench.data.regressions"))
    assert after == before
    # It was not lost on the way: what it does still counts.
    other = edited(
        lambda path, text: (
            text.replace("SINGULAR = 1e13", "SINGULAR = 1e12")
            if path == real
            else text.replace(old, "mergebench.data.regressions")
        )
    )
    assert {name for name in METHODS if other[name] != before[name]} == SOLVES


def test_a_method_that_starts_from_another_depends_on_that_one_alone(before, monkeypatch):
    change = replaced("methods/tsv_m.py", "def decorrelated_sum(vectors", "def decorrelated_sum(stack")

    def sources(start, changing=lambda path, text: text):
        monkeypatch.setattr(modules, "read_source", lambda path: changing(path, path.read_text(encoding="utf-8")))
        settings = {"start": "svc", "start_settings": {"start": start}}
        return SourceReader().read(METHODS["featcal"], settings)

    plain, other = sources("tsv_m"), sources("tsv_m", change)
    assert list(plain.starts) == ["svc", "tsv_m"] and plain.starts["tsv_m"] == before["tsv_m"].method
    assert other.method == plain.method and other.engine == plain.engine
    assert {name for name in plain.starts if plain.starts[name] != other.starts[name]} == {"tsv_m"}
    assert sources("iso_c") == sources("iso_c", change)
