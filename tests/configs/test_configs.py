"""Every shipped suite and zoo is valid and means what its parts mean."""

import pytest

from mergebench import discovery, hyperparameters, registry
from mergebench.configuration import read_suite, read_zoo
from mergebench.tasks.tiny import TASKS, model
from mergebench.zoo import Zoo


@pytest.mark.parametrize("name", registry.config_files("suites"))
def test_a_suites_tasks_are_the_zoos_and_its_settings_the_methods(name):
    suite = read_suite(name)
    zoo = read_zoo(suite.zoo)
    assert set(suite.merge) | set(suite.evaluated) <= set(zoo.tasks)
    for method, settings in suite.hyperparameters.items():
        hyperparameters.resolve(discovery.load_function(registry.method(method)), settings)


@pytest.mark.parametrize("name", registry.config_files("zoos"))
def test_a_zoos_weights_are_whole_and_fit_its_encoder(name):
    zoo = Zoo(name)
    digests = zoo.digests(zoo.config.tasks, zoo.config.tasks)
    assert len(digests) == 1 + 2 * len(zoo.config.tasks)
    # An expert that equals the base, or another expert, would be a file written in the wrong place.
    experts = [d for n, d in digests.items() if not n.startswith("heads/")]
    assert len(set(experts)) == len(experts)


def test_the_tiny_zoo_normalises_as_its_encoder_was_trained():
    config = read_zoo("tiny")
    assert (config.mean, config.std) == (model.MEAN, model.STD)
    assert config.tasks == list(TASKS)
