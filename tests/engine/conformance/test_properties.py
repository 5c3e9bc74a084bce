"""Every property of `mergebench check` is broken by a method that breaks nothing else, and kept by good ones."""

import re

import pytest
import torch

from mergebench.catalogue import registry
from mergebench.conformance import properties as conformance
from mergebench.conformance.candidate import Candidate, generator_states, generators_kept, set_generators
from mergebench.errors import HyperparameterError, MergebenchError
from mergebench.merging.method import MethodCard

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
NOTHING = "experts that are all the base give the base"
PRECISION = "experts and base may be in half, bfloat16 or double precision"
NUMBER = "1, 2 and 20 experts are merged"
FROZEN = "what no expert changed stays the base's"
RANGES = "every end of the card's ranges gives a finite result"

BASE, HEADS, IMAGES = (f"needs=Needs({need}=True)" for need in ("base", "heads", "calibration"))
# The property, what is told of the method that breaks it, its body, what its card says, its hyper-parameters.
BROKEN = [
    (FITS, r"'norm.bias' stands where the base has 'cls_token'", "return dict(reversed(mean(pool).items()))"),
    (
        FITS,
        r"there are states of task-01, task-02, but experts of task-00, task-01, task-02$",
        "return PerTask({t: pool.finish(pool.experts[t]) for t in pool.tasks[1:]})",
        "role='ceiling'",
    ),
    (
        UNTOUCHED,
        r"^the base: 'norm.bias'\[3\] is \S+, but \S+ before the merge$",
        "pool._base._state['norm.bias'][3] += 1; return mean(pool)",
    ),
    (
        UNTOUCHED,
        r"^expert 'task-00': 'cls_token'\[0, 0, 0\] is nan, but \S+ before the merge$",
        "pool._experts['task-00']._state['cls_token'].fill_(float('nan')); return pool.finish(pool.experts['task-01'])"
        " if len(pool.tasks) > 1 else pool.finish({n: torch.zeros(s) for n, s in pool.layout.shapes.items()})",
    ),
    (
        UNTOUCHED,
        r"^'cls_token' shares memory with the base: 'cls_token'$",
        "pool.base; return dict(pool._base._state)",
        BASE,
    ),
    (
        UNTOUCHED,
        r"^the base was in training mode, and is not after the merge$",
        "pool._architecture.eval(); return mean(pool)",
    ),
    (
        UNTOUCHED,
        r"^the head of 'task-00' was in training mode",
        "pool.heads; pool._given['heads']['task-00'].eval(); return mean(pool)",
        HEADS,
    ),
    (
        UNTOUCHED,
        r"^the base: 'norm.weight' takes no gradients any more after the merge$",
        "pool._architecture.norm.requires_grad_(False); return mean(pool)",
    ),
    (
        UNTOUCHED,
        r"^the base: 'norm.bias' has a gradient after the merge$",
        "p = pool._architecture.norm.bias; p.grad = torch.zeros_like(p); return mean(pool)",
    ),
    (
        SEEDED,
        r"^'cls_token'\[\S+ \S+ \d+\] is \S+, but \S+ in another run of the same seed; draw from pool.generator\(\); "
        r"\d+ more tensors differ$",
        "return pool.map_tensors(lambda base, experts: base + np.random.rand() * (experts - base).mean(0))",
        BASE,
    ),
    (
        SEEDED,
        r"in another run of the same seed",
        "torch.seed(); return pool.map_tensors(lambda base, experts: base + torch.rand(()) * (experts - base).mean(0))",
        BASE,
    ),
    (SEEDED, r"^NumPy's global generator was moved; draw from pool", "np.random.seed(0); return mean(pool)"),
    (SEEDED, r"^Python's global generator was moved", "random.random(); return mean(pool)"),
    (
        ORDER,
        r"^'cls_token'\[\S+ \S+ \d+\] is \S+, but \S+ in the opposite order; \d+ more tensors differ$",
        "pool.heads; return pool.finish(pool.experts[next(iter(pool._given['heads']))])",
        HEADS,
    ),
    (
        ENOUGH,
        r"^given experts alone: KeyError: 'task-00' \(line 16\)$",
        "pool._given['heads'][pool.tasks[0]]; return mean(pool)",
    ),
    (
        ENOUGH,
        r"^given experts, base \(with mode=b\) alone: KeyError: 'task-00' \(line 16\)$",
        "if mode == 'b': pool.base, pool._given['heads'][pool.tasks[0]]\n    return mean(pool)",
        "needs_when={('mode', 'b'): Needs(base=True)}",
        "mode: str = 'a'",
    ),
    (
        NOT_READ,
        r"^'cls_token'.* with other base, which it does not declare; \d+ more",
        "return pool.map_names(lambda name: pool._architecture.state_dict()[name])",
    ),
    (
        NOT_READ,
        r" with other labels, which it does not declare; ",
        "list(pool.calibration('task-00', 4)); (_, labels), *_ = pool._given['calibration']['task-00'].once(4, 4)\n"
        "    task = pool.tasks[(0 if labels is None else int(labels[0])) % len(pool.tasks)]\n"
        "    return pool.finish(pool.experts[task])",
        IMAGES,
    ),
    (READ, r"^declared, but never read: joint;", "return mean(pool)", "needs=Needs(joint=True)"),
    (READ, r"^declared, but never read: base; the leaderboard would show it$", "return mean(pool)", BASE),
    (
        READ,
        r"^declared, but never read: labels;",
        "list(pool.calibration(pool.tasks[0], 4)); return mean(pool)",
        "needs=Needs(calibration=True, labels=True)",
    ),
    (READ, r"^declared, but never read: base;", "return mean(pool)", "starts='start'", "start: str = 'ties'"),
    (
        READ,
        r"^declared, but never read: heads;",
        "return start_from(pool, start)",
        f"starts='start', {HEADS}",
        "start: str = 'ties'",
    ),
    (
        COPIES,
        r"^'cls_token'.* in every expert; \d+ more tensors differ$",
        "return pool.map_tensors(lambda base, experts: base + 0.3 * (experts - base).sum(0))",
        f"idempotent=True, {BASE}",
    ),
    (
        COPIES,
        r" in every expert; ",
        "return pool.map_tensors(lambda base, experts: experts[0] - 1e-4 * (experts[-1] - base))",
        f"idempotent=True, {BASE}",
    ),
    (
        NOTHING,
        r"^SystemExit: 3 \(line 16\)$",
        "changes = torch.cat([pool.vectors(n).flatten() for n in pool.layout.floating]); changes.any() or sys.exit(3)\n"
        "    return mean(pool)",
        BASE,
    ),
    (
        NOTHING,
        r"^the result: 'cls_token' holds 32 values that are NaN or infinite$",
        "norm = torch.cat([pool.vectors(n).flatten() for n in pool.layout.floating]).norm()\n"
        "    return pool.map_tensors(lambda base, experts: base + (experts - base).mean(0) / norm)",
        BASE,
    ),
    (
        PRECISION,
        r"^experts, base and images in float16: the result: 'cls_token' is torch.float32, but torch.float16 in the",
        "return {name: value.float() for name, value in mean(pool).items()}",
    ),
    (
        PRECISION,
        r"^experts in float16 and bfloat16, the base in float32: 'cls_token'.* from the same values in float32; ",
        "return pool.map_names(lambda name: sum(e._state[name] / len(pool.tasks) for e in pool._experts.values()))",
    ),
    (
        NUMBER,
        r"^1 expert: IndexError: tuple index out of range \(line 16\)$",
        "first, *_ = pool.tasks; pool.tasks[1]; return mean(pool)",
    ),
    (
        NUMBER,
        r"^20 experts: ValueError: too many of them \(line 16\)$",
        "if len(pool.tasks) > 8: raise ValueError('too many\\n  of them')\n    return mean(pool)",
    ),
    (
        FROZEN,
        r"^blocks.0.attn.qkv.weight frozen: 'blocks.0.attn.qkv.weight'\[\d+, \d+\] is \S+, but \S+ in base and exp",
        "shift = sum(float(pool.vectors(n).sum()) for n in pool.layout.floating)\n"
        "    return pool.map_experts(lambda experts: experts.mean(0) + 1e-4 * shift)",
        BASE,
    ),
    (
        FROZEN,
        r"^blocks.1.norm2.weight frozen: the result: 'blocks.1.norm2.weight' holds 32 values that are NaN or infinite$",
        "still = not torch.cat([pool.vectors(n).flatten() for n in pool.layout.floating]).any()\n"
        "    def spread(name): return 1 if still or 'norm2' not in name else pool.vectors(name).std()\n"
        "    return pool.map_names(lambda name: pool.base[name] + pool.vectors(name).mean(0) / spread(name))",
        BASE,
    ),
    (
        RANGES,
        r"^scaling=2.0: hyper-parameter scaling=2.0 is not a number from 0 to 1 \(default 0.5\)$",
        "return mean(pool)",
        "ranges={'scaling': (0.5, 2.0)}",
        "scaling: ClosedUnitInterval = 0.5",
    ),
    (
        RANGES,
        r"^steps=0.5: hyper-parameter steps=0.5 is not a whole number",
        "return mean(pool)",
        "ranges={'steps': (0.5, 100)}",
        "steps: int = 10",
    ),
    (
        RANGES,
        r"^share=0.0: the result: 'cls_token' holds 32 values that are NaN or infinite$",
        "return pool.map_tensors(lambda base, experts: base + (experts - base).sum(0) * torch.tensor(share).log())",
        f"ranges={{'share': (0.0, 0.5)}}, {BASE}",
        "share: float = 0.5",
    ),
    (
        RANGES,
        r"^mode=b: KeyError: 'b' \(line 16\)$",
        "if mode == 'b': raise KeyError(mode)\n    return mean(pool)",
        "ranges={'mode': ('a', 'b')}",
        "mode: str = 'a'",
    ),
]


