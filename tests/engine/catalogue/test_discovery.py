"""Methods are found by reading their source; they are imported only when they are run."""

import dataclasses
import subprocess
import sys

import pytest

from mergebench import Needs
from mergebench.catalogue import discovery, registry
from mergebench.errors import MergebenchError
from mergebench.merging import hyperparameters
from mergebench.merging.method import merge_method

HEAD = "from mergebench import ModelPool, Needs, StateDict, merge_method\n\n\n"
BODY = "(pool: ModelPool, *, scaling: float = 0.5, mode: str = 'a') -> StateDict:\n    '''What it does.'''\n"


def write(path, *methods):
    """A plug-in file; a method is (decorator's arguments, function's name)."""
    functions = [f"@merge_method({arguments})\ndef {name}{BODY}" for arguments, name in methods]
    path.write_text(HEAD + "\n\n".join(functions))
    return path


def test_a_card_tells_all_without_the_file_being_run(tmp_path):
    path = write(tmp_path / "mine.py", ('"my-merge", title="Mine", paper="x", needs=Needs(base=True)', "my_merge"))
    path.write_text("raise SystemExit('it was run')\n" + path.read_text())
    (card,) = discovery.scan_file(path)
    assert (card.name, card.title, card.paper, card.function) == ("my-merge", "Mine", "x", "my_merge")
    assert card.needs == Needs(base=True)
    assert card.doc == "What it does."
    assert card.hyperparameters == {"scaling": ("float", "0.5"), "mode": ("str", "'a'")}
    assert (card.path, card.module, card.role, card.family) == (str(path), None, "method", "data-free")


def test_the_card_that_is_read_equals_the_card_that_is_run():
    for card in registry.methods().values():
        run = discovery.load_function(card).card
        for field in {f.name for f in dataclasses.fields(card)} - {"hyperparameters", "path", "module"}:
            assert getattr(run, field) == getattr(card, field), (card.name, field)
        defaults = hyperparameters.resolve(discovery.load_function(card), {})
        assert list(defaults) == list(card.hyperparameters)


@pytest.mark.parametrize(
    "decorator",
    [
        '@mergebench.merge_method("m", title="M", needs=mergebench.Needs(heads=True))',
        '@merge_method(name="m", title="M", needs=Needs(heads=True))',
        '@other\n@merge_method("m", title="M", needs=Needs(heads=True))',
    ],
)
def test_other_ways_of_writing_the_decorator_are_understood(tmp_path, decorator):
    path = tmp_path / "mine.py"
    path.write_text(f"{decorator}\ndef m(pool): ...\n")
    (card,) = discovery.scan_file(path)
    assert (card.name, card.needs) == ("m", Needs(heads=True))


def test_needs_that_depend_on_a_hyper_parameter_are_read(tmp_path):
    arguments = '"m", title="M", needs=Needs(base=True), needs_when={("mode", "b"): Needs(calibration=True)}'
    (card,) = discovery.scan_file(write(tmp_path / "mine.py", (arguments, "m")))
    assert card.needs_for({"mode": "a"}) == Needs(base=True)
    assert card.needs_for({"mode": "b"}) == Needs(calibration=True)


