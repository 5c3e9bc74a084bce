"""`merge` checks what goes in, `run_method` what comes out."""

import pytest
import torch

import mergebench
from mergebench import ModelPool, Needs, PerTask, StateDict, merge_method
from mergebench.errors import CheckpointError, HyperparameterError, MergebenchError, MethodError, UnknownNameError


def spoil(change, role="method"):
    """A method that returns the average after `change(state)`; what that returns is returned, unless None."""

    @merge_method("spoiler", title="Spoiler", needs=Needs(), role=role)
    def spoiler(pool: ModelPool) -> StateDict:
        state = pool.map_experts(lambda experts: experts.mean(0))
        changed = change(state)
        return state if changed is None else changed

    return spoiler


def put(name, value):
    return lambda state: state.update({name: value(state)})


BROKEN = {
    "a missing tensor": (
        lambda s: {n: t for n, t in s.items() if n != "norm.bias"},
        r"lacks 'norm.bias', which is \(32,\) in the base",
    ),
    "an extra tensor": (put("head.weight", lambda s: torch.ones(2)), r"has 'head.weight' \(2,\), which the base lacks"),
    "a wrong shape": (put("norm.bias", lambda s: torch.ones(31)), r"'norm.bias' is \(31,\), but \(32,\) in the base"),
    "a wrong dtype": (
        put("norm.bias", lambda s: s["norm.bias"].double()),
        r"'norm.bias' is torch.float64, but torch.float32 in the base",
    ),
    "NaN": (put("norm.bias", lambda s: torch.full((32,), torch.nan)), r"'norm.bias' holds 32 values that are NaN"),
    "infinity": (put("norm.bias", lambda s: s["norm.bias"] / 0), r"'norm.bias' holds 32 values that are NaN or inf"),
    "no state dict": (lambda s: [1, 2], r"is a list, not a state dict"),
    "one model per task": (lambda s: PerTask({"cars": s}), r"returned one model per task; only role='ceiling' may"),
}


@pytest.mark.parametrize("broken", BROKEN)
def test_a_result_that_breaks_the_contract_is_refused(mini, broken):
    base = mini.encoder()
    change, message = BROKEN[broken]
    with pytest.raises(MethodError, match=message) as caught:
        mini.run(spoil(change), base, mini.experts(base))
    assert "method 'spoiler'" in str(caught.value)


def test_the_average_itself_is_accepted(mini):
    base = mini.encoder()
    mini.run(spoil(lambda state: None), base, mini.experts(base))


def test_every_model_of_a_ceiling_is_checked(mini):
    base = mini.encoder()
    bad = spoil(lambda s: PerTask({"birds": s, "cars": dict(s, cls_token=s["cls_token"] / 0)}), role="ceiling")
    with pytest.raises(MethodError, match=r"for task 'cars': 'cls_token' holds 32 values"):
        mini.run(bad, base, mini.experts(base))


def test_a_method_that_draws_from_torchs_own_generator_is_seeded_and_leaves_it_alone(mini):
    base = mini.encoder()
    experts = mini.experts(base)
    noisy = spoil(put("norm.bias", lambda s: torch.rand(32)))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        first = mini.run(noisy, base, experts, seed=0)[0]["norm.bias"]
        torch.manual_seed(2)
        state = torch.get_rng_state()
        second = mini.run(noisy, base, experts, seed=0)[0]["norm.bias"]
        assert torch.equal(torch.get_rng_state(), state)
        other = mini.run(noisy, base, experts, seed=1)[0]["norm.bias"]
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_experts_that_do_not_fit_are_refused_by_name(mini):
    base = mini.encoder()
    experts = mini.experts(base)
    experts["cars"]["norm.bias"] = torch.zeros(16)
    with pytest.raises(CheckpointError, match=r"expert 'cars': 'norm.bias' is \(16,\), but \(32,\) in the base"):
        mergebench.merge("average", base, experts)


def test_a_base_with_nan_is_refused(mini):
    base = mini.encoder()
    experts = mini.experts(base)
    base.norm.bias.data[3] = torch.nan
    with pytest.raises(CheckpointError, match=r"the base: 'norm.bias' holds 1 values"):
        mergebench.merge("average", base, experts)


def test_unknown_methods_and_hyper_parameters_show_the_nearest(mini):
    base = mini.encoder()
    experts = mini.experts(base)
    with pytest.raises(UnknownNameError, match=r"unknown method 'regmaen'; did you mean .*'regmean'"):
        mergebench.merge("regmaen", base, experts)
    with pytest.raises(HyperparameterError, match=r"'ties' has no hyper-parameter 'densty'; did you mean 'density'\?"):
        mergebench.merge("ties", base, experts, densty=0.1)


@pytest.mark.parametrize(
    ("batches", "message"),
    [
        ([], r"batches of task 'cars' are empty"),
        ([torch.zeros(0, 3, 32, 32)], r"'cars'.* empty"),
        (torch.zeros(2, 3, 32, 32), r"a batch of task 'cars' is \(3, 32, 32\); expected images \[B, 3, H"),
        ([torch.full((1, 3, 32, 32), torch.nan)], r"batch of task 'cars' holds values that are NaN or infinite"),
        (["cars.jpg"], r"a batch of task 'cars' is str; expected images"),
    ],
)
def test_calibration_that_is_no_image_batch_is_refused(mini, batches, message):
    base = mini.encoder()
    calibration = dict(mini.calibration(), cars=batches)
    with pytest.raises(MergebenchError, match=message):
        mergebench.merge("regmean", base, mini.experts(base), calibration=calibration)


def test_calibration_may_be_a_generator(mini):
    base = mini.encoder()
    experts, images = mini.experts(base), mini.calibration()
    listed = mergebench.merge("regmean++", base, experts, calibration=images)
    generated = mergebench.merge("regmean++", base, experts, calibration={t: iter(b) for t, b in images.items()})
    assert all(torch.equal(listed[n], generated[n]) for n in listed)


def test_a_method_of_ones_own_file_is_merged_with(mini, tmp_path):
    (tmp_path / "mine.py").write_text(
        "from mergebench import ModelPool, Needs, StateDict, merge_method\n\n\n"
        '@merge_method("my_merge", title="Mine", needs=Needs(base=True))\n'
        "def my_merge(pool: ModelPool, *, scaling: float = 1.0) -> StateDict:\n"
        "    return pool.map_tensors(lambda base, experts: base + scaling * (experts - base).mean(0))\n"
    )
    base = mini.encoder(dtype=torch.float64)
    experts = mini.experts(base)
    merged = mergebench.merge(f"{tmp_path}/mine.py:my_merge", base, experts, scaling=0.5)
    for name, start in base.state_dict().items():
        expected = start + 0.5 * sum(e[name] - start for e in experts.values()) / 3
        torch.testing.assert_close(merged[name], expected, rtol=1e-12, atol=1e-13)
