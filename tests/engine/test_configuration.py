"""Suites, studies and zoos as YAML files: what is refused when they are read, in one line that names the place."""

import pytest
import yaml
from pydantic import ValidationError

from mergebench.catalogue.yaml_files import read_study, read_suite, read_zoo
from mergebench.configuration import RestrictConfig, StudyConfig, SuiteConfig, TaskConfig, ZooConfig
from mergebench.errors import MergebenchError

SUITE = {"title": "t", "zoo": "tiny", "merge": ["digits", "signs"]}
STUDY = {"title": "t", "suite": "tiny-8", "methods": ["average"], "vary": {"alpha": [0.5]}}
ZOO = {"title": "t", "encoder": "e", "weights": "w", "tasks": ["digits"]}
CORRUPTIONS = {"kinds": ["contrast"], "severities": [1]}
READ = {"suite": (read_suite, SUITE), "study": (read_study, STUDY), "zoo": (read_zoo, ZOO)}


def written(path, content):
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return str(path)


@pytest.fixture
def refusal(tmp_path):
    """What the refusal of a file says after the file's name; `changes` to a sound file, None takes a field out."""

    def read(kind, changes=None, text=None):
        function, sound = READ[kind]
        content = {k: v for k, v in (sound | (changes or {})).items() if v is not None}
        file = written(tmp_path / "mine.yaml", text or content)
        with pytest.raises(MergebenchError) as caught:
            function(file)
        (line,) = str(caught.value).splitlines()
        assert file in line
        return line.partition(file)[2]

    return read


@pytest.mark.parametrize("kind", READ)
def test_a_sound_file_is_read_as_it_is_written(kind, tmp_path):
    function, sound = READ[kind]
    found = function(written(tmp_path / "mine.yml", sound)).model_dump()
    assert {k: found[k] for k in sound} == sound


def test_everything_a_suite_may_hold_is_kept(tmp_path):
    whole = SUITE | {
        "evaluate": ["scenes"],
        "hyperparameters": {"fisher": {"samples": 4}},
        "calibration": {"source": "shuffled", "classes": [0, 2], "corrupted": True},
        "restrict": {"blocks": [0, 2], "component": "mlp"},
        "orders": {0: [["digits"], ["signs"]], "back": [["signs"], ["digits"]]},
    }
    found = read_suite(written(tmp_path / "mine.yaml", whole)).model_dump()
    assert {k: found[k] for k in whole} == whole


@pytest.mark.parametrize(
    ("kind", "changes", "place"),
    [
        ("suite", {"colour": "red"}, "colour"),
        ("suite", {"prefix": [1]}, "prefix"),
        ("suite", {"calibration": {"sources": "own"}}, "calibration.sources"),
        ("suite", {"restrict": {"block": "late"}}, "restrict.block"),
        ("suite", {"corruptions": CORRUPTIONS | {"seed": 1}}, "corruptions.seed"),
        ("study", {"axes": {}}, "axes"),
        ("study", {"vary": None, "points": {"a": {"method": ["m"]}}}, "points.a.method"),
        ("study", {"vary": None, "points": {"a": {"calibration": {"class": [1]}}}}, "points.a.calibration.class"),
    ],
)
def test_a_field_that_does_not_exist_is_named_where_it_stands(kind, changes, place, refusal):
    message = refusal(kind, changes)
    assert message.startswith(f": {place}: ")
    assert "there is no such field; " in message


@pytest.mark.parametrize("kind", READ)
def test_every_field_without_a_default_must_be_given(kind, refusal):
    model = {"suite": SuiteConfig, "study": StudyConfig, "zoo": ZooConfig}[kind]
    needed = [n for n, f in model.model_fields.items() if f.is_required()]
    assert needed
    for name in needed:
        assert refusal(kind, {name: None}).startswith(f": {name}: Field required")


KINDS = {
    "prefixes": [1, 2],
    "held_out": [["digits"]],
    "corruptions": CORRUPTIONS,
    "orders": {0: [["digits"], ["signs"]]},
}