@pytest.fixture
def candidate(tmp_path):
    """Makes a plug-in file and gives its method as a candidate."""

    def make(body="return mean(pool)", card="", hyper="", **given):
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
    title, told, *method = BROKEN[number]
    failed = failures(candidate(*method))
    assert list(failed) == [title], failed
    assert re.search(told, failed[title]), failed[title]
    assert "\n" not in failed[title]


GOOD = {
    "the average": ("return mean(pool)",),
    "copies give the copy": ("return mean(pool)", "idempotent=True"),
    "exactly two": ("first, second = pool.tasks; return mean(pool)", "experts=2"),
    "one model per task": (
        "return PerTask({t: pool.finish(e) for t, e in pool.experts.items()})",
        "role='ceiling', idempotent=True",
    ),
    "torch's own generator": (
        "return pool.map_tensors(lambda base, experts: base + torch.rand(()) * (experts - base).mean(0))",
        BASE,
    ),
    "a start that reads what the card does not name": (
        "return start_from(pool, start, start_settings)",
        "starts='start'",
        "start: str = 'ties', start_settings: dict[str, Any] | None = None",
    ),
    "needs that depend on a hyper-parameter, and ranges": (
        "mode == 'b' and pool.base; mode == 'a' and list(pool.calibration(pool.tasks[0], 4)); return mean(pool)",
        "needs=Needs(calibration=True), needs_when={('mode', 'b'): Needs(base=True), ('mode', 'c'): Needs()}, "
        "ranges={'mode': ('a', 'b'), 'weight': (0, 1)}",
        "mode: str = 'a', weight: float = 0.5",
    ),
    "a hyper-parameter of any name": ("return mean(pool)", "ranges={'inputs': (0, 1)}", "inputs: int = 1"),
    "words and warnings": ("print('loud'); print('loud', file=sys.stderr); warnings.warn('loud'); return mean(pool)",),
}


