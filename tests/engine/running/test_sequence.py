"""Tasks that arrive in sequence: the merged model so far is one candidate more, and nothing is done twice."""

import numpy as np
import pytest
import torch
import yaml

import mergebench.running.execution
from mergebench import ModelPool, Needs, merge_method
from mergebench.catalogue import discovery, registry
from mergebench.catalogue.ready import ready
from mergebench.data.image_cache import load_split
from mergebench.data.images import DrawnImages, ExplicitBatches
from mergebench.measuring.evaluation import Evaluation
from mergebench.measuring.results import Cost, ResultStore, TaskScore
from mergebench.merging import hyperparameters
from mergebench.merging.contract import PerTask, run_method
from mergebench.running.execution import Executor, Recipe
from mergebench.running.plan import RunRequest, make_plan
from mergebench.running.runner import run
from mergebench.suites.bench import Bench
from mergebench.weights.states import digest
from mergebench.zoo.heads import ZeroShotHead

pytestmark = pytest.mark.usefixtures("few_images")

FIRST, SECOND = ["landcover", "digits"], ["signs", "scenes"]
ORDERS = {0: [FIRST, SECOND], 1: [["scenes", "digits"], ["landcover", "signs"]]}
SETTINGS = {
    "average": {},
    "task_arithmetic": {},
    "ties": {"density": 0.3},
    "regmean": {"samples": 7},
    "regmean++": {"samples": 7},
    "fisher": {"samples": 5, "estimator": "batch"},
    "adamerging": {"steps": 4, "batch_size": 4},
}


def write(tmp_path, **fields):
    """A suite's YAML file."""
    path = tmp_path / f"{len(list(tmp_path.iterdir()))}.yaml"
    path.write_text(yaml.safe_dump({"title": "t", "zoo": "tiny", "merge": [*FIRST, *SECOND]} | fields))
    return str(path)


def recipe(method, seed=0, **given):
    function = discovery.load_function(registry.method(method)) if isinstance(method, str) else method
    card = registry.method(method) if isinstance(method, str) else function.card
    return Recipe(card, function, hyperparameters.resolve(function, SETTINGS.get(method, {}) | given), seed)


def same(first, second):
    return list(first) == list(second) and all(torch.equal(first[n], second[n]) for n in first)


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    """Two orders of two steps."""
    return Bench(write(tmp_path_factory.mktemp("suite"), orders=ORDERS))


@pytest.fixture
def counting():
    """A method that averages and keeps the pool of every call."""
    calls = []

    @merge_method("counting", title="Counting", needs=Needs(calibration=True, heads=True))
    def function(pool: ModelPool, *, weight: float = 1.0):
        calls.append(pool)
        return pool.map_experts(lambda experts: weight * experts.mean(0))

    return function, calls


def drawn(bench, split, task, seed):
    """A task's own draw."""
    found, config = load_split(registry.tasks()[task], split), bench.zoo.config
    return DrawnImages(found.images, found.labels, config.mean, config.std, task, seed)


