"""Which images methods are given: their number, whose they are, of which classes, clean or corrupted, by which seed."""

import hashlib
import tracemalloc
from collections import Counter

import numpy as np
import pytest
import torch
import yaml

import mergebench.running.execution
from mergebench import ModelPool, Needs
from mergebench.catalogue import discovery, registry
from mergebench.data.corruption import corrupt
from mergebench.data.image_cache import load_split
from mergebench.data.images import normalise
from mergebench.errors import MergebenchError, NeedsError, UnknownNameError
from mergebench.measuring.results import ResultStore
from mergebench.merging import hyperparameters
from mergebench.running.execution import Executor, Recipe
from mergebench.running.plan import RunRequest, make_plan
from mergebench.running.runner import run
from mergebench.suites.bench import Bench

TASKS = ("digits", "landcover", "signs")
EVERYTHING = Needs(calibration=True, labels=True, test_inputs=True)
MEAN, STD = (0.45, 0.43, 0.42), (0.29, 0.28, 0.28)
READING = [name for name, card in registry.methods().items() if "samples" in card.hyperparameters]
SOURCES = [{}, {"source": "unrelated"}, {"source": "shuffled"}, {"classes": [1, 3]}, {"corrupted": True}]


@pytest.fixture
def make(tmp_path):
    """A bench on a suite of three tasks; `calibration` is the suite's."""

    def bench(calibration=None, **fields):
        path = tmp_path / f"suite-{len(list(tmp_path.iterdir()))}.yaml"
        suite = {"title": "t", "zoo": "tiny", "merge": list(TASKS), "calibration": calibration or {}}
        if suite["calibration"].get("corrupted"):
            suite["corruptions"] = CORRUPTED
        path.write_text(yaml.safe_dump(suite | fields))
        return Bench(str(path))

    return bench


def pool_of(bench, variant=0, seed=0, card="average", needs=EVERYTHING):
    """The pool of one merge, and its sources."""
    return bench.pool(registry.method(card), needs, seed, "cpu", bench.variants[variant])


def given(pool, task, samples):
    """The images that a method would get."""
    return [image for batch in pool.calibration(task, samples) for image in batch]


def prints(images):
    """Every image's hash."""
    return [hashlib.sha256(image.numpy().tobytes()).hexdigest()[:12] for image in images]


def of(task, split="calibration", corruption=None):
    """The hashes of a task's images, normalised and, where asked for, corrupted here; and their labels."""
    found = load_split(registry.tasks()[task], split)
    images = np.asarray(found.images)
    if corruption:
        images = corrupt(registry.corruptions()[corruption[0]], images, corruption[1], f"{task}/{split}")
    return prints(normalise(torch.from_numpy(images.copy()), MEAN, STD)), found.labels


def merge(bench, method, seed=0, **settings):
    function = discovery.load_function(registry.method(method))
    resolved = hyperparameters.resolve(function, settings)
    recipe = Recipe(registry.method(method), function, resolved, seed)
    return Executor(bench, "cpu").merge(recipe, bench.variants[0])


@pytest.mark.long
@pytest.mark.parametrize("samples", [1, 33])
@pytest.mark.parametrize(("method", "calibration"), [(m, {}) for m in READING] + [("regmean", s) for s in SOURCES[1:4]])
def test_a_method_reads_exactly_as_many_images_as_it_asks_for(method, samples, calibration, make, monkeypatch):
    read = Counter()

    def counting(plain):
        def counted(pool, task, *arguments, **options):
            for batch in plain(pool, task, *arguments, **options):
                read[task] += len(batch[0] if isinstance(batch, tuple) else batch)
                yield batch

        return counted

    for door in ("calibration", "labelled_calibration"):
        monkeypatch.setattr(ModelPool, door, counting(getattr(ModelPool, door)))
    few = {"steps": 1} if "steps" in registry.method(method).hyperparameters else {}
    merged = merge(make(calibration), method, samples=samples, **few)
    assert read == dict.fromkeys(TASKS, samples)
    assert merged.drawn_images == {f"{t}/calibration": samples for t in TASKS}


