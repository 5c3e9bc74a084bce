"""YAML files of one's own: what they are called, which kind they are of, and what is told of broken ones."""

import pytest
import yaml

from mergebench.catalogue import registry, yaml_files
from mergebench.catalogue.yaml_files import kind_of, read_study, read_suite, read_yaml, read_zoo, short_name
from mergebench.errors import MergebenchError

READ = {"suite": read_suite, "study": read_study, "zoo": read_zoo}
SUITE = {"title": "t", "zoo": "tiny", "merge": ["digits", "signs"]}
STUDY = {"title": "t", "suite": "tiny-8", "methods": ["average"], "vary": {"alpha": [0.5]}}


@pytest.mark.parametrize("kind", READ)
def test_a_file_that_is_no_text_is_refused(kind, tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_bytes(b"\xff\xfe\x00title")
    with pytest.raises(MergebenchError, match="mine.yaml"):
        READ[kind](str(file))


@pytest.mark.parametrize(("kind", "near"), [("suite", "tiny-8"), ("study", "ridge"), ("zoo", "tiny")])
def test_an_unknown_name_is_answered_with_the_nearest(kind, near):
    with pytest.raises(MergebenchError, match=f"unknown {kind} '{near}x'; did you mean '{near}'"):
        READ[kind](f"{near}x")


@pytest.mark.parametrize("kind", READ)
def test_a_file_that_is_not_there_is_named(kind, tmp_path):
    with pytest.raises(MergebenchError, match=f"no such {kind} file: .*gone.yaml"):
        READ[kind](str(tmp_path / "gone.yaml"))


def test_a_file_is_called_by_its_stem_and_a_registered_name_is_kept():
    names = ["tiny-8", "a/b/mine.yaml", "./my.own.yml", "seeds"]
    assert [short_name(n) for n in names] == ["tiny-8", "mine", "my.own", "seeds"]


def test_a_key_that_stands_twice_is_refused(tmp_path):
    path = tmp_path / "twice.yaml"
    path.write_text("title: t\nzoo: tiny\nmerge: [digits]\nzoo: other\n")
    with pytest.raises(MergebenchError, match="line 4, column 1: 'zoo' stands twice"):
        read_suite(str(path))


def test_where_yaml_is_broken_is_told(tmp_path):
    path = tmp_path / "broken.yaml"
    path.write_text("title: t\n\tzoo: tiny\n")
    with pytest.raises(MergebenchError, match="broken.yaml is not valid YAML: line 2, column 1: found character"):
        read_suite(str(path))


def test_by_the_c_library_files_are_what_python_reads():
    for kind in registry.SINGULAR:
        for path in registry.config_files(kind).values():
            text = path.read_text()
            assert repr(read_yaml(path)) == repr(yaml.safe_load(text)) and yaml.load(text, Loader=yaml_files._Plain)
    if hasattr(yaml, "CSafeLoader"):
        assert issubclass(yaml_files._Fast, yaml.CSafeLoader)


@pytest.mark.parametrize(
    "text", ["a: [1, 2\nb: 3", "\ta: 1", "a: b: c", "a: 'x", "a: \x01", "{a", "- a\nb: 1", "%YAML 3.0\n---"]
)
def test_what_is_no_yaml_is_told_in_the_same_words_by_whichever_library(text, tmp_path, monkeypatch):
    path = tmp_path / "broken.yaml"
    path.write_text(text)
    told = []
    for loader in (yaml_files._Fast, yaml_files._Plain):
        monkeypatch.setattr(yaml_files, "_Fast", loader)
        with pytest.raises(MergebenchError, match="broken.yaml is not valid YAML: ") as caught:
            read_yaml(path)
        told.append(str(caught.value))
    assert told[0] == told[1]


@pytest.mark.parametrize("folder", registry.SINGULAR)
def test_every_registered_file_is_recognised_as_what_it_is(folder):
    assert {kind_of(str(path)) for path in registry.config_files(folder).values()} == {folder}


@pytest.mark.parametrize(("kind", "fields", "other"), [("suite", STUDY, "study"), ("study", SUITE, "suite")])
def test_a_file_of_another_kind_is_told_where_it_belongs(kind, fields, other, write):
    with pytest.raises(MergebenchError, match=f"fields of a {other}, not of a {kind}; `run` takes it as --{other}"):
        READ[kind](write("mine", **fields))


@pytest.mark.parametrize(
    ("kind", "text", "told"),
    [
        ("study", "", "the file: must be a section"),
        ("zoo", "", "the file: must be a section"),
        ("study", "title: t\nsuit: tiny-8\n", "suit: there is no such field; did you mean 'suite'"),
        ("suite", "title: t\nzoo: tiny\nmerge: 0\n", "merge.*: Input should be greater than or equal to 1 (got 0)"),
    ],
)
def test_a_file_that_may_be_of_this_kind_is_told_what_is_wrong_in_it(kind, text, told, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(MergebenchError, match=told.replace("(", r"\(").replace(")", r"\)")):
        READ[kind](str(path))


def test_parts_of_a_file_may_be_shared_by_yamls_merge_keys(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(
        "title: t\nzoo: tiny\nmerge: [digits]\nhyperparameters:\n  fisher: &few {samples: 4}\n  regmean: {<<: *few}\n"
    )
    assert read_suite(str(path)).hyperparameters["regmean"] == {"samples": 4}
    path.write_text(
        "title: t\nzoo: tiny\nmerge: [digits]\n"
        "hyperparameters: {fisher: &f {samples: 4}, regmean: &r {<<: *f, samples: 8}, regmean++: {<<: *r}}\n"
    )
    assert read_suite(str(path)).hyperparameters["regmean++"] == {"samples": 8}


@pytest.mark.parametrize(("kind", "name", "other"), [("suite", "alpha", "study"), ("study", "tiny-8", "suite")])
def test_a_name_of_another_kind_is_told_where_it_belongs(kind, name, other):
    with pytest.raises(MergebenchError, match=f"'{name}' is a {other}, not a {kind}; `run` takes it as --{other}"):
        READ[kind](name)


def test_a_file_may_not_take_a_registered_name_unless_it_says_the_same(write):
    shipped = registry.config_files("suites")["tiny-8"]
    with pytest.raises(MergebenchError, match="'tiny-8', as a registered suite; rename it"):
        read_suite(write("tiny-8", **SUITE))
    assert read_suite(str(shipped)) == read_suite("tiny-8")


def test_what_kind_a_file_is_of_is_not_asked_of_one_that_is_not_there(tmp_path):
    with pytest.raises(MergebenchError, match="no such file: .*gone.yaml"):
        kind_of(str(tmp_path / "gone.yaml"))


def nine(of: str, *parts: str) -> str:
    """A file of ten lines in which each names the line before nine times: 9 to the tenth values."""
    lines = [f"a0: &a0 {parts[0]}"]
    return "\n".join(lines + [f"a{i}: &a{i} " + of.format(", ".join([f"*a{i - 1}"] * 9)) for i in range(1, 11)])


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (nine("[{}]", "[x]"), "line 7, column 5: with every alias written out this comes to more than 1,000,000 val"),
        (nine("{{<<: [{}]}}", "{x: 1}"), "with every alias written out this comes to more than 1,000,000 values"),
        ("merge: &a [*a]", "line 1, column 8: an alias of what it stands in"),
        ("merge: &a {b: {c: *a}}", "an alias of what it stands in"),
        ("[" * 3000, "it is nested too deeply"),
        ("- " * 3000, "it is nested too deeply"),
        ("merge: 0x" + "f" * 9000, "a number of more than 1000 digits"),
        ("title: 2024-13-45", "month must be in 1..12"),
    ],
)
def test_a_file_that_nobody_could_read_to_its_end_is_refused(tmp_path, text, told):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    for read in (read_suite, kind_of):
        with pytest.raises(MergebenchError) as refused:
            read(str(path))
        assert f"{path} is not valid YAML: " in str(refused.value) and told in str(refused.value)
