"""Methods that start from another method's result: what they are lent, and what they must declare for it."""

from typing import Any

import pytest
import torch

import mergebench
from mergebench import ModelPool, Needs, StateDict, merge_method, start_from
from mergebench.catalogue import registry
from mergebench.errors import MergebenchError, MethodError, NeedsError
from mergebench.merging.method import MethodCard
from mergebench.running.plan import RunRequest, make_plan


@merge_method("doubled", title="Doubled", needs=Needs(), starts="start")
def doubled(pool: ModelPool, *, start: str = "average", start_settings: dict[str, Any] | None = None) -> StateDict:
    """Twice what the start gives."""
    begun = start_from(pool, start, start_settings)
    return pool.map_names(lambda name: 2 * begun[name])


PLUGIN = """
from typing import Any
from mergebench import ModelPool, Needs, StateDict, merge_method, start_from


@merge_method("doubled", title="Doubled", needs=Needs(), starts="start")
def doubled(pool: ModelPool, *, start: str = "average", start_settings: dict[str, Any] | None = None) -> StateDict:
    begun = start_from(pool, start, start_settings)
    return pool.map_names(lambda name: 2 * begun[name])
"""


@pytest.fixture
def plugin(tmp_path):
    (tmp_path / "doubled.py").write_text(PLUGIN)
    return f"{tmp_path / 'doubled.py'}:doubled"


def test_the_start_is_what_that_method_gives_by_itself(mini, plugin):
    base = mini.encoder()
    experts = mini.experts(base)
    for start, settings in (("average", {}), ("ties", {"density": 0.5}), ("dare", {"rate": 0.3})):
        alone = mergebench.merge(start, base, experts, seed=3, **settings)
        made = mergebench.merge(plugin, base, experts, seed=3, start=start, start_settings=settings)
        assert all(torch.equal(made[name], 2 * value) for name, value in alone.items())


def test_its_needs_are_those_of_the_start_under_its_settings(plugin):
    card = registry.method(plugin)
    assert registry.needs_of(card, {}) == Needs()
    assert registry.needs_of(card, {"start": "ties"}) == Needs(base=True)
    assert registry.needs_of(card, {"start": "regmean++"}) == Needs(base=True, calibration=True, blocks=True)
    settings = {"start": "regmean++", "start_settings": {"final_norm": "average"}}
    assert registry.needs_of(card, settings) == Needs(calibration=True, blocks=True)


def test_a_start_reads_no_more_than_the_card_covers(mini):
    @merge_method("sly", title="Sly", needs=Needs(), starts="start")
    def sly(pool: ModelPool, *, start: str = "average") -> StateDict:
        return start_from(pool, "ties")

    base = mini.encoder()
    with pytest.raises(NeedsError, match="'sly' reads base"):
        mini.run(sly, base, mini.experts(base))


def test_a_start_that_is_not_declared_is_refused(mini):
    @merge_method("sly", title="Sly", needs=Needs(base=True))
    def sly(pool: ModelPool) -> StateDict:
        return start_from(pool, "ties")

    base = mini.encoder()
    with pytest.raises(NeedsError, match="starting from 'ties' must be declared: add starts="):
        mini.run(sly, base, mini.experts(base))


def test_nothing_starts_from_one_model_per_task(mini):
    @merge_method("sly", title="Sly", needs=Needs(base=True), starts="start")
    def sly(pool: ModelPool, *, start: str = "average") -> StateDict:
        return start_from(pool, "finetuned")

    base = mini.encoder()
    with pytest.raises(MethodError, match="'finetuned' is one model per task: nothing can start from it"):
        mini.run(sly, base, mini.experts(base))


@pytest.mark.parametrize("settings", [("ties", None), ("average", {"weights": {"cars": 1}})])
def test_a_start_other_than_the_hyper_parameters_say_is_refused(settings, mini):
    @merge_method("sly", title="Sly", needs=Needs(base=True), starts="start")
    def sly(pool: ModelPool, *, start: str = "average") -> StateDict:
        return start_from(pool, *settings)

    base = mini.encoder()
    with pytest.raises(NeedsError, match=r"start_from\('.*\): the hyper-parameters say 'average', {}; hand in those"):
        mini.run(sly, base, mini.experts(base))


def test_what_the_start_reports_stands_beside_what_the_method_reports(mini):
    base = mini.encoder()
    calibration = mini.calibration()
    _, pool = mini.run(doubled, base, mini.experts(base), calibration=calibration, start="regmean")
    assert pool.diagnostics["start"]["condition"]


def test_what_cannot_be_started_from_is_refused(plugin):
    card = registry.method(plugin)
    for start in ("finetuned", plugin):
        with pytest.raises(MergebenchError, match="method 'doubled' cannot start from"):
            registry.needs_of(card, {"start": start})
    with pytest.raises(MergebenchError, match="unknown method 'tiess'; did you mean 'ties'"):
        registry.needs_of(card, {"start": "tiess"})


def test_a_default_that_is_no_literal_is_refused(tmp_path):
    path = tmp_path / "named.py"
    path.write_text('BEGIN = "average"\n' + PLUGIN.replace('start: str = "average"', "start: str = BEGIN"))
    with pytest.raises(MergebenchError, match="the default of 'start' must be a literal, not BEGIN"):
        registry.needs_of(registry.method(str(path)), {})


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"start": "ties", "start_settings": {"densty": 0.1}}, "no hyper-parameter 'densty'; did you mean 'density'"),
        ({"start": "svc", "start_settings": {"start": "tiess"}}, "unknown method 'tiess'"),
        ({"start": "slerp"}, "nothing to run for 'svc': slerp merges 2 experts, not 3"),
        ({"start": "multitask"}, "nothing to run for 'svc': zoo 'tiny' has no model trained on these 3 tasks"),
    ],
)
def test_a_plan_checks_the_start_and_what_is_set_of_it(write, settings, told):
    suite = write("suite", title="t", zoo="tiny", merge=["digits", "signs", "aerial"])
    method = "featcal" if settings["start"] == "svc" else "svc"
    with pytest.raises(MergebenchError, match=told):
        make_plan(RunRequest([method], suite, hyperparameters={method: settings}))


def test_a_card_that_speaks_of_no_hyper_parameter_is_refused():
    for wrong in ({"starts": "begin"}, {"ranges": {"scale": (0, 1)}}):
        with pytest.raises(MergebenchError, match="which is no hyper-parameter"):
            merge_method("odd", title="Odd", **wrong)(lambda pool: {})
    with pytest.raises(MergebenchError, match="fidelity='rumour' is not one of paper, released code, re-derived"):
        merge_method("odd", title="Odd", fidelity="rumour")(lambda pool: {})


def test_needs_add_up():
    assert Needs(base=True) | Needs(heads=True) == Needs(base=True, heads=True)
    assert MethodCard("a", "A", needs=Needs(base=True)).needs_for({}) == Needs(base=True)