def test_the_number_of_images_is_stored_with_every_result(tmp_path, monkeypatch, scored):
    def evaluate(encoder, states, heads, splits, **options):
        return scored(dict.fromkeys(heads, (1, 2)))

    monkeypatch.setattr(mergebench.running.execution, "evaluate", evaluate)
    suite, study = tmp_path / "suite.yaml", tmp_path / "study.yaml"
    suite.write_text(yaml.safe_dump({"title": "t", "zoo": "tiny", "merge": ["digits", "signs"]}))
    varied = {"title": "t", "suite": str(suite), "methods": ["regmean", "average"], "vary": {"samples": [1, 33]}}
    study.write_text(yaml.safe_dump(varied))
    results = run(make_plan(RunRequest(study=str(study))), ResultStore(tmp_path / "out")).results
    found = {(r.method, r.point.get("samples")): r.drawn_images for r in results}
    assert found == {
        ("finetuned", None): {},
        ("regmean", 1): {"digits/calibration": 1, "signs/calibration": 1},
        ("regmean", 33): {"digits/calibration": 33, "signs/calibration": 33},
        ("average", 1): {},
        ("average", 33): {},
    }


def test_a_tasks_own_images_are_its_calibration_split_with_its_labels(make):
    pool, _ = pool_of(make())
    for task in TASKS:
        images, labels = of(task)
        assert Counter(prints(given(pool, task, len(images)))) == Counter(images)
        known = dict(zip(images, labels.tolist(), strict=True))
        for batch, said in pool.labelled_calibration(task, 40):
            assert [known[p] for p in prints(batch)] == said.tolist()


def test_a_foreign_tasks_images_serve_all_without_labels(make):
    bench = make({"source": "unrelated"})
    pool, _ = pool_of(bench)
    foreign = Counter(of("unrelated")[0])
    for task in TASKS:
        assert Counter(prints(given(pool, task, 600))) == foreign
        with pytest.raises(NeedsError):
            next(pool.labelled_calibration(task, 4))
    data = bench.data(bench.variants[0])
    assert {n for n in data if n.endswith("/calibration")} == {"unrelated/calibration"}


def test_one_of_the_merged_tasks_can_serve_all(make):
    pool, _ = pool_of(make({"source": "signs"}))
    signs = set(of("signs")[0])
    assert all(set(prints(given(pool, t, 50))) <= signs for t in TASKS)


def test_shuffling_deals_every_calibration_image_out_once_with_tasks_mixed(make):
    pool, _ = pool_of(make({"source": "shuffled"}))
    dealt = {t: prints(given(pool, t, 600)) for t in TASKS}
    own = {t: of(t)[0] for t in TASKS}
    assert sorted(sum(dealt.values(), [])) == sorted(sum(own.values(), []))
    for images in dealt.values():
        shares = [len(set(images) & set(own[t])) for t in TASKS]
        assert all(150 < share < 250 for share in shares), shares  # 200 each, within four standard deviations
    with pytest.raises(MergebenchError, match="samples=601"):
        given(pool, "signs", 601)
    with pytest.raises(NeedsError):
        next(pool.labelled_calibration("signs", 4))


def test_shuffling_copies_no_images_but_those_that_are_drawn(make):
    bench = make({"source": "shuffled"})
    size = sum(bench.split(task, "calibration").images.nbytes for task in TASKS)
    pool_of(bench)  # whatever else a pool needs is there now
    tracemalloc.start()
    pool, _ = pool_of(bench, needs=Needs(calibration=True))
    given(pool, "digits", 2)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < size / 2


def test_another_seed_deals_otherwise_and_the_same_one_alike(make):
    bench = make({"source": "shuffled"})
    hands = [prints(given(pool_of(bench, seed=s)[0], "digits", 600)) for s in (0, 0, 1)]
    assert hands[0] == hands[1]
    assert len(set(hands[0]) & set(hands[2])) < 300  # of 600; a third by chance


@pytest.mark.parametrize("source", ["own", "unrelated", "shuffled"])
@pytest.mark.parametrize("classes", [[0], [2, 4]])
def test_only_images_of_the_classes_asked_for_are_given(source, classes, make):
    pool, _ = pool_of(make({"source": source, "classes": classes}))
    labels = {}
    for task in (*TASKS, "unrelated"):
        labels |= dict(zip(*of(task), strict=True))
    for task in TASKS:
        found = {int(labels[p]) for p in prints(given(pool, task, 24))}
        assert found == set(classes)