def test_functions_without_the_decorator_are_no_methods(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("import functools\n\n\ndef a(pool): ...\n\n\n@functools.cache\ndef b(pool): ...\n")
    assert list(discovery.scan_file(path)) == []


@pytest.mark.parametrize(
    "arguments",
    [
        'NAME, title="M"',
        '"m", title="M" + SUFFIX',
        '"m", title=f"{NAME}"',
        '"m", title="M", needs=Needs(base=BASE)',
        '"m", title="M", needs=NEEDS',
        '"m", **COMMON',
    ],
)
def test_arguments_that_are_no_literals_are_refused_with_the_place(tmp_path, arguments):
    path = write(tmp_path / "mine.py", (arguments, "m"))
    with pytest.raises(MergebenchError, match=r"mine.py:5: @merge_method of m: arguments must be literals"):
        list(discovery.scan_file(path))


@pytest.mark.parametrize("arguments", ['"m"', '"m", title="M", colour="red"', '"m", "M"'])
def test_arguments_that_the_decorator_does_not_take_are_refused_with_the_place(tmp_path, arguments):
    path = write(tmp_path / "mine.py", (arguments, "m"))
    with pytest.raises(MergebenchError, match=r"mine.py:5: @merge_method of m: "):
        list(discovery.scan_file(path))


def test_a_need_that_does_not_exist_is_refused_with_the_place(tmp_path):
    path = write(tmp_path / "mine.py", ('"m", title="M", needs=Needs(bass=True)', "m"))
    with pytest.raises(MergebenchError, match=r"mine.py:5: @merge_method of m: .*bass"):
        list(discovery.scan_file(path))


def test_needs_given_by_position_are_read_as_python_reads_them(tmp_path):
    (card,) = discovery.scan_file(write(tmp_path / "mine.py", ('"m", title="M", needs=Needs(True)', "m")))
    assert card.needs == discovery.load_function(card).card.needs == Needs(base=True)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"cannot read the method file .*mine.py: No such file"),
        (b"def broken(:\n", r"mine.py:1: not valid Python"),
        (b"# \xff\n", r"mine.py"),
    ],
)
def test_a_file_that_is_no_python_is_named(tmp_path, content, message):
    path = tmp_path / "mine.py"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(MergebenchError, match=message):
        list(discovery.scan_file(path))


def test_the_error_of_a_file_that_fails_on_import_is_told(tmp_path):
    path = write(tmp_path / "mine.py", ('"m", title="M"', "m"))
    path.write_text(path.read_text() + "\n\nimport a_package_nobody_has\n")
    (card,) = discovery.scan_file(path)
    with pytest.raises(MergebenchError, match=r"method 'm': importing .*mine.py failed: .*a_package_nobody_has"):
        discovery.load_function(card)


def test_one_file_is_one_module_and_equal_names_elsewhere_are_others(tmp_path):
    (tmp_path / "other").mkdir()
    (first,) = discovery.scan_file(write(tmp_path / "mine.py", ('"m", title="M"', "m")))
    (second,) = discovery.scan_file(write(tmp_path / "other" / "mine.py", ('"m", title="M"', "m")))
    assert discovery.load_function(first) is discovery.load_function(first)
    assert discovery.load_function(first) is not discovery.load_function(second)


def test_a_file_that_was_edited_is_run_anew_as_it_is_read_anew(tmp_path):
    path = write(tmp_path / "mine.py", ('"mine", title="T", needs=Needs()', "mine"))
    (card,) = discovery.scan_file(path)
    before = discovery.load_function(card)
    path.write_text(path.read_text() + "\n\nmine.card_is = 'another'\n")
    after = discovery.load_function(next(discovery.scan_file(path)))
    assert after is not before and after.card_is == "another"


def test_a_plug_in_may_postpone_its_annotations(tmp_path):
    path = write(tmp_path / "mine.py", ('"m", title="M"', "m"))
    path.write_text("from __future__ import annotations\n\n" + path.read_text())
    (card,) = discovery.scan_file(path)
    function = discovery.load_function(card)
    assert hyperparameters.resolve(function, {"scaling": "1e-2"})["scaling"] == 0.01


def test_a_plug_in_may_hold_dataclasses(tmp_path):
    path = write(tmp_path / "mine.py", ('"m", title="M"', "m"))
    path.write_text(
        "from __future__ import annotations\n\nfrom dataclasses import dataclass\n\n"
        + path.read_text()
        + "\n\n@dataclass\nclass Settings:\n    rank: int = 3\n"
    )
    (card,) = discovery.scan_file(path)
    assert discovery.load_function(card).card.name == "m"


def test_listing_methods_imports_none_of_them_nor_torch():
    code = (
        "import sys, mergebench.catalogue.registry\n"
        "cards = mergebench.catalogue.registry.methods()\n"
        "assert 'regmean++' in cards and cards['regmean++'].title and cards['regmean++'].doc\n"
        "heavy = {'torch', 'timm', 'numpy', 'lightning', 'jsonargparse'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "loaded = [m for m in sys.modules if m.startswith('mergebench.methods.')]\n"
        "assert not loaded, loaded\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_decorator_leaves_the_function_as_it_is():
    def m(pool):
        return pool

    decorated = merge_method("m", title="M")(m)
    assert decorated is m
    assert decorated(3) == 3
