"""The model pool: copies only, in computing precision, ordered by task; random numbers from the seed alone."""

import numpy as np
import pytest
import torch

from mergebench import ModelPool, Needs
from mergebench.data.images import ExplicitBatches
from mergebench.errors import MergebenchError, MethodError

ALL = Needs(base=True, calibration=True, labels=True, test_inputs=True, heads=True)


def make(mini, base, experts=None, seed=0, method="m", calibration=None):
    images = calibration or mini.calibration()
    sources = {t: ExplicitBatches(b, t) for t, b in images.items()}
    return ModelPool(
        method, ALL, base, base.state_dict(), experts or mini.experts(base),
        calibration=sources, test_inputs=sources, heads=mini.heads(), seed=seed,
    )  # fmt: skip


def test_tasks_are_ordered_by_name_whatever_order_they_come_in(mini):
    base = mini.encoder()
    experts = dict(reversed(mini.experts(base).items()))
    pool = make(mini, base, experts)
    assert pool.tasks == tuple(pool.experts) == tuple(pool.heads) == ("birds", "cars", "digits")


def test_no_experts_are_refused(mini):
    base = mini.encoder()
    with pytest.raises(MergebenchError, match="no experts"):
        ModelPool("m", ALL, base, base.state_dict(), {})


def test_a_result_that_lacks_a_tensor_is_not_finished(mini):
    base = mini.encoder()
    state = {name: tensor for name, tensor in base.state_dict().items() if name != "norm.bias"}
    with pytest.raises(MethodError, match="method 'm': its result lacks 'norm.bias'"):
        make(mini, base).finish(state)


def test_writing_into_what_is_handed_out_changes_no_input(mini):
    base = mini.encoder()
    experts, heads, images = mini.experts(base), mini.heads(), mini.calibration()
    sources = {t: ExplicitBatches(b, t) for t, b in images.items()}
    pool = ModelPool(
        "m", ALL, base, base.state_dict(), experts, calibration=sources, test_inputs=sources, heads=heads
    )  # fmt: skip
    before = {n: t.clone() for n, t in base.state_dict().items()}
    pool.base["cls_token"].zero_()
    pool.experts["cars"]["cls_token"].zero_()
    pool.heads["cars"].projection.zero_()
    pool.encoder(pool.base).cls_token.zero_()
    pool.encoder().cls_token.zero_()
    assert all(torch.equal(t, before[n]) for n, t in base.state_dict().items())
    assert torch.equal(experts["cars"]["cls_token"], mini.experts(base)["cars"]["cls_token"])
    assert torch.equal(heads["cars"].projection, mini.heads()["cars"].projection)
    assert torch.equal(pool.base["cls_token"], before["cls_token"])


def test_writing_into_images_changes_neither_the_callers_nor_the_next_pass(mini):
    base = mini.encoder()
    images = mini.calibration()
    pool = make(mini, base, calibration=images)
    for batch in pool.calibration("cars", 8):
        batch.zero_()
    next(pool.stream("calibration", "cars", 8)).zero_()
    assert torch.equal(images["cars"][0], mini.calibration()["cars"][0])
    assert torch.equal(next(pool.calibration("cars", 8)), mini.calibration()["cars"][0])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_weights_are_handed_out_in_single(mini, dtype):
    base = mini.encoder(dtype=dtype)
    pool = make(mini, base)
    for state in (pool.base, pool.experts["cars"]):
        assert {state[n].dtype for n in state} == {torch.float32}
    assert torch.equal(pool.base["cls_token"], base.state_dict()["cls_token"].float())
    assert pool.encoder(pool.base)(mini.images(0, 1)).dtype == torch.float32


def test_double_precision_stays_double(mini):
    base = mini.encoder(dtype=torch.float64)
    pool = make(mini, base)
    assert pool.base["cls_token"].dtype == torch.float64
    assert pool.encoder(pool.base)(mini.images(0, 1, torch.float64)).dtype == torch.float64


def test_an_encoder_holds_the_state_it_is_given_in_eval_mode_without_gradients(mini):
    base = mini.encoder().train()
    pool = make(mini, base)
    encoder = pool.encoder(pool.experts["cars"])
    assert all(torch.equal(t, pool.experts["cars"][n]) for n, t in encoder.state_dict().items())
    assert not any(m.training for m in encoder.modules())
    assert not any(p.requires_grad for p in encoder.parameters())


def test_heads_are_frozen_copies_in_eval_mode(mini):
    heads = make(mini, mini.encoder()).heads
    assert not any(h.training for h in heads.values())


def test_map_experts_stacks_in_the_order_of_the_tasks(mini):
    base = mini.encoder()
    experts = mini.experts(base)
    merged = make(mini, base, dict(reversed(experts.items()))).map_experts(lambda stacked: stacked[1])
    assert all(torch.equal(merged[n], experts["cars"][n]) for n in base.state_dict())


def test_what_is_stacked_is_copied_widened_and_has_no_graph(mini):
    base = mini.encoder(dtype=torch.float16)
    experts = {t: {n: torch.nn.Parameter(p) for n, p in e.items()} for t, e in mini.experts(base).items()}
    pool, name = make(mini, base, experts), "norm.weight"
    vectors = pool.vectors(name)
    assert vectors.dtype == torch.float32 and not vectors.requires_grad
    expected = [experts[t][name].detach().float() - base.state_dict()[name].float() for t in pool.tasks]
    assert torch.equal(vectors, torch.stack(expected))
    vectors.zero_()
    assert torch.equal(pool.vectors(name), torch.stack(expected))


