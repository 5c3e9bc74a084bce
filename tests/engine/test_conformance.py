"""Every property of `mergebench check` is broken by a method that breaks nothing else, and kept by good ones."""

import re

import pytest
import torch

from mergebench import conformance, registry
from mergebench.candidate import Candidate, generator_states
from mergebench.errors import HyperparameterError, MergebenchError

PLUGIN = """
import random, sys, warnings
from typing import Any
import numpy as np
import torch
from jsonargparse.typing import ClosedUnitInterval
from mergebench import ModelPool, Needs, PerTask, StateDict, merge_method, start_from


def mean(pool):
    return pool.map_experts(lambda experts: experts.mean(0))


@merge_method("mine", title="Mine"{card})
def mine(pool: ModelPool{hyper}) -> StateDict:
    {body}
"""

FITS = "names, order, shapes and dtypes are the base's; all values are finite"
UNTOUCHED = "inputs are left bit for bit as they were, and share no memory with the result"
SEEDED = "same seed, same bits, wherever other generators stand; these are left there"
ORDER = "the order in which experts are given does not matter"
ENOUGH = "what the card declares is enough"
NOT_READ = "what the card does not declare is not read"
READ = "what the card declares is read"
COPIES = "copies of one expert give that expert"
PRECISION = "experts and base may be in half, bfloat16 or double precision"
NUMBER = "1, 2 and 20 experts are merged"
FROZEN = "what no expert changed stays the base's"
RANGES = "every end of the card's ranges gives a finite result"

