"""`run --config`: fields of a YAML file stand for options, however plainly they are written."""

import pytest

from mergebench.cli.option_file import expanded


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("methods: all", ["--methods", "all"]),
        ("methods: [ties, average]\nseeds: 3", ["--methods", "ties", "average", "--seeds", "3"]),
        ("set: {ties.density: 0.1, ties.scaling: 1}", ["--set", "ties.density=0.1", "ties.scaling=1"]),
        ("only: {order: 1, step: [1, 2]}", ["--only", "order=1", "step=1,2"]),
        ("only: order=1", ["--only", "order=1"]),
        ("only: {restrict.blocks: [[0, 1], late]}", ["--only", "restrict.blocks=0+1,late"]),
        ("methods: []\nset: {}", []),
        ("hyperparameters: {m: {day: 2026-01-01}}", ["--hyperparameters", '{"m": {"day": "2026-01-01"}}']),
        ("zoo_root: a/b\ndry_run: true", ["--zoo-root", "a/b", "--dry-run"]),
        ("threads: null\ndry_run: false", []),
        ("hyperparameters: {ties: {density: 0.4}}", ["--hyperparameters", '{"ties": {"density": 0.4}}']),
    ],
)
def test_fields_become_options_where_the_file_stands(tmp_path, text, words):
    file = tmp_path / "run.yaml"
    file.write_text(text)
    for option in (["--config", str(file)], [f"--config={file}"]):
        assert expanded(["run", "--out", "x", *option, "--seeds", "1"]) == ["run", "--out", "x", *words, "--seeds", "1"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("methods: [ties", "is not valid YAML: line 1"),
        ("methods: a\nmethods: b", "line 2, column 1: 'methods' stands twice"),
        ("- methods", "holds no fields; write them as suite: tiny-8"),
        ("", "holds no fields"),
        ("config: other.yaml", "names another file of options; give both on the command line"),
        ("method: ties", "unknown option '--method'; did you mean '--methods'"),
        ("methods: tiess", "unknown method 'tiess'; did you mean 'ties'"),
    ],
)
def test_a_file_that_is_wrong_is_refused_in_one_line(refused, tmp_path, text, told):
    file = tmp_path / "run.yaml"
    file.write_text(text)
    assert told in refused("run", "--config", file, "--out", tmp_path / "out")