@pytest.mark.parametrize("first", KINDS)
@pytest.mark.parametrize("second", KINDS)
def test_two_kinds_of_variants_in_one_suite_are_refused_and_one_is_not(first, second, refusal, tmp_path):
    if first == second:
        assert read_suite(written(tmp_path / "mine.yaml", SUITE | {first: KINDS[first]}))
        return
    message = refusal("suite", {first: KINDS[first], second: KINDS[second]})
    ordered = [k for k in KINDS if k in (first, second)]
    assert f"{ordered[0]} and {ordered[1]} cannot be in one suite; make a suite of each" in message


@pytest.mark.parametrize("severity", [0, 6, -1])
def test_severities_are_one_to_five(severity, refusal):
    message = refusal("suite", {"corruptions": {"kinds": ["contrast"], "severities": [1, severity]}})
    assert message.startswith(": corruptions.severities.1: ")
    assert message.endswith(f"(got {severity})")
    for allowed in range(1, 6):
        SuiteConfig(**SUITE, corruptions={"kinds": ["contrast"], "severities": [allowed]})


@pytest.mark.parametrize(
    ("kind", "changes", "place"),
    [
        ("suite", {"corruptions": CORRUPTIONS | {"severities": []}}, "corruptions.severities"),
        ("suite", {"corruptions": CORRUPTIONS | {"kinds": []}}, "corruptions.kinds"),
        ("suite", {"prefixes": [2, 0]}, "prefixes.1"),
        ("suite", {"calibration": {"classes": []}}, "calibration.classes"),
        ("suite", {"restrict": {"component": "head"}}, "restrict.component"),
        ("study", {"methods": []}, "methods"),
        ("study", {"seeds": []}, "seeds"),
        ("study", {"vary": {"restrict.blocks": "every"}}, "vary.restrict.blocks"),
        ("study", {"choose_on_validation": "perhaps"}, "choose_on_validation"),
    ],
)
def test_a_value_that_does_not_fit_is_named_where_it_stands(kind, changes, place, refusal):
    assert refusal(kind, changes).startswith(f": {place}")


@pytest.mark.parametrize("merge", [[], 0, -2])
def test_a_suite_that_merges_nothing_is_refused(merge, refusal):
    assert "merge" in refusal("suite", {"merge": merge})


@pytest.mark.parametrize("groups", [[], [[]], [["digits"], []], [[], ["digits"]]])
def test_a_step_without_tasks_is_refused(groups, refusal):
    assert "orders: a step without tasks" in refusal("suite", {"orders": {0: [["signs"]], 1: groups}})


def test_a_group_that_holds_out_nothing_is_refused(refusal):
    assert "held_out" in refusal("suite", {"held_out": [["digits"], []]})


@pytest.mark.parametrize("changes", [{"vary": None}, {"points": {"a": {}}}, {"vary": {}}, {"vary": {}, "points": {}}])
def test_a_study_has_either_axes_or_arms(changes, refusal):
    assert "give either vary (axes) or points (named arms)" in refusal("study", changes)


def test_an_axis_without_values_is_refused(refusal):
    # Its product with the other axes is nothing: the study would run no cell and call that success.
    assert "alpha" in refusal("study", {"vary": {"alpha": [], "samples": [4]}})


@pytest.mark.parametrize("blocks", ["all", "early", "late+early", "early+middle+late", [0], [3, 1]])
def test_regions_are_thirds_numbers_or_all(blocks):
    assert RestrictConfig(blocks=blocks).blocks == blocks


@pytest.mark.parametrize("blocks", ["last", "early,late", "early+", "all+late", "", "0", []])
def test_other_regions_are_refused(blocks):
    with pytest.raises(ValidationError):
        RestrictConfig(blocks=blocks)


def test_a_region_that_does_not_exist_is_answered_with_those_that_do(refusal):
    message = refusal("suite", {"restrict": {"blocks": "last"}})
    assert message.startswith(": restrict: ")
    assert "blocks are 'all', numbers, or of early, middle, late joined by '+'" in message and "'last'" in message