def test_all_images_of_a_class_can_be_had_and_no_more(make):
    pool, _ = pool_of(make({"classes": [3]}))
    images, labels = of("signs")
    wanted = Counter(p for p, label in zip(images, labels, strict=True) if label == 3)
    assert Counter(prints(given(pool, "signs", wanted.total()))) == wanted
    with pytest.raises(MergebenchError, match=f"'signs' has {wanted.total()} calibration images"):
        given(pool, "signs", wanted.total() + 1)


def test_a_class_that_a_task_lacks_is_named(make):
    with pytest.raises(MergebenchError, match="calibration.classes: task 'digits' has no image of class 15"):
        pool_of(make({"classes": [15]}))  # signs has twenty, digits ten


def test_a_class_that_a_task_lacks_is_named_before_anything_runs(tmp_path):
    suite = tmp_path / "suite.yaml"
    suite.write_text(yaml.safe_dump({"title": "t", "zoo": "tiny", "merge": list(TASKS)}))
    study = {"title": "t", "suite": str(suite), "methods": ["average"], "vary": {"calibration.classes": [[1], [15]]}}
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(study))
    with pytest.raises(MergebenchError, match="task 'digits' has no image of class 15"):
        make_plan(RunRequest(study=str(tmp_path / "study.yaml")))


CORRUPTED = {"kinds": ["contrast"], "severities": [2, 5]}


@pytest.mark.parametrize("corrupted", [True, False])
def test_images_are_under_the_variants_corruption_where_the_suite_says_so(corrupted, make):
    bench = make({"corrupted": corrupted}, corruptions=CORRUPTED)
    for variant, corruption in enumerate((None, ("contrast", 2), ("contrast", 5))):
        pool, _ = pool_of(bench, variant)
        seen = corruption if corrupted else None
        for task in ("digits", "signs"):
            assert set(prints(given(pool, task, 600))) == set(of(task, corruption=seen)[0])
        stream = prints(next(pool.stream("test_inputs", "digits", 64)))
        assert set(stream) <= set(of("digits", "test", seen)[0])


@pytest.mark.parametrize("calibration", SOURCES[1:4])
def test_test_inputs_are_never_anything_but_the_tasks_own(calibration, make):
    plain, _ = pool_of(make())
    pool, _ = pool_of(make(calibration))
    for task in TASKS:
        ours, own = pool.stream("test_inputs", task, 100), plain.stream("test_inputs", task, 100)
        assert all(torch.equal(next(ours), next(own)) for _ in range(12))  # beyond the first pass


@pytest.mark.parametrize("calibration", SOURCES)
def test_the_seed_alone_decides_the_draw_and_methods_share_it(calibration, make):
    bench = make(calibration)
    first, again, other = (merge(bench, "regmean", seed, samples=6).drawn for seed in (0, 0, 1))
    assert set(first) == {f"{t}/calibration" for t in TASKS}
    assert first == again == merge(bench, "regmean++", 0, samples=6).drawn
    assert all(first[k] != other[k] for k in first)


def test_the_hash_of_a_draw_tells_how_many_images_were_drawn(make):
    fewer, more = (merge(make(), "regmean", samples=n).drawn for n in (6, 7))
    assert all(fewer[k] != more[k] for k in fewer)


def test_a_method_without_images_draws_none_and_the_experts_neither(make):
    bench = make({"source": "shuffled"})
    for method in ("average", "ties", "pretrained", "finetuned"):
        merged = merge(bench, method)
        assert (merged.drawn, merged.drawn_images) == ({}, {})


@pytest.mark.parametrize("calibration", SOURCES)
def test_the_order_in_which_a_suite_names_its_tasks_decides_no_draw(calibration, make):
    first, second = (pool_of(make(calibration, merge=list(t)))[0] for t in (TASKS, TASKS[::-1]))
    for task in TASKS:
        assert prints(given(first, task, 5)) == prints(given(second, task, 5))


@pytest.mark.parametrize(
    ("source", "near"),
    [("unrelatd", "'unrelated'"), ("shufled", "'shuffled'"), ("digit", "'digits'"), ("nothing-like-it", "")],
)
def test_an_unknown_source_is_refused_with_the_nearest(source, near, make):
    with pytest.raises(UnknownNameError, match=f"unknown calibration source '{source}'; .*{near}"):
        make({"source": source})
