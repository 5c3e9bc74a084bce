"""The registry: selection by name, wildcard, family and file; names that are taken or unknown are refused."""

from types import SimpleNamespace

import pytest

from mergebench.catalogue import registry
from mergebench.errors import MergebenchError, UnknownNameError, overheard

BUILT_IN = {"average", "task_arithmetic", "ties", "fisher", "regmean", "regmean++", "adamerging"}


def names(*patterns):
    return [c.name for c in registry.select_methods(patterns)]


def write(path, *methods):
    path.write_text(
        "from mergebench import merge_method\n"
        + "".join(f'\n\n@merge_method("{name}", title="T")\ndef {function}(pool): ...\n' for name, function in methods)
    )
    return path


def test_the_built_in_methods_are_there_references_first_then_by_family():
    cards = list(registry.methods().values())
    assert {c.name for c in cards} >= BUILT_IN | {"pretrained", "finetuned"}
    keys = [(registry.FAMILIES.index(c.family), c.name) for c in cards]
    assert keys == sorted(keys)
    assert {c.name for c in cards[:3]} == {"finetuned", "multitask", "pretrained"}


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("pretrained", "references"),
        ("finetuned", "references"),
        ("average", "data-free"),
        ("ties", "data-free"),
        ("regmean", "calibration"),
        ("regmean++", "calibration"),
        ("fisher", "calibration"),
        ("adamerging", "test-time"),
    ],
)
def test_families(name, family):
    assert registry.method(name).family == family
    assert name in names(family)


def test_families_divide_the_methods():
    parts = [names(f) for f in registry.FAMILIES]
    assert sorted(sum(parts, [])) == sorted(registry.methods())


def test_all_is_all_of_them():
    assert names("all") == list(registry.methods())


def test_wildcards_select_what_they_match():
    assert set(names("regmean*")) >= {"regmean", "regmean++"}
    assert all(n.startswith("regmean") for n in names("regmean*"))
    assert set(names("*")) == set(registry.methods())
    assert "ties" in names("t?es")


def test_every_method_comes_once_in_the_order_asked_for():
    assert names("ties", "average", "ties") == ["ties", "average"]
    found = names("regmean++", "regmean*", "all")
    assert found[0] == "regmean++"
    assert len(found) == len(set(found)) == len(registry.methods())


@pytest.mark.parametrize(
    ("asked", "meant"),
    [
        ("regmea", "regmean"),
        ("tie", "ties"),
        ("AdaMerging", "adamerging"),
        ("data-fre", "data-free"),
        ("fischer", "fisher"),
    ],
)
def test_an_unknown_name_shows_the_nearest(asked, meant):
    with pytest.raises(UnknownNameError, match=rf"unknown method '{asked}'; did you mean .*'{meant}'"):
        registry.select_methods([asked])


def test_a_name_like_no_other_shows_all_there_are():
    with pytest.raises(UnknownNameError) as caught:
        registry.method("xyzzy")
    assert all(repr(n) in str(caught.value) or n in str(caught.value) for n in registry.methods())


def test_a_wildcard_that_matches_nothing_is_refused():
    with pytest.raises(UnknownNameError, match="unknown method 'zzz\\*'"):
        registry.select_methods(["zzz*"])


def test_files_bring_one_or_all_of_their_methods(tmp_path):
    path = write(tmp_path / "mine.py", ("my-merge", "my_merge"), ("other", "another"))
    assert names(f"{path}:my_merge") == ["my-merge"]
    assert names(f"{path}:my-merge") == ["my-merge"]
    assert names(str(path)) == ["my-merge", "other"]
    assert names(f"{path}:another", "ties", str(path)) == ["other", "ties", "my-merge"]
    assert registry.method(f"{path}:another").name == "other"