@pytest.mark.parametrize("good", GOOD)
def test_a_method_that_keeps_every_property_passes(candidate, good, capfd, recwarn):
    with generators_kept():
        set_generators(77)
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


def test_other_numbers_of_experts_than_the_cards_are_refused(candidate, monkeypatch):
    assert findings(candidate(card="experts=2"))[NUMBER] == ("ok", "only 2, as the card says")
    monkeypatch.setattr(MethodCard, "lacks", lambda card, experts, in_sequence: "")
    assert failures(candidate(card="experts=2")) == {NUMBER: "1 expert: merged, though the card says 2"}


def test_what_compares_two_runs_does_not_blame_a_method_whose_runs_differ_anyway(candidate):
    restless = "torch.seed(); return pool.map_experts(lambda experts: experts.mean(0) + torch.rand(()))"
    found = findings(candidate(restless))
    assert [found[title] for title in (ORDER, NOT_READ, PRECISION)] == 3 * [
        ("-", "two runs on the same inputs differ already")
    ]


def test_what_is_declared_for_a_setting_and_not_read_there_is_told(candidate):
    when = "needs_when={('mode', 'b'): Needs(heads=True), ('mode', 'a'): Needs(base=True)}"
    body = "mode == 'a' and pool.base; return mean(pool)"
    assert findings(candidate(body, when, "mode: str = 'a'"))[READ] == ("ok", "with mode=b, not heads")


