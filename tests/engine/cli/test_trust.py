"""What files name is run only where the command line, or a zoo's own encoder:, says so; it is told before."""

import json

import pytest

from mergebench.weights.encoders import Encoder
from mergebench.weights.states import save_state

QUICK = "vit_base_patch16_clip_quickgelu_224"
SMALL = {"img_size": 32, "embed_dim": 64, "depth": 1, "num_heads": 1}
METHOD = """
from pathlib import Path

from mergebench import Needs, merge_method

Path({mark!r}).touch()


@merge_method("mine", title="Mine", needs=Needs())
def mine(pool, *, weight: float = 1.0):
    return pool.map_experts(lambda experts: experts.mean(0))
"""


@pytest.fixture
def mark(tmp_path):
    """A file that is there once somebody else's code was run."""
    return tmp_path / "was_run"


@pytest.fixture
def method(tmp_path, mark):
    """A method's file, as a suite may name it."""
    (tmp_path / "mine.py").write_text(METHOD.format(mark=str(mark)))
    return f"{tmp_path}/mine.py:mine"


@pytest.fixture
def module(tmp_path, mark, monkeypatch):
    """A module of a function that would make an encoder; importing it leaves the mark."""
    (tmp_path / "somebodys_code.py").write_text(
        f"from pathlib import Path\nPath({str(mark)!r}).touch()\n"
        "from mergebench.tasks.tiny.model import create_encoder as made\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    return "somebodys_code:made"


@pytest.fixture
def weights(tmp_path):
    """Base and expert, the base in a folder; gives a function that writes a config.json beside it."""
    state = Encoder(QUICK, SMALL).make().state_dict()
    for name in ("base/model", "expert"):
        save_state(state, tmp_path / f"{name}.safetensors")

    def described(**config):
        (tmp_path / "base" / "config.json").write_text(json.dumps(config))
        return tmp_path / "base", tmp_path / "expert.safetensors"

    return described


@pytest.mark.parametrize("more", [[], ["--calibration", "images"]])
def test_a_config_json_chooses_no_code(weights, module, mark, refused, tmp_path, more):
    base, expert = weights(architecture=module)
    files = ("--base", base, "--experts", expert, "--output", tmp_path / "merged.safetensors", *more)
    line = refused("merge", "--method", "average", *files)
    assert f"{base / 'config.json'} says that {module} makes its encoder; if you trust that code, give --enc" in line
    assert not mark.exists()


def test_a_zoo_without_encoder_runs_none_that_a_config_json_names(weights, module, mark, write, refused, tmp_path):
    base, expert = weights(architecture=module)
    tasks = {"t": {"data": "images", "classes": ["a", "b"], "head": "head.safetensors"}}
    zoo = write("zoo", title="t", base=str(base), experts={"t": str(expert)}, tasks=tasks)
    suite = write("suite", title="t", zoo=str(zoo), merge=["t"])
    for verb in (["run", "--methods", "average", "--dry-run", "--out", tmp_path / "out"], ["evaluate", expert]):
        assert f"says that {module} makes its encoder" in refused(*verb, "--suite", suite)
    assert not mark.exists()


def test_a_zoo_s_own_encoder_is_run_and_told(write, module, mark, command, tmp_path):
    zoo = write("zoo", title="t", encoder=module, weights="mergebench.tasks.tiny:weights", tasks=["landcover"])
    suite = write("suite", title="t", zoo="zoo.yaml", merge=["landcover"])
    told = command("describe", zoo)
    assert f"encoder  {module} (code, which is run)" in told.out and not mark.exists()
    told = command("run", "--methods", "average", "--suite", suite, "--dry-run", "--out", tmp_path / "out")
    assert told.status == 0 and f"{module} is run, as zoo 'zoo' says" in told.out and mark.exists()
    assert "which is run" not in command("describe", "tiny").out


def naming(write, method, where):
    """A suite, or a study of one, that names a method's file; and who does."""
    settings = {"svc": {"start": method}}
    zoo = {"title": "t", "zoo": "tiny", "merge": ["landcover", "digits"]}
    if where == "suite":
        return ["--suite", write("two", **zoo, hyperparameters=settings)], "suite 'two'"
    if where == "nested":
        nested = {"svc": {"start": "svc", "start_settings": {"start": method}}}
        return ["--suite", write("two", **zoo, hyperparameters=nested)], "suite 'two'"
    suite = str(write("two", **zoo))
    if where == "zoo":
        fields = {"encoder": "mergebench.tasks.tiny.model:create_encoder", "weights": "mergebench.tasks.tiny:weights"}
        own = write("own", title="t", **fields, tasks=["landcover", "digits"], hyperparameters=settings)
        return ["--suite", suite, "--zoo", own], "zoo 'own'"
    study = {"title": "t", "suite": suite, "methods": ["average"]}
    study |= {
        "methods": {"methods": [method], "vary": {"weight": [1.0]}},
        "points": {"points": {"a": {"hyperparameters": {"start": method}}}},
        "vary": {"vary": {"start": [method]}},
        "hyperparameters": {"hyperparameters": settings, "points": {"a": {"methods": ["average"]}}},
    }[where]
    return ["--study", write("study", **study)], "study 'study'"


@pytest.mark.parametrize("where", ["suite", "nested", "zoo", "methods", "points", "vary", "hyperparameters"])
def test_a_method_s_file_that_yaml_names_is_not_run_without_a_word(write, method, mark, refused, tmp_path, where):
    asked, who = naming(write, method, where)
    more = [] if where == "methods" else ["--methods", "average"]
    line = refused("run", *asked, *more, "--dry-run", "--out", tmp_path / "out")
    assert f"{who} names code, {method}, which would be run; if you trust it, give --allow-code" in line
    assert not mark.exists()


@pytest.mark.parametrize("verb", [["tune", "ties"], ["merge", "--method", "average", "--output", "x.safetensors"]])
def test_other_verbs_ask_too(write, method, refused, tmp_path, verb, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "give --allow-code" in refused(*verb, *naming(write, method, "suite")[0])


def test_what_is_allowed_is_told_and_run(write, method, mark, command, tmp_path):
    asked, who = naming(write, method, "methods")
    told = command("describe", asked[1])
    assert f"{method}: run only with --allow-code" in " ".join(told.out.split()) and not mark.exists()
    told = command("run", *asked, "--allow-code", "--dry-run", "--out", tmp_path / "out")
    assert told.status == 0 and f"{method} is run, as {who} says" in told.out and mark.exists()


def test_methods_of_the_command_line_take_the_place_of_a_study_s(write, method, mark, command, tmp_path):
    asked, _ = naming(write, method, "methods")
    told = command("run", *asked, "--methods", method.replace("mine.py", "./mine.py"), "--dry-run", "--out", tmp_path)
    assert told.status == 0 and "is run, as" not in told.out and mark.exists()


@pytest.mark.parametrize("text", ["methods: [{0}]", "methods: all\nset: {{svc.start: {0}}}", "set: [a.start={0}]"])
def test_a_file_of_options_is_yaml_too(tmp_path, method, mark, refused, text):
    file = tmp_path / "run.yaml"
    file.write_text(text.format(method))
    line = refused("run", "--config", file, "--out", tmp_path / "out")
    assert f"--config {file} names code, " in line and "give --allow-code" in line and not mark.exists()
    file.write_text("allow-code: true\n" + text.format(method))
    assert "cannot allow itself to name code" in refused("run", "--config", file, "--out", tmp_path / "out")