def test_a_file_may_be_named_relative_to_the_working_folder(tmp_path, monkeypatch):
    write(tmp_path / "mine.py", ("my-merge", "my_merge"))
    monkeypatch.chdir(tmp_path)
    assert registry.method("mine.py:my_merge").path == str(tmp_path / "mine.py")
    assert names("./mine.py") == ["my-merge"]


def test_a_folder_may_have_py_in_its_name(tmp_path):
    folder = tmp_path / ".pyenv" / "my.python"
    folder.mkdir(parents=True)
    path = write(folder / "mine.py", ("my-merge", "my_merge"))
    assert registry.method(f"{path}:my_merge").name == "my-merge"
    assert names(str(path)) == ["my-merge"]


def test_a_file_of_several_needs_the_name_of_one(tmp_path):
    path = write(tmp_path / "mine.py", ("a", "first"), ("b", "second"))
    with pytest.raises(MergebenchError, match=r"mine.py holds 2 methods; say which: .*mine.py:first"):
        registry.method(str(path))


def test_a_file_without_that_method_says_what_it_holds(tmp_path):
    path = write(tmp_path / "mine.py", ("a", "first"), ("b", "second"))
    with pytest.raises(
        MergebenchError, match=r"no function 'third' under @merge_method; the file's methods: first, sec"
    ):
        registry.method(f"{path}:third")
    with pytest.raises(MergebenchError, match=r"the file's methods: none"):
        registry.method(str(write(tmp_path / "empty.py")))


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(MergebenchError, match=r"cannot read the method file .*absent.py"):
        registry.select_methods([f"{tmp_path}/absent.py:m"])


def test_a_file_cannot_take_a_built_in_name(tmp_path):
    path = write(tmp_path / "mine.py", ("ties", "my_ties"))
    with pytest.raises(MergebenchError, match=r"names its method 'ties', which is built in: give it another name"):
        registry.select_methods([str(path)])


def test_two_files_cannot_share_a_name(tmp_path):
    first, second = write(tmp_path / "a.py", ("m", "m")), write(tmp_path / "b.py", ("m", "m"))
    with pytest.raises(MergebenchError, match=r"two methods are named 'm': .*a.py and .*b.py"):
        registry.select_methods([str(first), str(second)])
    assert names(str(first), f"{first}:m") == ["m"]


def install(monkeypatch, *modules):
    """As if packages with these entry points were installed."""
    entries = [SimpleNamespace(name=m, value=m) for m in modules]
    monkeypatch.setattr(registry, "entry_points", lambda group: entries if group == "mergebench.methods" else [])


def test_outside_packages_bring_methods_by_the_same_door(tmp_path, monkeypatch):
    (tmp_path / "outside_pack").mkdir()
    (tmp_path / "outside_pack" / "__init__.py").write_text("")
    write(tmp_path / "outside_pack" / "a.py", ("theirs", "theirs"))
    write(tmp_path / "outside_single.py", ("single", "single"))
    monkeypatch.syspath_prepend(tmp_path)
    install(monkeypatch, "mergebench.methods", "outside_pack", "outside_single")
    found = registry.methods.__wrapped__()
    assert set(found) >= BUILT_IN | {"theirs", "single"}
    assert found["theirs"].module == "outside_pack.a"
    assert found["single"].module == "outside_single"


def test_a_mistake_in_an_outside_package_is_told_and_costs_nobody_elses_methods(tmp_path, monkeypatch):
    (tmp_path / "outside_half").mkdir()
    (tmp_path / "outside_half" / "__init__.py").write_text("")
    write(tmp_path / "outside_half" / "a.py", ("good", "good"))
    (tmp_path / "outside_half" / "b.py").write_text(
        "from mergebench import merge_method\nNAME = 'b'\n\n\n@merge_method(NAME, title='B')\ndef bad(pool): ...\n\n\n"
        "@merge_method('better', title='Better')\ndef better(pool): ...\n"
    )
    (tmp_path / "outside_half" / "c.py").write_text("def broken(:\n")
    monkeypatch.syspath_prepend(tmp_path)
    install(monkeypatch, "mergebench.methods", "outside_half")
    told = []
    with overheard(told.append):
        found = registry.methods.__wrapped__()
    assert set(found) >= BUILT_IN | {"good", "better"} and not {"bad", "b"} & set(found)
    assert len(told) == 2 and "b.py:6: @merge_method of bad: arguments must be literals" in told[0]
    assert told[0].endswith("; bad is left out") and "c.py:1: not valid Python" in told[1]