BASE, HEADS, IMAGES = (f"needs=Needs({need}=True)" for need in ("base", "heads", "calibration"))
# The property -> (what the card says, hyper-parameters, the body, what is told).
BROKEN = [
    (FITS, "", "", "return dict(reversed(mean(pool).items()))", r"'norm.bias' stands where the base has 'cls_token'"),
    (
        FITS,
        "role='ceiling'",
        "",
        "return PerTask({t: pool.finish(pool.experts[t]) for t in pool.tasks[1:]})",
        r"there are states of task-01, task-02, but experts of task-00, task-01, task-02$",
    ),
    (
        UNTOUCHED,
        "",
        "",
        "pool._base._state['norm.bias'][3] += 1; return mean(pool)",
        r"^the base: 'norm.bias'\[3\] is \S+, but \S+ before the merge$",
    ),
    (
        UNTOUCHED,
        "",
        "",
        "pool._experts['task-00']._state['cls_token'].fill_(float('nan')); return pool.finish(pool.experts['task-01'])"
        " if len(pool.tasks) > 1 else pool.finish({n: torch.zeros(s) for n, s in pool.layout.shapes.items()})",
        r"^expert 'task-00': 'cls_token'\[0, 0, 0\] is nan, but \S+ before the merge$",
    ),
    (
        UNTOUCHED,
        BASE,
        "",
        "pool.base; return dict(pool._base._state)",
        r"^'cls_token' shares memory with the base: 'cls_token'$",
    ),
    (
        UNTOUCHED,
        "",
        "",
        "pool._architecture.eval(); return mean(pool)",
        r"^the base was in training mode, and is not after the merge$",
    ),
    (
        UNTOUCHED,
        HEADS,
        "",
        "pool.heads; pool._given['heads']['task-00'].eval(); return mean(pool)",
        r"^the head of 'task-00' was in training mode",
    ),
    (
        UNTOUCHED,
        "",
        "",
        "pool._architecture.norm.requires_grad_(False); return mean(pool)",
        r"^the base: 'norm.weight' takes no gradients any more after the merge$",
    ),
    (
        UNTOUCHED,
        "",
        "",
        "p = pool._architecture.norm.bias; p.grad = torch.zeros_like(p); return mean(pool)",
        r"^the base: 'norm.bias' has a gradient after the merge$",
    ),
    (
        SEEDED,
        BASE,
        "",
        "return pool.map_tensors(lambda base, experts: base + np.random.rand() * (experts - base).mean(0))",
        r"^'cls_token'\[\S+ \S+ \d+\] is \S+, but \S+ in another run of the same seed; draw from pool.generator\(\); "
        r"\d+ more tensors differ$",
    ),
    (
        SEEDED,
        BASE,
        "",
        "torch.seed(); return pool.map_tensors(lambda base, experts: base + torch.rand(()) * (experts - base).mean(0))",
        r"in another run of the same seed",
    ),
    (SEEDED, "", "", "np.random.seed(0); return mean(pool)", r"^NumPy's global generator was moved; draw from pool"),
    (SEEDED, "", "", "random.random(); return mean(pool)", r"^Python's global generator was moved"),
    (
        ORDER,
        HEADS,
        "",
        "pool.heads; return pool.finish(pool.experts[next(iter(pool._given['heads']))])",
        r"^'cls_token'\[\S+ \S+ \d+\] is \S+, but \S+ in the opposite order; \d+ more tensors differ$",
    ),
    (
        ENOUGH,
        "",
        "",
        "pool._given['heads'][pool.tasks[0]]; return mean(pool)",
        r"^given experts alone: KeyError: 'task-00' \(line 16\)$",
    ),
    (
        ENOUGH,
        "needs_when={('mode', 'b'): Needs(base=True)}",
        "mode: str = 'a'",
        "if mode == 'b': pool.base, pool._given['heads'][pool.tasks[0]]\n    return mean(pool)",
        r"^given experts, base \(with mode=b\) alone: KeyError: 'task-00' \(line 16\)$",
    ),
    (
        NOT_READ,
        "",
        "",
        "return pool.map_names(lambda name: pool._architecture.state_dict()[name])",
        r"^'cls_token'.* with other base, which it does not declare; \d+ more",
    ),
    (
        NOT_READ,
        IMAGES,
        "",
        "list(pool.calibration('task-00', 4)); (_, labels), *_ = pool._given['calibration']['task-00'].once(4, 4)\n"
        "    task = pool.tasks[(0 if labels is None else int(labels[0])) % len(pool.tasks)]\n"
        "    return pool.finish(pool.experts[task])",
        r" with other labels, which it does not declare; ",
    ),
    (READ, BASE, "", "return mean(pool)", r"^base is declared, but never read: the leaderboard would show it$"),
    (
        READ,
        "needs=Needs(calibration=True, labels=True)",
        "",
        "list(pool.calibration(pool.tasks[0], 4)); return mean(pool)",
        r"^labels is declared, but never read: ",
    ),
    (
        READ,
        "needs_when={('mode', 'b'): Needs(heads=True)}",
        "mode: str = 'a'",
        "return mean(pool)",
        r"^heads is declared, but never read with mode=b: ",
    ),
    (READ, "starts='start'", "start: str = 'ties'", "return mean(pool)", r"^base is declared, but never read: "),
    (
        READ,
        f"starts='start', {HEADS}",
        "start: str = 'ties'",
        "return start_from(pool, start)",
        r"^heads is declared, but never read: ",
    ),
    (
        COPIES,
        f"idempotent=True, {BASE}",
        "",
        "return pool.map_tensors(lambda base, experts: base + 0.3 * (experts - base).sum(0))",
        r"^'cls_token'.* in every expert; \d+ more tensors differ$",
    ),
    (
        COPIES,
        f"idempotent=True, {BASE}",
        "",
        "return pool.map_tensors(lambda base, experts: experts[0] - 1e-3 * (experts[-1] - base))",
        r" in every expert; ",
    ),
    (
        PRECISION,
        "",
        "",
        "return {name: value.float() for name, value in mean(pool).items()}",
        r"^experts, base and images in float16: the result: 'cls_token' is torch.float32, but torch.float16 in the",
    ),
    (
        PRECISION,
        "",
        "",
        "return pool.map_names(lambda name: sum(e._state[name] / len(pool.tasks) for e in pool._experts.values()))",
        r"^experts in float16 and bfloat16, the base in float32: 'cls_token'.* from the same values in float32; ",
    ),
    (
        NUMBER,
        "",
        "",
        "first, *_ = pool.tasks; pool.tasks[1]; return mean(pool)",
        r"^1 expert: IndexError: tuple index out of range \(line 16\)$",
    ),
    (
        NUMBER,
        "",
        "",
        "if len(pool.tasks) > 8: raise ValueError('too many\\n  of them')\n    return mean(pool)",
        r"^20 experts: ValueError: too many of them \(line 16\)$",
    ),
    (
        FROZEN,
        "",
        "",
        "return pool.map_experts(lambda experts: 1.0001 * experts.mean(0))",
        r"^blocks.0.attn.qkv.weight frozen: 'blocks.0.attn.qkv.weight'\[\d+, \d+\] is \S+, but \S+ in base and exp",
    ),
    (
        FROZEN,
        BASE,
        "",
        "changes = torch.cat([pool.vectors(n).flatten() for n in pool.layout.floating]); changes.any() or sys.exit(3)\n"
        "    return pool.map_tensors(lambda base, experts: experts.mean(0))",
        r"^all experts equal to the base: SystemExit: 3 \(line 16\)$",
    ),
    (
        RANGES,
        "ranges={'scaling': (0.5, 2.0)}",
        "scaling: ClosedUnitInterval = 0.5",
        "return mean(pool)",
        r"^scaling=2.0: hyper-parameter scaling=2.0 is not of type ClosedUnitInterval \(default 0.5\)$",
    ),
    (
        RANGES,
        "ranges={'steps': (0.5, 100)}",
        "steps: int = 10",
        "return mean(pool)",
        r"^steps=0.5: hyper-parameter steps=0.5 is not of type int",
    ),
    (
        RANGES,
        f"ranges={{'share': (0.0, 0.5)}}, {BASE}",
        "share: float = 0.5",
        "return pool.map_tensors(lambda base, experts: base + (experts - base).sum(0) * torch.tensor(share).log())",
        r"^share=0.0: the result: 'cls_token' holds 32 values that are NaN or infinite$",
    ),
    (
        RANGES,
        "ranges={'mode': ('a', 'b')}",
        "mode: str = 'a'",
        "if mode == 'b': raise KeyError(mode)\n    return mean(pool)",
        r"^mode=b: KeyError: 'b' \(line 16\)$",
    ),
]


