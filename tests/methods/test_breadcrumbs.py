"""Model Breadcrumbs: against NumPy's sort, for layers and for rows, and its limits."""

import numpy as np
import pytest
import torch

import mergebench


@pytest.fixture(scope="module")
def case(mini):
    base = mini.encoder(dtype=torch.float64)
    return base, mini.experts(base)


def middle(row, density, outliers):
    """A row of distinct magnitudes without its largest ones and all but the next largest."""
    above = int(round(outliers * row.size, 6))
    places = np.argsort(-np.abs(row))[above : above + int(round(density * row.size, 6))]
    kept = np.zeros_like(row)
    kept[places] = row[places]
    return kept


@pytest.mark.parametrize("granularity", ["layer", "row"])
@pytest.mark.parametrize(("density", "outliers"), [(0.15, 0.006), (0.5, 0.1), (0.9, 0.4)])
def test_equals_a_numpy_implementation(case, granularity, density, outliers):
    base, experts = case
    settings = {"density": density, "outliers": outliers, "granularity": granularity}
    merged = mergebench.merge("breadcrumbs", base, experts, scaling=0.4, **settings)
    for name, value in base.state_dict().items():
        start = value.numpy()
        total = np.zeros(start.size)
        for expert in experts.values():
            vector = expert[name].numpy() - start
            rows = vector.reshape(
                1 if granularity == "layer" else -1, start.size if granularity == "layer" else start.shape[-1]
            )
            total += np.concatenate([middle(row, density, outliers) for row in rows])
        expected = start + 0.4 * total.reshape(start.shape)
        np.testing.assert_allclose(merged[name].numpy(), expected, rtol=1e-12, atol=1e-14, err_msg=name)


def test_the_defaults_are_those_of_the_released_code(case):
    base, experts = case
    told = {"scaling": 0.2, "density": 0.15, "outliers": 0.006, "granularity": "layer"}
    first, second = (mergebench.merge("breadcrumbs", base, experts, **s) for s in ({}, told))
    assert all(torch.equal(first[n], second[n]) for n in first)


def test_with_nothing_dropped_it_is_task_arithmetic(case):
    base, experts = case
    plain = mergebench.merge("task_arithmetic", base, experts, scaling=0.3)
    for granularity in ("layer", "row"):
        settings = {"scaling": 0.3, "density": 1, "outliers": 0, "granularity": granularity}
        for name, value in mergebench.merge("breadcrumbs", base, experts, **settings).items():
            torch.testing.assert_close(value, plain[name], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("settings", [{"density": 0}, {"outliers": 1}])
def test_with_all_dropped_it_is_the_base(case, settings):
    base, experts = case
    merged = mergebench.merge("breadcrumbs", base, experts, **settings)
    assert all(torch.equal(merged[n], t) for n, t in base.state_dict().items())


def test_what_no_expert_changed_stays(mini):
    base = mini.encoder()
    start = base.state_dict()
    frozen = "blocks.0.attn.qkv.weight"
    experts = {t: {**e, frozen: start[frozen]} for t, e in mini.experts(base).items()}
    assert torch.equal(mergebench.merge("breadcrumbs", base, experts)[frozen], start[frozen])


@pytest.mark.parametrize("wrong", [{"density": 1.5}, {"outliers": -0.1}, {"granularity": "column"}])
def test_values_that_mean_nothing_are_refused(case, wrong):
    with pytest.raises(mergebench.errors.HyperparameterError, match=next(iter(wrong))):
        mergebench.merge("breadcrumbs", *case, **wrong)