def test_map_tensors_gives_the_matching_base_tensor(mini):
    base = mini.encoder()
    merged = make(mini, base).map_tensors(lambda start, experts: start + 0 * experts.sum(0))
    assert all(torch.equal(merged[n], t) for n, t in base.state_dict().items())


def test_finish_restores_order_and_dtype_and_shares_no_memory(mini):
    base = mini.encoder(dtype=torch.float16)
    pool = make(mini, base)
    state = {n: pool.base[n] for n in reversed(list(pool.base))}
    finished = pool.finish(state)
    assert list(finished) == list(base.state_dict())
    assert {t.dtype for t in finished.values()} == {torch.float16}
    same = {n: t.half() for n, t in state.items()}
    again = pool.finish(same)
    for name, value in again.items():
        assert value.data_ptr() != same[name].data_ptr()


def test_explicit_batches_are_all_used_in_order_whatever_samples_says(mini):
    pool = make(mini, mini.encoder())
    images = mini.calibration()
    for samples in (1, 1000):
        seen = list(pool.calibration("digits", samples))
        assert all(torch.equal(a, b) for a, b in zip(seen, images["digits"], strict=True))


def test_streams_never_end_and_repeat_explicit_batches_in_order(mini):
    pool, images = make(mini, mini.encoder()), mini.calibration()["birds"]
    stream = pool.stream("test_inputs", "birds", 4)
    for index in range(5):
        assert torch.equal(next(stream), images[index % 2])


def numbers(pool, *key):
    return torch.rand(4, generator=pool.generator(*key)).tolist()


def test_random_numbers_follow_from_seed_method_and_key_alone(mini):
    base = mini.encoder()
    pool = make(mini, base, seed=3)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        first = numbers(pool, "drop", "cars")
        torch.manual_seed(2)
        assert numbers(make(mini, base, seed=3), "drop", "cars") == first
    others = [
        numbers(pool, "drop", "birds"),
        numbers(pool, "drop"),
        numbers(pool),
        numbers(make(mini, base, seed=4), "drop", "cars"),
        numbers(make(mini, base, seed=3, method="other"), "drop", "cars"),
    ]
    assert len({tuple(n) for n in [first, *others]}) == 6


def test_a_report_holds_what_a_result_can_and_nothing_else(mini):
    pool = make(mini, mini.encoder())
    pool.report(loss=torch.tensor(0.5), table=np.arange(3), deep={1: [np.float32(2), None, "x", True]})
    assert pool.diagnostics == {"loss": 0.5, "table": [0, 1, 2], "deep": {"1": [2.0, None, "x", True]}}
    with pytest.raises(MethodError, match=r"report\(model=...\): a result cannot hold a Linear"):
        pool.report(model=torch.nn.Linear(1, 1))


def test_reports_add_up(mini):
    pool = make(mini, mini.encoder())
    pool.report(a=1, b=2)
    pool.report(b=3)
    assert pool.diagnostics == {"a": 1, "b": 3}


def test_somebody_is_told_of_images_and_tensors_that_are_done(mini):
    base, told = mini.encoder(), []
    sources = {t: ExplicitBatches(b, t) for t, b in mini.calibration().items()}
    pool = ModelPool(
        "any", Needs(calibration=True), base, base.state_dict(), mini.experts(base),
        calibration=sources, tell=lambda *how_far: told.append(how_far),
    )  # fmt: skip
    for task in pool.tasks:
        list(pool.calibration(task, 8))
    assert [done for what, done, _ in told if what == "images"] == [5, 8, 15, 20, 24, 26]  # 8, 7 and 10 were handed in
    assert all(done <= total for _, done, total in told)
    told.clear()
    pool.map_experts(lambda experts: experts.mean(0))
    count = len(pool.layout.dtypes)
    assert told == [("tensors", number, count) for number in range(count)]


class Endless:
    """Images of no task, which note how many were asked for at a time."""

    def __init__(self):
        self.asked = []

    def once(self, samples, batch_size):
        self.asked.append(batch_size)
        yield torch.zeros(min(samples, batch_size), 3, 32, 32), None


@pytest.mark.parametrize(("memory", "images"), [(None, 64), (10**12, 64), (2 * 10 * 12 * 4 * 16 * 24, 10), (0, 1)])
def test_no_more_images_go_through_the_encoder_than_there_is_memory_for(mini, memory, images):
    base, source = mini.encoder(), Endless()
    patches, width = base.patch_embed.num_patches, base.embed_dim
    memory = memory and memory * patches * width // (16 * 24)  # ten images' activations, and as much for what waits
    pool = ModelPool(
        "any", Needs(calibration=True), base, base.state_dict(), mini.experts(base),
        calibration=dict.fromkeys(mini.tasks, source), memory=memory,
    )  # fmt: skip
    next(pool.calibration(pool.tasks[0], 100))
    next(pool.calibration(pool.tasks[0], 100, batch_size=7))  # a method's own choice is no matter of memory
    assert source.asked == [images, 7]


def test_what_may_be_taken_is_half_of_what_is_left(mini):
    base = mini.encoder()
    pool = ModelPool("any", Needs(), base, base.state_dict(), mini.experts(base), memory=1000)
    assert [pool.room(wanted) for wanted in (1, 500, 501, 10**9)] == [1, 500, 500, 500]
    assert make(mini, base).room(10**9) == 10**9