@pytest.fixture
def candidate(tmp_path):
    """Makes a plug-in file and gives its method as a candidate."""

    def make(card="", hyper="", body="return mean(pool)", **given):
        path = tmp_path / f"mine{len(list(tmp_path.iterdir()))}.py"
        path.write_text(PLUGIN.format(card=card and f", {card}", hyper=hyper and f", *, {hyper}", body=body))
        return Candidate(registry.method(str(path)), given)

    return make


def findings(candidate):
    return {f.title: (f.status, f.detail) for f in conformance.check(candidate)}


def failures(candidate):
    return {title: detail for title, (status, detail) in findings(candidate).items() if status == "FAIL"}


def test_every_property_is_broken_by_some_method_here():
    assert [p.title for p in conformance.PROPERTIES] == list(dict.fromkeys(title for title, *_ in BROKEN))


@pytest.mark.parametrize("number", range(len(BROKEN)), ids=[f"{t[:28]}-{i}" for i, (t, *_) in enumerate(BROKEN)])
def test_a_method_that_breaks_one_property_fails_that_one_alone(candidate, number):
    title, card, hyper, body, told = BROKEN[number]
    failed = failures(candidate(card, hyper, body))
    assert list(failed) == [title], failed
    assert re.search(told, failed[title]), failed[title]
    assert "\n" not in failed[title]


GOOD = {
    "the average": ("", "", "return mean(pool)"),
    "copies give the copy": ("idempotent=True", "", "return mean(pool)"),
    "exactly two": ("experts=2", "", "first, second = pool.tasks; return mean(pool)"),
    "one model per task": (
        "role='ceiling', idempotent=True",
        "",
        "return PerTask({t: pool.finish(e) for t, e in pool.experts.items()})",
    ),
    "torch's own generator": (
        BASE,
        "",
        "return pool.map_tensors(lambda base, experts: base + torch.rand(()) * (experts - base).mean(0))",
    ),
    "a start that reads what the card does not name": (
        "starts='start'",
        "start: str = 'ties', start_settings: dict[str, Any] | None = None",
        "return start_from(pool, start, start_settings)",
    ),
    "needs that depend on a hyper-parameter, and ranges": (
        "needs=Needs(calibration=True), needs_when={('mode', 'b'): Needs(base=True), ('mode', 'c'): Needs()}, "
        "ranges={'mode': ('a', 'b'), 'weight': (0, 1)}",
        "mode: str = 'a', weight: float = 0.5",
        "mode == 'b' and pool.base; mode == 'a' and list(pool.calibration(pool.tasks[0], 4)); return mean(pool)",
    ),
    "words and warnings": (
        "",
        "",
        "print('loud'); print('loud', file=sys.stderr); warnings.warn('loud'); return mean(pool)",
    ),
}


