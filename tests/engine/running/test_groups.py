"""What belongs together stays together, and parts of a plan are all of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mergebench.errors import MergebenchError
from mergebench.running.groups import grouped, longest_first, part_named, shard
from mergebench.running.plan import RunRequest, make_plan


@pytest.fixture(scope="module")
def plans(tmp_path_factory):
    """Plans of suites whose variants share merges, continue them, or do neither."""
    folder = tmp_path_factory.mktemp("suites")
    shared = "title: t\nzoo: tiny\nmerge: [digits, signs, scenes]\n"
    kinds = {
        "corrupted": "corruptions: {kinds: [contrast, jpeg-compression], severities: [1, 5]}\n",
        "sequence": "orders: {1: [[digits], [signs], [scenes]], 2: [[scenes], [signs], [digits]]}\n",
        "growing": "prefixes: [2, 3]\n",
    }
    made = {}
    for name, text in kinds.items():
        (folder / f"{name}.yaml").write_text(shared + text)
        asked = RunRequest(["average", "regmean"], str(folder / f"{name}.yaml"), seeds=(0, 1))
        made[name] = make_plan(asked)
    return made


def told(groups):
    return [(g.cells[0].card.name, g.cells[0].seed, len(g.cells)) for g in groups]


def test_cells_that_share_a_merge_and_steps_of_a_sequence_are_groups(plans):
    methods = ("finetuned", "average", "regmean")
    assert told(grouped(plans["corrupted"].cells)) == [(m, s, 5) for s in (0, 1) for m in methods]
    sequences = [group for group in told(grouped(plans["sequence"].cells)) if group[0] != "finetuned"]
    assert sequences == [(m, s, 3) for s in (0, 1) for m in methods[1:] for order in (1, 2)]
    scales = [group for group in told(grouped(plans["growing"].cells)) if group[0] == "regmean"]
    assert scales == [("regmean", seed, 1) for seed in (0, 0, 1, 1)]


def test_what_takes_longest_is_handed_out_first_behind_the_ceilings(plans):
    ordered = [name for name, *_ in told(longest_first(grouped(plans["growing"].cells)))]
    assert ordered == sorted(ordered, key=["finetuned", "regmean", "average"].index)


@given(st.sampled_from(["corrupted", "sequence", "growing"]), st.integers(1, 9))
def test_the_parts_of_a_plan_are_all_of_it_and_split_no_group(plans, name, of):
    plan = plans[name]
    parts = [shard(plan, number, of) for number in range(1, of + 1)]
    ceilings = {c.key.digest for c in plan.cells if c.card.role == "ceiling"}
    own = [{c.key.digest for c in part.cells} - ceilings for part in parts]
    assert all(ceilings <= {c.key.digest for c in part.cells} for part in parts)
    assert set().union(*own) == {c.key.digest for c in plan.cells} - ceilings
    assert sum(map(len, own)) == len(set().union(*own))
    for group in grouped([c for c in plan.cells if c.card.role != "ceiling"]):
        members = {c.key.digest for c in group.cells}
        assert sum(members <= part for part in own) == 1
    sizes = [len(grouped([c for c in part.cells if c.key.digest not in ceilings])) for part in parts]
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("text", ["0/3", "4/3", "1/0", "", "3", "1/2/3", "a/b", "-1/2"])
def test_a_part_that_there_is_not_is_refused(text):
    with pytest.raises(MergebenchError, match=f"--shard {text}: "):
        part_named(text)
