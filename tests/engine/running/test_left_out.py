"""Methods that cannot be run on some variants: told and left out; refused where they were asked for by name."""

import json
from pathlib import Path

import pytest
import torch

import mergebench
import mergebench.tasks.tiny as tiny
from mergebench.errors import CheckpointError, MergebenchError, MethodError
from mergebench.measuring.results import ResultStore
from mergebench.running.plan import RunRequest, make_plan
from mergebench.running.runner import run
from mergebench.weights.states import SafetensorsState, save_state

WEIGHTS = Path(tiny.__file__).parent / "weights"
PAIR = '''
from mergebench import ModelPool, Needs, merge_method


@merge_method("pair", title="Pair", needs=Needs(), experts=2)
def pair(pool: ModelPool):
    """mean"""
    return pool.map_experts(lambda experts: experts.mean(0))
'''


@pytest.fixture
def pair(tmp_path):
    path = tmp_path / "pair.py"
    path.write_text(PAIR)
    return f"{path}:pair"


@pytest.fixture
def root(tmp_path):
    """The tiny zoo with a joint model of digits and signs, which is the digits' expert."""
    folder = tmp_path / "zoo"
    folder.mkdir()
    for part in ("base.safetensors", "experts", "heads"):
        (folder / part).symlink_to(WEIGHTS / part)
    state = dict(SafetensorsState(WEIGHTS / "experts" / "digits.safetensors"))
    save_state(state, folder / "joint" / "two.safetensors", {"recipe": json.dumps({"tasks": ["digits", "signs"]})})
    return folder


def planned(plan):
    return {(c.card.name, c.variant.name) for c in plan.cells if c.card.role != "ceiling"}


def test_a_method_for_two_experts_is_run_where_there_are_two(write, pair):
    suite = write("suite", title="t", zoo="tiny", merge=["digits", "signs", "aerial"], prefixes=[1, 2, 3])
    plan = make_plan(RunRequest([pair, "average"], suite))
    assert planned(plan) == {("pair", "tasks=2"), *(("average", f"tasks={n}") for n in (1, 2, 3))}
    assert plan.left_out == ("pair is left out of 2 variants: pair merges 2 experts, not 1",)


def test_a_method_that_can_be_run_nowhere_is_refused_if_it_was_asked_for(write, pair, root):
    suite = write("suite", title="t", zoo="tiny", merge=["digits", "signs", "aerial"])
    with pytest.raises(MergebenchError, match="nothing to run for 'pair': pair merges 2 experts, not 3"):
        make_plan(RunRequest([pair], suite))
    with pytest.raises(MergebenchError, match="'multitask': zoo 'tiny' has no model trained on these 3 tasks"):
        make_plan(RunRequest(["multitask"], suite, zoo_root=str(root)))
    plan = make_plan(RunRequest(["references"], suite, zoo_root=str(root)))
    assert planned(plan) == {("pretrained", "")}
    assert [told.partition(":")[0] for told in plan.left_out] == ["multitask is left out"]


def test_a_step_of_a_sequence_counts_the_model_so_far(write, pair):
    orders = {0: [["digits", "signs"], ["aerial"], ["scenes", "textures"]]}
    merge = ["digits", "signs", "aerial", "scenes", "textures"]
    suite = write("suite", title="t", zoo="tiny", merge=merge, orders=orders)
    assert planned(make_plan(RunRequest([pair], suite))) == {("pair", "order=0,step=1"), ("pair", "order=0,step=2")}
    first = [["digits"], ["signs"], ["aerial"]]
    suite = write("other", title="t", zoo="tiny", merge=merge[:3], orders={0: first})
    with pytest.raises(MergebenchError, match="nothing to run for 'pair': pair merges 2 experts, not 1"):
        make_plan(RunRequest([pair], suite))  # the later steps would have two, but need the first


def test_called_directly_it_refuses_too(mini, pair):
    base = mini.encoder()
    with pytest.raises(MethodError, match="pair merges 2 experts, not 3"):
        mergebench.merge(pair, base, mini.experts(base))


def test_the_joint_model_of_these_very_tasks_is_measured(write, root, tmp_path):
    suite = write("suite", title="t", zoo="tiny", merge=["signs", "digits"])
    plan = make_plan(RunRequest(["multitask", "average"], suite, zoo_root=str(root)))
    results = {r.method: r for r in run(plan, ResultStore(tmp_path / "out")).results}
    assert results["multitask"].tasks["digits"].correct == results["finetuned"].tasks["digits"].correct
    assert set(results["multitask"].weights) - set(results["average"].weights) == {"joint/digits+signs"}
    assert results["multitask"].role == "joint" and results["multitask"].family == "references"


def test_a_joint_model_that_does_not_say_of_what_or_does_not_fit_is_refused(write, root):
    suite = write("suite", title="t", zoo="tiny", merge=["signs", "digits"])
    state = dict(SafetensorsState(WEIGHTS / "base.safetensors"))
    save_state(state, root / "joint" / "a.safetensors")
    with pytest.raises(CheckpointError, match=r"a\.safetensors: its header does not say which tasks"):
        make_plan(RunRequest(["multitask"], suite, zoo_root=str(root)))
    state["cls_token"] = torch.zeros(1, 1, 3)
    save_state(state, root / "joint" / "a.safetensors", {"recipe": json.dumps({"tasks": ["digits", "signs"]})})
    with pytest.raises(CheckpointError, match="the joint model .*'cls_token' is"):
        make_plan(RunRequest(["multitask"], suite, zoo_root=str(root)))