@pytest.mark.parametrize("good", GOOD)
def test_a_method_that_keeps_every_property_passes(candidate, good, capfd, recwarn):
    before = generator_states()
    assert failures(candidate(*GOOD[good])) == {}
    assert generator_states() == before
    assert "loud" not in "".join(capfd.readouterr()) and not recwarn.list


def test_what_does_not_apply_says_why(candidate):
    found = findings(candidate())
    assert {title: detail for title, (status, detail) in found.items() if status == "-"} == {
        READ: "it declares no needs",
        COPIES: "the card does not say idempotent=True",
        RANGES: "the card gives no ranges",
    }
    assert findings(candidate("experts=2"))[NUMBER] == ("ok", "only 2, as the card says")
    restless = "torch.seed(); return pool.map_experts(lambda experts: experts.mean(0) + torch.rand(()))"
    found = findings(candidate(body=restless))
    assert [found[title] for title in (ORDER, NOT_READ, PRECISION)] == 3 * [
        ("-", "two runs on the same inputs differ already")
    ]


def test_a_method_that_always_raises_fails_everything_that_applies(candidate):
    found = findings(candidate(body="return pool.heads"))
    assert {status for title, (status, _) in found.items() if title not in (READ, COPIES, RANGES)} == {"FAIL"}
    assert found[FITS][1].startswith("method 'mine' reads heads, which it did not declare: add needs=")


def test_long_methods_are_shortened_and_so_is_what_they_start_from(candidate):
    hyper = "steps: int = 10**9, samples: int = 10**6, start: str = 'adamerging', start_settings: dict | None = None"
    body = "return start_from(pool, start, start_settings)"
    resolved = candidate("starts='start'", hyper, body).resolve()
    assert (resolved["steps"], resolved["samples"], resolved["start_settings"]["steps"]) == (2, 4, 2)
    assert resolved["start_settings"]["lr"] == 1e-3, "nothing else is changed"
    given = candidate("starts='start'", hyper, body, steps=5, start_settings={"steps": 7}).resolve()
    assert (given["steps"], given["samples"], given["start_settings"]["steps"]) == (5, 4, 7)
    assert candidate("", "steps: int = 1").resolve() == {"steps": 1}


def test_to_lend_a_start_what_it_may_read_is_not_to_read_it(candidate, tmp_path):
    start = tmp_path / "start.py"
    start.write_text(PLUGIN.format(card=f", {BASE}", hyper="", body="return mean(pool)").replace("mine", "start"))
    made = candidate("starts='start'", "start: str = 'average'", "return start_from(pool, start)", start=str(start))
    assert failures(made) == {READ: "base is declared, but never read: the leaderboard would show it"}


def test_the_ends_of_a_range_of_steps_are_not_run(candidate):
    made = candidate(
        "ranges={'steps': (1, 1000000000)}", "steps: int = 10", "sum(1 for _ in range(steps)); return mean(pool)"
    )
    assert findings(made)[RANGES] == ("ok", "")


def test_settings_hold_in_every_run(candidate):
    body = "if weight > 1: raise ValueError(weight)\n    return mean(pool)"
    assert failures(candidate("", "weight: float = 0.5", body)) == {}
    assert failures(candidate("", "weight: float = 0.5", body, weight=2))[FITS] == "ValueError: 2.0 (line 16)"


def test_settings_that_do_not_fit_and_files_that_do_not_import_are_refused(candidate):
    with pytest.raises(HyperparameterError, match="'mine' has no hyper-parameter 'wait'"):
        candidate("", "weight: float = 0.5", wait=1)
    with pytest.raises(MergebenchError, match="importing .* failed: ZeroDivisionError"):
        candidate(body="pass\n\n1 / 0")


def test_the_seed_decides_the_models():
    first, again, other = (Candidate(registry.method("average"), seed=seed).inputs() for seed in (0, 0, 1))
    assert torch.equal(first.base.cls_token, again.base.cls_token)
    assert not torch.equal(first.base.cls_token, other.base.cls_token)
