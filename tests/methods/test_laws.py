"""What holds for every registered method, whoever wrote it: inputs untouched, order irrelevant, same seed same bits."""

import copy

import pytest
import torch

import mergebench
from mergebench import PerTask, registry

METHODS = sorted(registry.methods())
SIZES = {"birds": (3, 2), "cars": (4,), "digits": (2, 2, 1)}
# Short versions of the long ones; everything else runs with its defaults.
QUICK = {"steps": 2, "shift_steps": 2}


def inputs(mini, dtype=torch.float32, expert_dtype=None):
    """Everything any method may need."""
    base = mini.encoder(dtype=dtype)
    experts = mini.experts(base)
    if expert_dtype is not None:
        experts = {t: {n: v.to(expert_dtype) for n, v in e.items()} for t, e in experts.items()}
    images = mini.calibration(SIZES, dtype)
    labelled = {t: [(b, torch.arange(len(b)) % 3) for b in batches] for t, batches in images.items()}
    return {"base": base, "experts": experts, "calibration": labelled, "test_inputs": images, "heads": mini.heads()}


def merge(name, given, **other):
    quick = {k: v for k, v in QUICK.items() if k in registry.methods()[name].hyperparameters}
    return mergebench.merge(name, **given, **quick, **other)


def tensors(value, path=""):
    """All tensors inside nested inputs or results, by path."""
    if isinstance(value, torch.Tensor):
        return {path: value}
    if isinstance(value, torch.nn.Module):
        value = value.state_dict()
    items = value.items() if isinstance(value, dict) else enumerate(value)
    return {p: t for key, item in items for p, t in tensors(item, f"{path}/{key}").items()}


def assert_same_bits(first, second):
    first, second = tensors(first), tensors(second)
    assert list(first) == list(second)
    for path, value in first.items():
        assert value.dtype == second[path].dtype, path
        assert torch.equal(value, second[path]), path


@pytest.mark.parametrize("name", METHODS)
def test_inputs_are_left_bit_for_bit_as_they_were(mini, name):
    given = inputs(mini)
    before = copy.deepcopy(given)
    result = merge(name, given)
    assert_same_bits(given, before)
    for value in tensors(result).values():  # nor does the result share memory with an input
        value.zero_()
    assert_same_bits(given, before)


@pytest.mark.parametrize("name", METHODS)
def test_the_base_module_keeps_its_mode_and_its_gradients(mini, name):
    given = inputs(mini)
    given["base"].train()
    for head in given["heads"].values():
        head.train()
    merge(name, given)
    assert given["base"].training
    assert all(m.training for m in given["base"].modules())
    assert all(h.training for h in given["heads"].values())
    assert all(p.requires_grad and p.grad is None for p in given["base"].parameters())


@pytest.mark.parametrize("name", METHODS)
def test_the_order_of_the_experts_does_not_matter(mini, name):
    given = inputs(mini)
    turned = {k: dict(reversed(v.items())) if isinstance(v, dict) else v for k, v in given.items()}
    assert list(turned["experts"]) == list(reversed(given["experts"]))
    first, second = merge(name, given), merge(name, turned)
    for path, value in tensors(first).items():
        assert torch.equal(value, tensors(second)[path]), path


@pytest.mark.parametrize("name", METHODS)
def test_same_seed_same_bits_whatever_torchs_own_generator_is_at(mini, name):
    given = inputs(mini)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        first = merge(name, given, seed=5)
        torch.manual_seed(2)
        state = torch.get_rng_state()
        second = merge(name, given, seed=5)
        assert torch.equal(torch.get_rng_state(), state)
    assert_same_bits(first, second)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("name", METHODS)
def test_the_bases_names_shapes_and_dtypes_are_kept(mini, name, dtype):
    # Images too are in the model's precision, as a script that works in half precision hands them in.
    given = inputs(mini, dtype)
    result = merge(name, given)
    for state in result.values() if isinstance(result, PerTask) else [result]:
        for key, value in given["base"].state_dict().items():
            assert state[key].dtype == dtype, key
            assert state[key].shape == value.shape, key
            assert torch.isfinite(state[key]).all(), key
        assert list(state) == list(given["base"].state_dict())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", METHODS)
def test_half_precision_experts_merge_into_a_single_precision_base(mini, name, dtype):
    rounded = inputs(mini, expert_dtype=dtype)
    widened = dict(rounded, experts={t: {n: v.float() for n, v in e.items()} for t, e in rounded["experts"].items()})
    # Widening is exact, so whoever computes in single precision cannot tell the two apart.
    assert_same_bits(merge(name, rounded), merge(name, widened))


@pytest.mark.parametrize("name", [n for n in METHODS if not registry.methods()[n].needs.base])
def test_methods_that_declare_no_base_do_not_depend_on_it(mini, name):
    given = inputs(mini)
    assert_same_bits(merge(name, given), merge(name, dict(given, base=mini.encoder(99))))


@pytest.mark.parametrize("name", METHODS)
def test_what_is_declared_is_enough(mini, name):
    given, needs = inputs(mini), registry.methods()[name].needs
    enough = {k: v for k, v in given.items() if k in ("base", "experts") or getattr(needs, k)}
    assert_same_bits(merge(name, enough), merge(name, given))


@pytest.mark.parametrize("name", METHODS)
def test_one_expert_alone_is_merged(mini, name):
    given = inputs(mini)
    alone = {k: {"cars": v["cars"]} if isinstance(v, dict) else v for k, v in given.items()}
    assert tensors(merge(name, alone))