def by_hand(bench, made, first):
    """The second step without the bench: three candidates, their images and heads put together here."""
    tasks, needs = (*FIRST, *SECOND), registry.needs_of(made.card, made.hyperparameters)
    samples, images = made.hyperparameters.get("samples", 0), {}
    if needs.calibration:  # what stands for the first two gives half of each, by name, the odd one of digits
        counts = dict(zip(tasks, (samples // 2, samples - samples // 2, samples, samples), strict=True))
        images = {t: list(drawn(bench, "calibration", t, made.seed).once(n, 64)) for t, n in counts.items()}
        together = [batch for batch, _ in (*images["digits"], *images["landcover"])]
        images["merged-so-far"] = list(torch.cat(together).split(64))
    if needs.test_inputs:
        streams = {t: drawn(bench, "test", t, made.seed).forever(4) for t in tasks}
        images = {t: [next(stream) for _ in range(4)] for t, stream in streams.items()}
        halves = [drawn(bench, "test", t, made.seed).forever(2) for t in sorted(FIRST)]
        images["merged-so-far"] = [torch.cat([next(half)[0] for half in halves]) for _ in range(4)]
    heads = {t: bench.zoo.head(t) for t in tasks}
    text = torch.cat([heads[t].text_features for t in sorted(FIRST)])
    heads["merged-so-far"] = ZeroShotHead(heads["digits"].projection, text, heads["digits"].logit_scale)
    sources = {t: ExplicitBatches(b, t) for t, b in images.items()}
    experts = {"merged-so-far": first, **{t: bench.zoo.expert(t) for t in SECOND}}
    pool = ModelPool(
        made.card.name, needs, bench.zoo.make_empty_encoder(), bench.zoo.base, experts,
        calibration=sources, test_inputs=sources, heads=heads, seed=made.seed,
    )  # fmt: skip
    return run_method(made.function, pool, made.hyperparameters, ready)


@pytest.mark.parametrize("method", SETTINGS)
def test_the_second_step_is_a_merge_of_the_first_ones_result_with_the_new_experts(method, bench):
    made, executor = recipe(method, seed=3), Executor(bench, "cpu")
    first, second = (executor.merge(made, v).states for v in bench.variants[:2])
    assert same(second, by_hand(bench, made, first))
    assert not same(second, first)


@pytest.mark.parametrize("method", SETTINGS)
def test_the_first_step_is_a_merge_of_its_experts_alone(method, bench, tmp_path):
    alone = Bench(write(tmp_path, merge=FIRST))
    plain = Executor(alone, "cpu").merge(recipe(method), alone.variants[0])
    first = Executor(bench, "cpu").merge(recipe(method), bench.variants[0])
    assert same(first.states, plain.states)
    assert (first.drawn, first.drawn_images) == (plain.drawn, plain.drawn_images)


@pytest.mark.parametrize("method", ["average", "task_arithmetic", "regmean++"])
def test_the_shipped_suites_second_order_starts_from_the_base_again(method, tmp_path):
    sequential, made = Bench("sequential"), recipe(method)
    executor, of_order = Executor(sequential, "cpu"), {0: [], 1: []}
    for variant in sequential.variants:
        if variant.point["order"] in of_order and (variant.point["order"], variant.point["step"]) <= (1, 1):
            of_order[variant.point["order"]].append(executor.merge(made, variant).states)
    assert [len(states) for states in of_order.values()] == [5, 1]  # all of order 0 has run before
    first = next(v for v in sequential.variants if v.point == {"order": 1, "step": 1})
    alone = Bench(write(tmp_path, merge=list(first.merge)))
    assert same(of_order[1][0], Executor(alone, "cpu").merge(made, alone.variants[0]).states)


@pytest.mark.parametrize("method", ["regmean++", "fisher"])
def test_an_order_does_not_depend_on_what_has_run_before(method, bench):
    executor = Executor(bench, "cpu")
    after = [executor.merge(recipe(method), v).states for v in bench.variants]
    fresh = [Executor(bench, "cpu").merge(recipe(method), v).states for v in bench.variants]
    assert all(same(a, b) for a, b in zip(after, fresh, strict=True))
    assert not same(after[1], after[3])  # the same four experts in another order


@pytest.mark.parametrize(("source", "steps"), [("shuffled", 1), ("own", 2)])
def test_variants_that_share_a_merge_share_the_merged_model(source, steps, tmp_path):
    orders = {0: [FIRST, ["signs"]][:steps], 1: [FIRST[::-1], ["signs"]][:steps]}
    bench = Bench(write(tmp_path, orders=orders, calibration={"source": source}))
    one, other = bench.variants[steps - 1], bench.variants[-1]
    assert one.merge_identity == other.merge_identity
    assert same(*(Executor(bench, "cpu").merge(recipe("regmean"), v).states for v in (one, other)))


def test_what_is_merged_so_far_has_the_images_and_the_classes_of_its_tasks(bench, counting):
    function, calls = counting
    Executor(bench, "cpu").merge(recipe(function), bench.variants[1])
    pool = calls[-1]
    assert pool.tasks == ("merged-so-far", "scenes", "signs")
    classes = {t: len(registry.tasks()[t].card.classes) for t in (*FIRST, *SECOND)}
    assert len(pool.heads["merged-so-far"].text_features) == classes["landcover"] + classes["digits"]
    assert len(pool.heads["signs"].text_features) == classes["signs"]
    assert sum(len(b) for b in pool.calibration("merged-so-far", 9)) == 9


def test_references_carry_nothing_over(bench):
    executor = Executor(bench, "cpu")
    base = executor.merge(recipe("pretrained"), bench.variants[1]).states
    assert same(base, {n: bench.zoo.base[n] for n in base})
    experts = executor.merge(recipe("finetuned"), bench.variants[1]).states
    assert set(experts) == {*FIRST, *SECOND}
    assert all(torch.equal(experts["digits"][n], bench.zoo.expert("digits")[n]) for n in base)


def test_every_step_is_merged_once(bench, counting):
    function, calls = counting
    executor = Executor(bench, "cpu")
    for variant in bench.variants:
        executor.merge(recipe(function), variant)
    assert len(calls) == len(bench.variants) == 4
    executor.merge(recipe(function), bench.variants[-1])
    assert len(calls) == 4
    executor.merge(recipe(function, seed=1), bench.variants[0])
    executor.merge(recipe(function, seed=1, weight=0.5), bench.variants[0])
    assert len(calls) == 6


@pytest.mark.parametrize(("corrupted", "times"), [(False, 1), (True, 4)])
def test_conditions_that_no_merge_sees_share_it(corrupted, times, tmp_path, counting):
    function, calls = counting
    corruptions = {"kinds": ["contrast"], "severities": [1, 3, 5]}
    suite = write(tmp_path, merge=FIRST, corruptions=corruptions, calibration={"corrupted": corrupted})
    bench = Bench(suite)
    executor = Executor(bench, "cpu")
    merged = [executor.merge(recipe(function), v) for v in bench.variants]
    assert (len(merged), len(calls)) == (4, times)


def test_a_step_that_fails_costs_the_later_ones_of_its_order_alone(tmp_path):
    @merge_method("fussy", title="Fussy", needs=Needs())
    def fussy(pool: ModelPool):
        if "signs" in pool.tasks:
            raise ValueError("no signs")
        return pool.map_experts(lambda experts: experts.mean(0))

    orders = {0: [["digits"], ["signs"], ["scenes"]], 1: [["digits"], ["scenes"]]}
    bench = Bench(write(tmp_path, orders=orders))
    executor, went = Executor(bench, "cpu"), []
    for variant in bench.variants:
        try:
            executor.merge(recipe(fussy), variant)
            went.append(True)
        except ValueError:
            went.append(False)
    assert went == [True, False, False, True, True]


def test_the_same_weights_on_the_same_images_are_evaluated_once(tmp_path, monkeypatch):
    asked = []

    def evaluate(encoder, states, heads, splits, **options):
        names = {t: f"{digest(states[t] if isinstance(states, PerTask) else states)}/{t}" for t in heads}
        asked.extend(f"{n}/{splits[t].digest}" for t, n in names.items())
        scores = {t: TaskScore(correct=1, total=2, predictions=f"{n}/{splits[t].digest}") for t, n in names.items()}
        return Evaluation(scores, *({t: np.array([len(asked)]) for t in heads} for _ in range(2)))

    monkeypatch.setattr(mergebench.running.execution, "evaluate", evaluate)
    bench = Bench(write(tmp_path))
    one, other = (dict(bench.zoo.expert(t).items()) for t in FIRST)
    executor, told, wanted = Executor(bench, "cpu"), [], set()
    for states in (one, other, {n: t.clone() for n, t in one.items()}, PerTask(landcover=one, digits=other)):
        for tasks in (("digits",), ("landcover", "digits")):
            for split, corruption in (("test", None), ("test", ("contrast", 2)), ("validation", None)):
                told.clear()
                outcome, cost = executor.evaluate(states, tasks, split, corruption, told.append)
                assert list(outcome.scores) == list(outcome.predictions) == list(tasks)
                assert isinstance(cost, Cost) and set(told) <= set(tasks)
                for task, score in outcome.scores.items():
                    state = states[task] if isinstance(states, PerTask) else states
                    assert score.predictions == f"{digest(state)}/{task}/{bench.split(task, split, corruption).digest}"
                    wanted.add(score.predictions)
    assert sorted(asked) == sorted(wanted) and len(asked) == 2 * 2 * 3


def test_a_run_of_a_sequence_is_stored_step_by_step_with_scores_that_are_right(tmp_path, monkeypatch, few_images):
    merges = []
    counted = lambda *given: merges.append(given[1].tasks) or run_method(*given)  # noqa: E731
    monkeypatch.setattr(mergebench.running.execution, "run_method", counted)
    suite = write(tmp_path, merge=["digits", "signs"], orders={"a": [["digits"], ["signs"]]})
    plan = make_plan(RunRequest(["regmean"], suite, hyperparameters={"regmean": {"samples": 5}}))
    store = ResultStore(tmp_path / "out")
    results = [r for r in run(plan, store).results if r.method == "regmean"]
    assert merges == [("digits", "signs"), ("digits",), ("merged-so-far", "signs")]  # the experts' own, then the steps
    assert [r.status for r in results] == ["ok", "ok"], [r.error for r in results]
    assert [r.point for r in results] == [{"order": "a", "step": 1}, {"order": "a", "step": 2}]
    assert [r.merged for r in results] == [["digits"], ["digits", "signs"]]
    assert [r.drawn_images for r in results] == [
        {"digits/calibration": 5},
        {"digits/calibration": 5, "signs/calibration": 5},
    ]
    (first,) = (c for c in plan.cells if c.variant.name == "order=a,step=1" and c.card.name == "regmean")
    encoder = plan.bench.zoo.make_encoder()
    encoder.load_state_dict(Executor(plan.bench, "cpu").merge(recipe("regmean", samples=5), first.variant).states)
    images, labels = next(drawn(plan.bench, "test", "signs", 0).once(few_images["test"], few_images["test"]))
    with torch.no_grad():
        correct = (plan.bench.zoo.head("signs")(encoder.eval()(images)).argmax(-1) == labels).sum().item()
    assert abs(results[0].tasks["signs"].correct - correct) <= 1  # batched differently: a tie may fall otherwise
    assert results[1].tasks["signs"].correct != correct
