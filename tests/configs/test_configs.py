"""Every shipped suite and zoo is valid and means what its parts mean."""

import pytest

from mergebench.catalogue import discovery, registry
from mergebench.catalogue.yaml_files import read_suite, read_zoo
from mergebench.merging import hyperparameters
from mergebench.suites.bench import Bench
from mergebench.tasks.tiny import TASKS, model
from mergebench.weights.states import digest
from mergebench.zoo.zoo import Zoo


@pytest.mark.parametrize("name", registry.config_files("suites"))
def test_a_suites_tasks_are_the_zoos_and_its_settings_the_methods(name):
    suite, bench = read_suite(name), Bench(name)
    for variant in bench.variants:
        assert set(variant.merged) | set(variant.evaluate) <= set(bench.zoo.config.tasks)
    for method, settings in suite.hyperparameters.items():
        hyperparameters.resolve(discovery.load_function(registry.method(method)), settings)


def embedded(name):
    """Whether the weights come with the package: the zoo's own, or those of the zoo whose base it shares."""
    zoo = read_zoo(name)
    return zoo.weights or (zoo.base in registry.config_files("zoos") and embedded(zoo.base))


def test_embedded_zoos_are_found():
    assert {"tiny", "tiny-lora"} == set(filter(embedded, registry.config_files("zoos")))


@pytest.mark.parametrize("name", [n for n in registry.config_files("zoos") if embedded(n)])
def test_a_zoos_weights_are_whole_and_fit_its_encoder(name):
    zoo = Zoo(name)
    assert all(zoo.head(task).logit_scale > 0 for task in zoo.config.tasks)
    # An expert that equals the base, or another expert, would be a file written in the wrong place.
    digests = [digest(state) for state in (zoo.base, *map(zoo.expert, zoo.config.tasks))]
    assert len(set(digests)) == len(digests)


def test_the_tiny_zoo_normalises_as_its_encoder_was_trained():
    config = read_zoo("tiny")
    assert (config.mean, config.std) == (model.MEAN, model.STD)
    assert config.tasks == list(TASKS)
