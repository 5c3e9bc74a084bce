"""Weights are not tested on what they were trained on, though a folder changed: they are refused in one line."""

import json

import pytest
import yaml
from safetensors.torch import load_file

from mergebench.errors import MergebenchError
from mergebench.suites.bench import Bench
from mergebench.tuning.search import ValidationBench
from mergebench.weights.formats import open_weights
from mergebench.weights.states import save_state
from mergebench.zoo.set_aside import check_set_aside, inherited
from mergebench.zoo.zoo import Zoo


def held(own, kind=Bench):
    bench = kind(own.suite)
    return bench.data(bench.variants[0])


@pytest.mark.parametrize("kind", [Bench, ValidationBench])
def test_one_more_image_deals_all_out_anew_and_the_expert_is_refused(kind, own):
    own.trained()
    assert held(own, kind)
    own.grow()
    with pytest.raises(MergebenchError) as refused:
        held(own, kind)
    told = "expert 'flowers' was trained when other images of task 'flowers' were set aside for the test"
    reason = "its data, or how they are decoded, have changed since"
    assert str(refused.value) == f"{told}: {reason}; fine-tune again"
    (own.folder / "data" / "class0" / "99.png").unlink()
    assert held(own, kind)
    own.grow()
    own.trained()
    assert held(own, kind)  # fine-tuned again


def test_a_test_split_that_comes_or_goes_is_another_one(own):
    own.trained()
    data = own.folder / "data"
    data.rename(own.folder / "images")
    data.mkdir()
    (own.folder / "images").rename(data / "train")
    for number in range(4):
        own.picture(f"data/test/class{number % 2}/{number:02}.png", 30 + number)
    with pytest.raises(MergebenchError, match="set aside"):
        held(own)
    own.trained()
    assert held(own)  # its source's own test split: nothing to note
    (data / "test").rename(own.folder / "gone")
    with pytest.raises(MergebenchError, match="set aside"):
        held(own)


def test_what_notes_nothing_is_taken_at_its_word(own):
    own.trained(held_out=None)
    assert held(own)


def test_an_expert_is_held_to_what_it_notes_under_whatever_name(own):
    own.trained(tasks=["birds"], held_out={"birds": "0"})
    with pytest.raises(MergebenchError) as refused:
        held(own)
    told = "expert 'flowers' was trained when other images of task 'flowers' were set aside for the test"
    assert str(refused.value).startswith(told) and "have changed since, or it is of birds; fine-tune" in str(
        refused.value
    )
    own.trained(tasks=["birds"], held_out={"birds": own.held_out["flowers"]})
    assert held(own)


def test_a_model_of_several_tasks_is_held_to_each_that_is_evaluated(own):
    # Its images are made, and stay where they are.
    assert inherited([], [Zoo("tiny").task("digits")]) == {"learnt": ["digits"], "held_out": {}}
    own.trained(tasks=["birds", "flowers"], held_out={"birds": "0", "flowers": "0"})
    with pytest.raises(MergebenchError, match="expert 'flowers' .* task 'flowers'"):
        held(own)


def test_a_base_that_was_itself_trained_is_held_to_it(own):
    own.trained()
    own.trained("base.safetensors", held_out={"flowers": "0"})
    with open(own.zoo) as file:
        fields = yaml.safe_load(file)
    fields |= {"base": "base.safetensors", "encoder": "mergebench.tasks.tiny.model:create_encoder"}
    with open(own.zoo, "w") as file:
        yaml.safe_dump(fields, file)
    with pytest.raises(MergebenchError, match="the base was trained when other images of task 'flowers'"):
        held(own)


def test_what_is_made_from_several_inherits_what_all_of_them_note(own):
    first = own.trained("first.safetensors", tasks=["birds", "flowers"], held_out={"birds": "0", "flowers": "1"})
    second = own.trained("second.safetensors", tasks=["cars", "flowers"], held_out={"cars": "2", "flowers": "1"})
    plain = own.trained("plain.safetensors", tasks=["boats"], held_out=None)
    noted = {"learnt": ["birds", "cars", "flowers"], "held_out": {"birds": "0", "cars": "2", "flowers": "1"}}
    assert inherited(map(open_weights, (first, plain, second))) == noted
    assert inherited([open_weights(plain)]) == {}


@pytest.mark.parametrize("other", [{"flowers": "3"}, {}])  # of the latter, the source had a test split of its own
def test_what_is_made_from_two_that_contradict_each_other_is_tested_on_neither(own, other):
    files = own.trained("first.safetensors"), own.trained("second.safetensors", held_out=other)
    noted = inherited(map(open_weights, files))
    assert noted["held_out"] == {"flowers": sorted([own.held_out["flowers"], other.get("flowers", "")])}
    again = inherited([open_weights(own.trained("third.safetensors", **noted)), open_weights(files[0])])
    assert again == noted
    own.trained(**noted)
    with pytest.raises(MergebenchError, match="it is made from several, for which it was not the same ones"):
        held(own)


def test_a_head_is_held_to_it_as_the_expert_is(own):
    own.trained()
    save_state(load_file(own.head), own.head, {"recipe": json.dumps(inherited([], [Zoo(own.zoo).task("flowers")]))})
    assert held(own)
    own.grow()
    own.trained()
    with pytest.raises(MergebenchError, match="the head of task 'flowers' was trained when other images"):
        held(own)


@pytest.mark.parametrize("learnt", [None, 3, "flowers", [3]])
def test_notes_in_disorder_are_none(own, learnt):
    part = open_weights(own.trained(tasks=None, learnt=learnt, held_out={}))
    check_set_aside("it", part, ["flowers"], Zoo(own.zoo).task)
    assert inherited([part]) == {}
