"""Code as a hash: what it depends on is followed by name, and neither a module's name nor its place counts."""

from pathlib import Path
from types import ModuleType

import pytest

import mergebench
from mergebench.catalogue import discovery, registry
from mergebench.catalogue.code import Code, Part
from mergebench.catalogue.modules import Shelf
from mergebench.errors import MergebenchError

METHOD = """
@merge_method("mine", title="T", needs=Needs())
def mine(pool):
    return {}
"""


def digest(path, module=None):
    """Of the method in a file."""
    (card,) = discovery.scan_file(path, module)
    code = Code()
    return code.digest(code.of_method(card))


def files(path, module=None):
    """The names of all files that the method in a file depends on, but for mergebench's."""
    (card,) = discovery.scan_file(path, module)
    code = Code()
    return [part.module.path.name for part in code.reached([code.of_method(card)]) if not part.module.ours]


def test_a_packages_method_depends_on_its_file_and_all_of_its_own_that_it_imports(tmp_path):
    package = tmp_path / "outside_parts"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "helper.py").write_text("def f():\n    from .deeper import g\n    return g\n")
    (package / "deeper.py").write_text("import math, outside_parts.helper\n\ng = math.pi\n")
    (package / "other.py").write_text("")
    (package / "broken.py").write_text("raise OSError('it was run')\n")
    path = package / "mine.py"
    path.write_text("def lazy():\n    from outside_parts.broken import x\nfrom outside_parts import helper\n" + METHOD)
    expected = ["__init__.py", "broken.py", "deeper.py", "helper.py", "mine.py"]
    assert sorted(files(path, "outside_parts.mine")) == expected
    before = digest(path, "outside_parts.mine")
    (package / "other.py").write_text("changed = True\n")
    assert digest(path, "outside_parts.mine") == before
    (package / "deeper.py").write_text("import math, outside_parts.helper\n\ng = math.e\n")
    assert digest(path, "outside_parts.mine") != before


def test_a_package_that_is_run_when_a_method_is_imported_counts(tmp_path):
    path = tmp_path / "outside_alone" / "inner" / "mine.py"
    path.parent.mkdir(parents=True)
    path.write_text(METHOD)
    (tmp_path / "outside_alone" / "__init__.py").write_text("")
    before = digest(path, "outside_alone.inner.mine")
    (tmp_path / "outside_alone" / "__init__.py").write_text("import torch\n\ntorch.set_num_threads(1)\n")
    assert digest(path, "outside_alone.inner.mine") != before


def test_a_plug_in_file_depends_on_the_files_beside_it_that_it_imports(tmp_path):
    (tmp_path / "beside_mine.py").write_text("x = 1\n")
    (tmp_path / "mergebench.py").write_text("the engine is no method's own\n")
    path = tmp_path / "mine.py"
    path.write_text("import beside_mine, torch, dataclasses, mergebench\n" + METHOD)
    assert files(path) == ["mine.py", "beside_mine.py"]


def test_a_package_without_init_and_a_single_module_have_their_files_too(tmp_path):
    (tmp_path / "acme" / "merging").mkdir(parents=True)
    (tmp_path / "acme" / "merging" / "part.py").write_text("")
    (tmp_path / "beside.py").write_text("")
    for path, module, expected in (
        (tmp_path / "acme" / "merging" / "mine.py", "acme.merging.mine", ["mine.py", "part.py"]),
        (tmp_path / "single.py", "single", ["single.py"]),
    ):
        path.write_text("import beside\nfrom acme.merging import part\n" + METHOD)
        assert files(path, module) == expected


def test_all_of_another_s_file_counts_for_it_may_register_what_no_name_shows(tmp_path):
    helper, path = tmp_path / "rules.py", tmp_path / "mine.py"
    path.write_text("import rules\n" + METHOD)
    rule = "TABLE = {}\n\n\ndef rule(f):\n    TABLE[f.__name__] = f\n\n\n@rule\ndef half(x):\n    return x / %s\n"
    helper.write_text(rule % 2)
    before = digest(path)
    helper.write_text(rule % 3)
    assert digest(path) != before
    helper.write_text("# said\n" + rule % 2)
    assert digest(path) == before