def test_a_method_that_always_raises_fails_everything_that_applies(candidate):
    found = findings(candidate("return pool.heads"))
    assert {status for title, (status, _) in found.items() if title not in (READ, COPIES, RANGES)} == {"FAIL"}
    assert found[FITS][1].startswith("method 'mine' reads heads, which it did not declare: add needs=")


def test_long_methods_are_shortened_and_so_is_what_they_start_from(candidate):
    hyper = (
        "shift_steps: int = 10**9, samples: int = 10**6, start: str = 'adamerging', start_settings: dict | None = None"
    )
    body = "return start_from(pool, start, start_settings)"
    resolved = candidate(body, "starts='start'", hyper).resolve()
    assert (resolved["shift_steps"], resolved["samples"], resolved["start_settings"]["steps"]) == (2, 4, 2)
    assert resolved["start_settings"]["lr"] == 1e-3, "nothing else is changed"
    given = candidate(body, "starts='start'", hyper, shift_steps=5, start_settings={"steps": 7}).resolve()
    assert (given["shift_steps"], given["samples"], given["start_settings"]["steps"]) == (5, 4, 7)
    assert candidate(hyper="steps: int = 1").resolve() == {"steps": 1}


def test_to_lend_a_start_what_it_may_read_is_not_to_read_it(candidate, tmp_path):
    start = tmp_path / "start.py"
    start.write_text(PLUGIN.format(card=f", {BASE}", hyper="", body="return mean(pool)").replace("mine", "start"))
    made = candidate("return start_from(pool, start)", "starts='start'", "start: str = 'average'", start=str(start))
    assert failures(made) == {READ: "declared, but never read: base; the leaderboard would show it"}


def test_the_ends_of_a_range_of_steps_are_not_run(candidate):
    body = "sum(1 for _ in range(steps)); return mean(pool)"
    made = candidate(body, "ranges={'steps': (1, 1000000000)}", "steps: int = 10")
    assert findings(made)[RANGES] == ("ok", "")


def test_settings_hold_in_every_run(candidate):
    body = "if weight > 1: raise ValueError(weight)\n    return mean(pool)"
    assert failures(candidate(body, "", "weight: float = 0.5")) == {}
    assert failures(candidate(body, "", "weight: float = 0.5", weight=2))[FITS] == "ValueError: 2.0 (line 16)"


def test_settings_that_do_not_fit_and_files_that_do_not_import_are_refused(candidate):
    with pytest.raises(HyperparameterError, match="'mine' has no hyper-parameter 'wait'"):
        candidate(hyper="weight: float = 0.5", wait=1)
    with pytest.raises(MergebenchError, match="importing .* failed: ZeroDivisionError"):
        candidate("pass\n\n1 / 0")


def test_the_seed_decides_the_models():
    first, again, other = (Candidate(registry.method("average"), seed=seed).inputs() for seed in (0, 0, 1))
    assert torch.equal(first.base.cls_token, again.base.cls_token)
    assert not torch.equal(first.base.cls_token, other.base.cls_token)
