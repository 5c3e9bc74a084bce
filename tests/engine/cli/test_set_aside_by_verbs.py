"""What weights were trained on is not tested on, whichever verb merged, trained or evaluates them."""

import shutil
from pathlib import Path

import pytest
import yaml

from mergebench.weights.formats import open_weights
from mergebench.weights.states import recipe_of
from mergebench.zoo.zoo import Zoo

TINY = "mergebench.tasks.tiny.model:create_encoder"


@pytest.fixture
def merged(own):
    """Where a merged checkpoint is to be."""
    return own.folder / "merged.safetensors"


def header(path):
    return recipe_of(open_weights(path))


def test_a_checkpoint_is_held_to_it_before_it_is_evaluated(own, refused, monkeypatch):
    expert = own.trained(held_out={"flowers": "0"})
    monkeypatch.setattr("mergebench.running.execution.Executor.evaluate", lambda *_: pytest.fail("too late"))
    assert f"the checkpoint ({expert}) was trained when" in refused("evaluate", expert, "--suite", own.suite)


def test_what_is_merged_of_a_suite_inherits_it_under_the_zoo_s_names_too(own, merged, command, refused):
    own.trained("figures.safetensors")
    for file in (Path(own.zoo), Path(own.suite)):
        file.write_text(file.read_text().replace("flowers", "figures"))
    assert command("merge", "--method", "average", "--suite", own.suite, "--output", merged).status == 0
    noted, digest = header(merged), header(own.folder / "figures.safetensors")["held_out"]["flowers"]
    assert noted["learnt"] == ["figures", "flowers"] and noted["held_out"] == {"flowers": digest, "figures": digest}
    assert command("evaluate", merged, "--suite", own.suite).status == 0
    own.grow()
    line = refused("evaluate", merged, "--suite", own.suite)
    assert f"the checkpoint ({merged}) was trained when other images of task 'figures' were set aside" in line


def test_what_is_merged_of_files_inherits_it(own, merged, command, refused):
    experts = (f"figures={own.trained()}", own.trained("plain.safetensors", held_out=None))
    assert (
        command("merge", "--method", "average", "--base", "tiny", "--experts", *experts, "--output", merged).status == 0
    )
    assert header(merged)["learnt"] == ["flowers"] and header(merged)["held_out"] == own.held_out
    assert command("evaluate", merged, "--suite", own.suite).status == 0
    own.grow()
    line = refused("evaluate", merged, "--suite", own.suite)
    assert f"the checkpoint ({merged}) was trained when other images of task 'flowers' were set aside" in line


def test_images_that_a_suite_s_merge_was_calibrated_with_are_not_tested_on(own, merged, command, refused):
    own.trained(held_out=None)
    merge = ("merge", "--suite", own.suite, "--method", "regmean", "--set", "samples=4", "--output", merged)
    assert command(*merge).status == 0 and header(merged)["held_out"] == own.held_out
    assert command("evaluate", merged, "--suite", own.suite).status == 0
    own.grow()
    line = refused("evaluate", merged, "--suite", own.suite)
    assert f"the checkpoint ({merged}) was trained when other images of task 'flowers' were set aside" in line


@pytest.mark.parametrize("name", ["flowers", "mine"])  # the latter is no task of the zoo: by what it notes
def test_a_suite_s_merge_holds_its_experts_to_it(own, merged, refused, monkeypatch, name):
    experts = ("--experts", f"{name}={own.trained()}")
    own.grow()
    monkeypatch.setattr("mergebench.running.execution.Executor.merge", lambda *_: pytest.fail("too late"))
    line = refused("merge", "--suite", own.suite, "--method", "average", *experts, "--output", merged)
    assert f"expert {name!r} was trained when other images of task 'flowers' were set aside" in line


def test_a_merge_of_experts_that_note_nothing_asks_for_no_images(own, merged, command):
    own.trained(held_out=None)
    shutil.rmtree(own.folder / "data")
    assert command("merge", "--suite", own.suite, "--method", "average", "--output", merged).status == 0
    assert not {"learnt", "held_out"} & header(merged).keys()


def test_the_joint_model_is_held_to_it_wherever_it_is_used(own, merged, command, refused, write):
    root = shutil.copytree(Zoo("tiny").files.root, own.folder / "weights", ignore=shutil.ignore_patterns("joint"))
    shutil.copy(own.trained(), root / "experts")
    shutil.copy(own.head, root / "heads" / "flowers.safetensors")
    tasks = yaml.safe_load(Path(own.zoo).read_text())["tasks"]
    del tasks["flowers"]["head"]  # the folder has it
    zoo = write("whole", title="z", weights="weights", encoder=TINY, mean=[0.5] * 3, std=[0.5] * 3, tasks=tasks)
    suite = write("whole-suite", title="s", zoo=zoo, merge=["flowers"])
    run = ("run", "--suite", suite, "--out", own.folder / "out", "--methods")
    merge = ("merge", "--suite", suite, "--method", "multitask", "--output", merged)
    (root / "joint").mkdir()
    joint = own.trained("weights/joint/one.safetensors", held_out={"flowers": "0"})
    for verb in ((*run, "multitask"), merge):
        assert f"the joint model ({joint}) was trained when other images of task 'flowers'" in refused(*verb)
    assert command(*run, "average").status == 0
    own.trained("weights/joint/one.safetensors")
    own.trained("weights/experts/flowers.safetensors", held_out=None)
    assert command(*merge).status == 0 and header(merged)["held_out"] == own.held_out


def test_an_expert_inherits_it_from_its_base_and_is_not_trained_again_on_other_images(own, command, refused):
    first = own.trained("first.safetensors", tasks=["birds"], held_out={"birds": "0"})
    second = own.folder / "second.safetensors"
    tune = ("finetune", "--task", "flowers", "--data", own.folder / "data", "--head", own.head, "--encoder", TINY)
    tune += ("--steps", 1, "--device", "cpu", "--base")
    assert command(*tune, first, "--output", second).status == 0
    noted = header(second)
    assert noted["tasks"] == ["flowers"] and noted["learnt"] == ["birds", "flowers"]
    assert noted["held_out"] == {"birds": "0"} | own.held_out
    own.grow()
    line = refused(*tune, second, "--output", own.folder / "third.safetensors")
    assert "the base was trained when other images of task 'flowers' were set aside for the test" in line