def test_a_wrong_decorator_bars_its_own_function_and_no_other_of_the_file(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        "from mergebench import merge_method\nNAME = 'b'\n\n\n@merge_method(NAME, title='B')\ndef bad(pool): ...\n\n\n"
        "@merge_method('good', title='Good')\ndef fine(pool): ...\n"
    )
    for named in ("fine", "good"):
        assert registry.method(f"{path}:{named}").name == "good"
        assert [card.name for card in registry.select_methods([f"{path}:{named}"])] == ["good"]
    for named, told in {
        f"{path}:bad": r"mine.py:6: @merge_method of bad: arguments must be literals",
        f"{path}": r"mine.py:6: @merge_method of bad: .*; what is right can be named: .*mine.py:fine$",
        f"{path}:b": r"no function 'b' under @merge_method; the file's methods: fine; left out: .*mine.py:6: ",
    }.items():
        with pytest.raises(MergebenchError, match=told):
            registry.select_methods([named])


def test_two_packages_cannot_share_a_name(tmp_path, monkeypatch):
    write(tmp_path / "outside_ties.py", ("ties", "ties"))
    monkeypatch.syspath_prepend(tmp_path)
    install(monkeypatch, "mergebench.methods", "outside_ties")
    with pytest.raises(MergebenchError, match=r"two methods are named 'ties': .*ties.py and .*outside_ties.py"):
        registry.methods.__wrapped__()


@pytest.mark.parametrize("what", ["tasks", "corruptions"])
def test_nothing_takes_a_built_in_things_place_unseen(what, monkeypatch):
    known = getattr(registry, what)()
    entries = [SimpleNamespace(value=v, load=lambda: known) for v in ("one:X", "other:X")]
    monkeypatch.setattr(registry, "entry_points", lambda group: entries if group == f"mergebench.{what}" else [])
    with pytest.raises(MergebenchError, match=f"two {what} are named '.*': one:X and other:X"):
        getattr(registry, what).__wrapped__()


def test_no_package_replaces_a_shipped_suite(tmp_path, monkeypatch):
    (tmp_path / "outside_configs" / "suites").mkdir(parents=True)
    (tmp_path / "outside_configs" / "__init__.py").write_text("")
    (tmp_path / "outside_configs" / "suites" / "tiny-8.yaml").write_text("title: mine\n")
    monkeypatch.syspath_prepend(tmp_path)
    entries = [SimpleNamespace(value=v) for v in ("mergebench.configs", "outside_configs")]
    monkeypatch.setattr(registry, "entry_points", lambda group: entries)
    with pytest.raises(MergebenchError, match="two suites are named 'tiny-8': mergebench.configs and outside_configs"):
        registry.config_files.__wrapped__("suites")


def test_a_folder_that_is_no_package_is_named(tmp_path, monkeypatch):
    """Python imports a folder without __init__.py, too, as a package of no file."""
    (tmp_path / "loose_configs" / "suites").mkdir(parents=True)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(registry, "entry_points", lambda group: [SimpleNamespace(value="loose_configs")])
    with pytest.raises(MergebenchError, match=r"names 'loose_configs', which has no __init__\.py; give it one"):
        registry.config_files.__wrapped__("suites")


def test_an_entry_point_to_nowhere_is_named(monkeypatch):
    install(monkeypatch, "no_such_package_here")
    with pytest.raises(MergebenchError, match=r"names 'no_such_package_here', which cannot be imported"):
        registry.methods.__wrapped__()
