"""What the command line says of options that are wrong: the option, what it takes, what it got."""

import pytest
import yaml


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("run --methods ties --threads 0", "--threads: expected a whole number from 1, not 0"),
        ("run --methods ties --threads two", "--threads: expected a whole number from 1, not two"),
        ("run --methods ties --seeds -1", "--seeds: expected a whole number from 0, not -1"),
        ("run --methods ties --seeds 0 first", "--seeds: expected a whole number from 0, not first"),
        ("run --methods ties --hyperparameters 3", "--hyperparameters: Expected a dict. Got value: 3"),
        ("run --methods ties --only", "--only: expected at least one argument"),
        ("run --methods ties --seed-list 1", "unknown option '--seed-list'; did you mean '--seeds'"),
        ("run --config none.yaml", "--config: no such file: none.yaml"),
        ("finetune --task digits --output x --steps 1.5", "--steps: expected a whole number from 1, not 1.5"),
        ("finetune --task digits --output x --learning-rate 0", "--learning-rate: expected a number above 0, not 0"),
        ("finetune --task digits --output x --weight-decay -1", "--weight-decay: expected a number from 0, not -1"),
        ("merge --output x", "--method: required, but not given, as in: mergebench merge --method regmean++ --output"),
        ("describe", "name: required, but not given, as in: mergebench describe regmean++"),
        ("list methds", "what: cannot be 'methds'; did you mean 'methods'"),
        ("--quiet", "unknown option '--quiet'; there are: --help, --version"),
    ],
)
def test_options_that_are_wrong(refused, line, told):
    assert told in refused(*line.split())


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"threads": 0}, "--threads: expected a whole number from 1, not 0"),
        ({"seeds": [0, "one"]}, "--seeds: expected a whole number from 0, not one"),
        ({"thread": 1}, "unknown option '--thread'; did you mean '--threads'"),
    ],
)
def test_options_that_are_wrong_in_a_file(refused, tmp_path, content, told):
    path = tmp_path / "options.yaml"
    path.write_text(yaml.safe_dump(content))
    assert told in refused("run", "--config", path)