@pytest.mark.parametrize("kind", READ)
@pytest.mark.parametrize("text", ["title: [", "title: a\n\tzoo: b", "- a\n- b", "just words", "# nothing", "a: b: c"])
def test_a_file_that_is_no_section_is_refused_in_one_line(kind, text, refusal):
    refusal(kind, text=text)


@pytest.mark.parametrize(
    ("kind", "content", "message"),
    [
        ("suite", {"prefix": [1]}, "prefix: there is no such field; did you mean 'prefixes'?"),
        ("suite", {"merge": None, "merg": ["digits"]}, "merg: there is no such field; did you mean 'merge'?"),
        (
            "suite",
            {"calibration": {"sorce": "own"}},
            "calibration.sorce: there is no such field; did you mean 'source'?",
        ),
        (
            "suite",
            {"corruptions": ["contrast"]},
            "corruptions: must be a section with fields (kinds, severities), not ['contrast']",
        ),
        (
            "study",
            {"points": {"a": {"hyperparameter": {}}}},
            "points.a.hyperparameter: there is no such field; did you",
        ),
        ("study", {"vary": {"alpha": 0.5}}, "vary.alpha: Input should be a valid list (got 0.5)"),
    ],
)
def test_what_does_not_fit_is_told_with_the_remedy(kind, content, message, refusal):
    assert message in refusal(kind, content)


@pytest.mark.parametrize("template", ["a photo", "{} or {}", "a {{}}.", "a {photo} of {}.", "{}{}", "a {} }"])
def test_a_template_holds_one_place_for_the_class_and_no_other_brace(template):
    with pytest.raises(ValidationError, match="must hold {} once, for the class name, and no other brace"):
        TaskConfig(data="x", templates=["a photo of a {}.", template])


def test_only_the_task_s_name_is_put_into_the_experts_place():
    zoo = ZooConfig(title="t", base="b", experts="{run}/{task}/{}.bin", tasks=["digits"])
    assert zoo.expert_of("digits") == "{run}/digits/{}.bin"


def test_an_expert_s_commit_stands_behind_its_place():
    zoo = ZooConfig(title="t", base="b", experts="me/{task}", revisions={"digits": "abc"}, tasks=["digits", "signs"])
    assert [zoo.expert_of(t) for t in zoo.tasks] == ["me/digits@abc", "me/signs"]


@pytest.mark.parametrize(
    ("experts", "revisions", "told"),
    [
        ("me/{task}", {"digit": "abc"}, "revisions: 'digit' is no task of this zoo"),
        ("me/{task}@main", {"digits": "abc"}, "revisions: only where experts: is one place for all"),
        ({"digits": "me/digits"}, {"digits": "abc"}, "revisions: only where experts: is one place for all"),
    ],
)
def test_commits_that_name_nothing_are_refused(experts, revisions, told):
    with pytest.raises(ValidationError, match=told):
        ZooConfig(title="t", base="b", experts=experts, revisions=revisions, tasks=["digits"])


@pytest.mark.parametrize("name", ["a/b", "..", "a\\b", ".hidden", ""])
@pytest.mark.parametrize("kind", [list, dict.fromkeys])
def test_a_task_whose_name_is_no_part_of_a_path_is_refused(name, kind, refusal):
    assert f"tasks: {name!r} names files, so it must hold no slash" in refusal("zoo", {"tasks": kind(["digits", name])})


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"experts": {"digits": "d.safetensors"}}, "experts"),
        ({"experts": "{task}.safetensors"}, "experts"),
        ({"text": "some/clip"}, "text"),
        ({"tasks": {"digits": {"data": "images", "head": "h.safetensors"}}}, "tasks.digits.head"),
    ],
)
def test_what_a_folder_of_weights_holds_is_not_named_beside_it(changes, field, refusal):
    """It would be passed over without a word."""
    told = f": {field}: the folder that weights names holds experts and heads; leave it out"
    assert refusal("zoo", changes) == told
    assert ZooConfig(**ZOO | {"tasks": {"digits": {"data": "images"}}}).described
