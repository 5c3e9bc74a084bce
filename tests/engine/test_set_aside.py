"""An expert is not tested on what it was trained on, though its folder changed: it is refused in one line."""

import json

import pytest
import torch
from PIL import Image

from mergebench.bench import Bench
from mergebench.errors import MergebenchError
from mergebench.set_aside import set_aside
from mergebench.states import save_state
from mergebench.tuning import ValidationBench
from mergebench.zoo import Zoo


def picture(path, number):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (32, 32), (number * 5, 40, 90)).save(path)


@pytest.fixture
def own(write, tmp_path):
    """A zoo of one task whose images are in folders of classes, and its expert as `finetune` leaves it; the suite."""
    for number in range(20):
        picture(tmp_path / "data" / f"class{number % 2}" / f"{number:02}.png", number)
    save_state({"weight": torch.randn(2, 160), "bias": torch.zeros(2)}, tmp_path / "head.safetensors")
    task = {"data": "data", "head": "head.safetensors"}
    zoo = write("zoo", title="z", base="tiny", experts="{task}.safetensors", tasks={"flowers": task})
    suite = write("suite", title="s", zoo=zoo, merge=["flowers"])

    def trained(**recipe):
        noted = {"tasks": ["flowers"], "held_out": set_aside([Zoo(zoo).task("flowers")])} | recipe
        metadata = {"recipe": json.dumps({n: v for n, v in noted.items() if v is not None})}
        save_state(dict(Zoo("tiny").base), tmp_path / "flowers.safetensors", metadata)
        return suite

    return trained


def held(suite, kind=Bench):
    bench = kind(suite)
    return bench.data(bench.variants[0])


@pytest.mark.parametrize("kind", [Bench, ValidationBench])
def test_one_more_image_deals_all_out_anew_and_the_expert_is_refused(kind, own, tmp_path):
    suite = own()
    assert held(suite, kind)
    picture(tmp_path / "data" / "class0" / "99.png", 50)
    with pytest.raises(MergebenchError) as refused:
        held(suite, kind)
    told = "expert 'flowers' was trained when other images of task 'flowers' were set aside for the test"
    assert str(refused.value) == f"{told}: its data have changed since; fine-tune it again"
    (tmp_path / "data" / "class0" / "99.png").unlink()
    assert held(suite, kind)
    picture(tmp_path / "data" / "class0" / "99.png", 50)
    assert held(own(), kind)  # fine-tuned again


def test_a_test_split_that_comes_or_goes_is_another_one(own, tmp_path):
    suite = own()
    (tmp_path / "data").rename(tmp_path / "images")
    (tmp_path / "data").mkdir()
    (tmp_path / "images").rename(tmp_path / "data" / "train")
    for number in range(4):
        picture(tmp_path / "data" / "test" / f"class{number % 2}" / f"{number:02}.png", number)
    with pytest.raises(MergebenchError, match="set aside"):
        held(suite)
    assert held(own())  # its source's own test split: nothing to note
    (tmp_path / "data" / "test").rename(tmp_path / "gone")
    with pytest.raises(MergebenchError, match="set aside"):
        held(suite)


def test_what_notes_nothing_or_other_tasks_is_taken_at_its_word(own):
    assert held(own(held_out=None))
    assert held(own(tasks=["birds"], held_out={"birds": "0"}))


def test_a_model_of_several_tasks_is_held_to_each_that_is_evaluated(own):
    noted = set_aside([Zoo("tiny").task("digits")])
    assert noted == {}  # its images are made, and stay where they are
    with pytest.raises(MergebenchError, match="expert 'flowers' .* task 'flowers'"):
        held(own(tasks=["birds", "flowers"], held_out={"birds": "0", "flowers": "0"}))


def test_a_checkpoint_is_held_to_it_before_it_is_evaluated(own, tmp_path, monkeypatch):
    from mergebench.cli import main

    suite = own(held_out={"flowers": "0"})
    monkeypatch.setattr("mergebench.execution.Executor.evaluate", lambda *_: pytest.fail("too late"))
    assert main(["evaluate", str(tmp_path / "flowers.safetensors"), "--suite", suite]) == 2