def test_a_plug_in_that_takes_a_built_in_helper_depends_on_it(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("from mergebench.methods import sparsify\n" + METHOD.replace("{}", "sparsify.trim(pool)"))
    (card,) = discovery.scan_file(path)
    code = Code()
    reached = {(part.module.name, part.name) for part in code.reached([code.of_method(card)])}
    assert ("mergebench.methods.sparsify", "trim") in reached
    assert not any(name == "mergebench.methods.ties" for name, _ in reached)


def reached(name):
    """module -> the definitions of it that a built-in method depends on."""
    code, found = Code(), {}
    for part in code.reached([code.of_method(registry.method(name))]):
        found.setdefault(part.module.name.removeprefix("mergebench."), set()).add(part.name)
    return found


def test_a_built_in_method_depends_on_what_it_names_and_on_no_other_method():
    assert set(reached("average")) == {"methods.average", "methods.task_numbers", "errors"}
    assert reached("tsv_m")["methods.spectral"] and "methods.iso" not in reached("tsv_m")
    assert "merge_by_signs" in reached("dare")["methods.ties"] and "ties" not in reached("dare")["methods.ties"]
    assert {"GramSum", "LayerRegression", "solve_positive"} <= reached("regmean++")["merging.least_squares"]
    assert "regmean" not in reached("regmean++")["methods.regmean"]


def test_a_package_is_taken_where_there_is_a_module_of_its_name_too_as_python_does(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("import twofold\n" + METHOD)
    (tmp_path / "twofold.py").write_text("x = 1\n")
    (tmp_path / "twofold").mkdir()
    (tmp_path / "twofold" / "__init__.py").write_text("x = 2\n")
    assert files(path) == ["mine.py", "__init__.py"]


@pytest.mark.parametrize("module", ["acme", "acme.models"])
def test_what_a_package_s_own_init_imports_counts(module, tmp_path):
    place = tmp_path.joinpath(*module.split("."))
    place.mkdir(parents=True)
    (place / "__init__.py").write_text(f"from {module}.parts import make\n")
    (place / "parts.py").write_text("def make():\n    return 1\n")
    loaded = ModuleType(module)
    loaded.__file__ = str(place / "__init__.py")

    def of_make():
        code = Code()
        return code.digest(code.named(loaded, "make"))

    before = of_make()
    (place / "parts.py").write_text("def make():\n    return 2\n")
    assert of_make() != before


def test_one_file_read_under_two_names_is_followed_from_each(tmp_path):
    package = tmp_path / "acme"
    package.mkdir()
    (package / "mine.py").write_text("from acme import deep\n" + METHOD)
    (package / "deep.py").write_text("x = 1\n")
    as_file, as_module = (next(discovery.scan_file(package / "mine.py", m)) for m in (None, "acme.mine"))

    def last_of(*cards):
        code = Code()
        return [code.digest(code.of_method(card)) for card in cards][-1]

    assert last_of(as_file, as_module) == last_of(as_module)


def test_a_module_without_a_file_is_told():
    with pytest.raises(MergebenchError, match="module 'here' is of no file; put 'make' into one"):
        Code().named(ModuleType("here"), "make")


def test_deep_expressions_and_long_numbers_are_read(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(f"DEEP = {' + '.join('1' * 2500)}\nLONG = 0x{'f' * 5000}\n" + METHOD)
    before = digest(path)
    path.write_text(path.read_text().replace("0xf", "0xe"))
    assert digest(path) != before


def test_what_is_nested_more_deeply_than_can_be_read_is_told(tmp_path, monkeypatch):
    """Some Pythons compile deeper trees than these frames go through."""
    path = tmp_path / "mine.py"
    path.write_text(f"DEEP = {' + '.join('1' * 900)}\n" + METHOD)
    monkeypatch.setattr("mergebench.catalogue.code.DEEP", 0)
    with pytest.raises(MergebenchError, match=r"mine\.py: nested too deeply to be read; split the expression"):
        digest(path)


# A small engine of two modules, to be taken apart.
HELPER = "RATE = 2\nUNUSED = 1\n\n\ndef twice(x):\n    return RATE * x\n\n\ndef other(x):\n    return x\n"
USER = "from mergebench.{0} import twice\n\n\ndef f(x):\n    return twice(x) + g(x)\n\n\ndef g(x):\n    return f(x)\n"


@pytest.fixture
def engine(tmp_path, monkeypatch):
    """Writes modules of mergebench's; gives the hash of `f` in one of them."""

    def ours(shelf, name):
        path = tmp_path.joinpath(*name.split(".")[1:]).with_suffix(".py")
        return shelf._kept(path, name) if path.is_file() else None

    monkeypatch.setattr(Shelf, "ours", ours)

    def write(at="user", **modules):
        for old in tmp_path.glob("*.py"):
            old.unlink()
        for name, text in modules.items():
            (tmp_path / f"{name}.py").write_text(text)
        code = Code()
        return code.digest(code.ours(f"mergebench.{at}", "f"))

    return write


def test_a_module_that_is_renamed_or_taken_by_another_name_changes_nothing(engine):
    before = engine(helper=HELPER, user=USER.format("helper"))
    assert engine(tools=HELPER, user=USER.format("tools")) == before
    assert engine(at="mover", tools=HELPER, mover=USER.format("tools")) == before
    by_module = USER.format("tools").replace("import twice", "import twice as double").replace("twice(x)", "double(x)")
    assert engine(tools=HELPER, user=by_module) == before
    by_module = "from mergebench import tools as t\n" + USER.format("x").partition("\n")[2].replace("twice", "t.twice")
    assert engine(tools=HELPER, user=by_module) == before
    whole = "import mergebench.tools\n" + USER.format("x").partition("\n")[2].replace("twice", "mergebench.tools.twice")
    assert engine(tools=HELPER, user=whole) == before


def test_what_is_not_named_changes_nothing_and_what_is_changes_all(engine):
    before = engine(helper=HELPER, user=USER.format("helper"))
    assert engine(helper=HELPER.replace("UNUSED = 1", "UNUSED = 3"), user=USER.format("helper")) == before
    assert engine(helper=HELPER.replace("return x\n", "return -x\n"), user=USER.format("helper")) == before
    assert engine(helper=HELPER.replace("RATE = 2", "RATE = 3"), user=USER.format("helper")) != before
    assert engine(helper=HELPER + "\nRATE += 1\n", user=USER.format("helper")) != before
    assert engine(helper=HELPER + "\nfor i in range(3):\n    RATE = i\n", user=USER.format("helper")) != before
    assert engine(helper=HELPER, user=USER.format("helper").replace("+ g(x)", "")) != before


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("T['a'] = 1", "T['a'] = 2"),  # binds no name, and runs
        ("T.x = 1", "T.x = 2"),
        ("T['a'] += 1", "T['a'] += 2"),
        ("T['a'], y = 1, 2", "T['a'], y = 2, 2"),
    ],
)
def test_what_a_module_does_to_its_objects_counts(one, other, engine):
    user = "T = {}\n%s\n\n\ndef f():\n    return T\n"
    assert engine(user=user % one) != engine(user=user % other)


@pytest.mark.parametrize(
    "user",
    [
        "def f(x, g=None):\n    if g is None:\n        from mergebench.helper import twice as g\n    return g(x)\n",
        "def f(x):\n    twice = None\n    try:\n        from mergebench.helper import twice\n    finally:\n"
        "        x = 2 * x\n    return twice(x)\n",
        "from mergebench.helper import RATE\n\n\ndef f(x, key=lambda RATE: RATE):\n    return RATE * x\n",
        "from mergebench.helper import *\n\n\ndef f(x):\n    return twice(x)\n",
    ],
)
def test_names_are_followed_though_they_look_local(user, engine):
    assert engine(helper=HELPER, user=user) != engine(helper=HELPER.replace("RATE = 2", "RATE = 3"), user=user)


def test_another_function_s_import_of_the_same_thing_changes_nothing(engine):
    user = "import numpy as np\n\n\ndef f(x):\n    return np.sqrt(x)\n"
    assert engine(user=user + "\n\ndef g():\n    import numpy as np\n    return np\n") == engine(user=user)


def test_two_modules_that_change_places_are_not_the_same_program(engine):
    one, two = "def twice(x):\n    return 2 * x\n", "def twice(x):\n    return x + 1\n"
    user = "from mergebench import a, b\n\n\ndef f(x):\n    return a.twice(x) - b.twice(x)\n"
    assert engine(a=one, b=two, user=user) != engine(a=two, b=one, user=user)


def test_a_name_that_is_handed_on_is_followed_to_where_it_is_made(engine):
    before = engine(helper=HELPER, user=USER.format("helper"))
    door = "from typing import TYPE_CHECKING\n\nif TYPE_CHECKING:\n    from mergebench.helper import twice\n"
    assert engine(helper=HELPER, door=door, user=USER.format("door")) == before
    round_about = {"door": "from mergebench.back import twice\n", "back": "from mergebench.door import twice\n"}
    assert engine(**round_about, user=USER.format("door")) != before  # and comes to an end


def test_names_that_may_stand_for_two_things_depend_on_both(engine):
    user = "def f():\n    from mergebench.{} import x\n    return x\n\n\ndef g():\n    from mergebench.{} import x\n"
    a, b = "x = 1\n", "x = 2\n"
    before = engine(a=a, b=b, user=user.format("a", "b"))
    assert engine(a="x = 3\n", b=b, user=user.format("a", "b")) != before
    assert engine(a=a, b="x = 3\n", user=user.format("a", "b")) != before


def test_a_module_that_is_used_as_a_whole_counts_as_a_whole(engine):
    user = "from mergebench import helper\n\n\ndef f(name):\n    return getattr(helper, name)\n"
    before = engine(helper=HELPER, user=user)
    assert engine(helper=HELPER.replace("UNUSED = 1", "UNUSED = 3"), user=user) != before


def test_how_third_parties_are_imported_does_not_matter_but_what_is_taken_of_them(engine):
    plain = engine(user="import numpy as np\n\n\ndef f(x):\n    return np.linalg.norm(x)\n")
    for start, call in (("import numpy", "numpy.linalg.norm"), ("from numpy import linalg as l", "l.norm")):
        assert engine(user=f"{start}\n\n\ndef f(x):\n    return {call}(x)\n") == plain
    assert engine(user="import numpy as np\n\n\ndef f(x):\n    return np.linalg.det(x)\n") != plain
    assert engine(user="import scipy as np\n\n\ndef f(x):\n    return np.linalg.norm(x)\n") != plain


def test_what_is_lacking_or_broken_is_told(tmp_path):
    with pytest.raises(LookupError, match="mergebench.seeds has no nothing"):
        Code().ours("mergebench.seeds", "nothing")
    with pytest.raises(LookupError, match="mergebench.nowhere has no f"):
        Code().ours("mergebench.nowhere", "f")
    (tmp_path / "beside.py").write_text("def f(:\n")
    path = tmp_path / "mine.py"
    path.write_text("import beside\n" + METHOD)
    with pytest.raises(MergebenchError, match=r"beside.py:1: not valid Python"):
        digest(path)
    (tmp_path / "beside.py").write_bytes(b"x = '\xff'\n")
    with pytest.raises(MergebenchError, match=r"cannot read .*beside.py"):
        digest(path)


def test_one_reader_sees_files_as_they_were_and_a_new_one_as_they_are(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("RATE = 1\n" + METHOD)
    (card,) = discovery.scan_file(path)
    code = Code()
    before = code.digest(code.of_method(card))
    path.write_text("RATE = 2\n" + METHOD)
    assert code.digest(code.of_method(card)) == before
    assert digest(path) != before


@pytest.mark.long
def test_every_module_of_the_project_can_be_read_and_taken_as_a_whole():
    root = Path(mergebench.__file__).parent
    shelf, code = Shelf(), Code()
    for path in root.rglob("*.py"):
        name = ".".join(["mergebench", *path.relative_to(root).with_suffix("").parts])
        module = shelf.module(path, name.removesuffix(".__init__"))
        assert code.reached([Part(module, None)])
