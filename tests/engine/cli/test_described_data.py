"""A task of one's own from the command line: described by options or a file, told in one line, held to headers."""

import json

import pytest
import torch
import yaml
from jsonargparse import ArgumentParser
from PIL import Image

from mergebench.cli.description import add_description_options, description
from mergebench.configuration import TaskConfig, ZooConfig
from mergebench.errors import MergebenchError
from mergebench.running.own_merge import OwnModels
from mergebench.weights.states import save_state
from mergebench.zoo.zoo import Zoo


def described(*arguments):
    parser = ArgumentParser()
    add_description_options(parser)
    return description(parser.parse_args(list(map(str, arguments))))


def folder(root, **classes):
    for name, count in classes.items():
        (root / name).mkdir(parents=True)
        for number in range(count):
            Image.new("RGB", (8, 8), (number, len(name), ord(name[-1]))).save(root / name / f"{number}.png")
    return root


def test_every_option_is_a_field_of_a_described_task():
    fields = ("image=file", "label=kind", "split=Usage", "subset=s", "alpha=white", "white=4095")
    several = ["--splits", "train=Training", "test=Testing", "--classes", "a", "b", "--labels", "1", "2"]
    given = described(*(f"--{field}" for field in fields), "--counts", "Training=9", *several, "--templates", "a {}.")
    config = TaskConfig(data="x", **given)
    assert (config.image, config.label, config.split, config.subset) == ("file", "kind", "Usage", "s")
    assert config.splits == {"train": "Training", "test": "Testing"} and config.counts == {"Training": 9}
    assert config.classes == ["a", "b"] and config.labels == ["1", "2"] and config.white == 4095
    assert config.templates == ["a {}."] and described() == {}
    with pytest.raises(MergebenchError, match="--splits Training: write NAME=NAME"):
        described("--splits", "Training")


def test_a_file_describes_with_paths_beside_it_and_an_option_wins(tmp_path):
    folder(tmp_path / "deep/images", a=1)
    file = tmp_path / "deep/task.yaml"
    file.write_text(yaml.safe_dump({"data": "images", "label": "kind", "classes": ["a", "b"]}))
    found = described("--describe", file, "--label", "sort")
    assert found == {"data": str(tmp_path / "deep/images"), "label": "sort", "classes": ["a", "b"]}
    file.write_text("tasks: {a: {data: x}}")
    with pytest.raises(MergebenchError, match="describes no task: write its fields alone"):
        described("--describe", file)


def test_describe_tells_what_the_data_of_a_zoo_came_to(command, tmp_path):
    folder(tmp_path / "images", a=9, b=9)
    tasks = {"n": {"data": "images"}, "gone": {"data": "nowhere"}}
    zoo = {"title": "z", "base": "tiny", "experts": "{task}.safetensors", "tasks": tasks}
    (tmp_path / "zoo.yaml").write_text(yaml.safe_dump(zoo))
    done = command("describe", tmp_path / "zoo.yaml")
    assert done.status == 0 and "  task n: 2 classes (a, b); images: train 8, test 4" in done.out
    assert "task 'gone': no data at" in done.out


def test_describe_tells_what_a_description_came_to_or_why_it_is_refused(command, refused, tmp_path):
    folder(tmp_path / "images", a=8, b=8)
    file = tmp_path / "mine.yaml"
    file.write_text("data: images\nclasses: [b, a]\n")
    done = command("describe", file)
    assert done.status == 0 and "task mine: 2 classes (b, a); images: train" in done.out
    file.write_text("data: images\nclasses: [b, c]\n")
    assert "task 'mine': the card has no class 'a'; the data have no class 'c'" in refused("describe", file)
    file.write_text("data: images\nfolder: x\n")
    assert "folder: there is no such field; there are: title, data" in refused("describe", file)


def test_a_description_without_data_is_told_as_one(refused, tmp_path):
    (tmp_path / "mine.yaml").write_text("classes: [b, a]\n")
    line = refused("finetune", "--task", "n", "--base", "tiny", "--describe", tmp_path / "mine.yaml")
    assert "mine.yaml: it names no `data`; add it, or give --data" in line


@pytest.mark.parametrize(("name", "told"), [("1", "1"), ("true", "True"), ("~", "None")])
def test_a_description_s_name_that_is_no_text_is_the_name_of_no_field(name, told, refused, tmp_path):
    (tmp_path / "mine.yaml").write_text(f"data: images\n{name}: x\n")
    line = refused("finetune", "--task", "n", "--base", "tiny", "--describe", tmp_path / "mine.yaml")
    assert f"mine.yaml: {told} is the name of no field; the fields are those of docs/models.md" in line


def test_a_head_without_names_is_not_taken_at_its_word_where_classes_have_two_orders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder(tmp_path / "images", **dict.fromkeys(map(str, range(1, 12)), 2))
    width = Zoo("tiny").encoder.width
    save_state({"weight": torch.zeros(11, width), "bias": torch.zeros(11)}, tmp_path / "h.safetensors")

    def zoo(**task):
        tasks = {"n": {"data": "images", "head": "h.safetensors", **task}}
        return Zoo("z", config=ZooConfig(title="z", base="tiny", experts="{task}", tasks=tasks))

    with pytest.raises(
        MergebenchError, match=r"order of text \(1, 10, 11\) or of numbers\? Name them in the head's order"
    ):
        zoo().head("n")
    assert zoo(classes=[str(n) for n in range(1, 12)]).head("n").classes == 11
    noted = {"recipe": json.dumps({"classes": sorted(map(str, range(1, 12)))})}
    save_state({"weight": torch.zeros(11, width), "bias": torch.zeros(11)}, tmp_path / "h.safetensors", noted)
    assert zoo().head("n").classes == 11


def test_calibration_of_other_classes_than_the_experts_header_notes_is_refused(tmp_path):
    class State(dict):
        def __init__(self, **recipe):
            self.metadata = {"recipe": json.dumps(recipe)}

    places = {name: folder(tmp_path / "images" / name, **{f"{name}1": 9, f"{name}2": 9}) for name in "abc"}

    def told(a, b):
        models = OwnModels("base", {"a": "a", "b": "b"}, {"a": str(places[a]), "b": str(places[b])})
        noted = {n: State(classes=[f"{n}1", f"{n}2"], data=str(places[n])) for n in "ab"}
        models.__dict__["expert_states"] = noted
        return models.told()

    assert told("a", "b")[1] == f"calibration of b: 4 images of {places['b']}, 2 classes (b1, b2)"
    with pytest.raises(
        MergebenchError, match="expert 'b' was trained on the classes b1, b2 of .*but .*c has c1, c2; give"
    ):
        told("a", "c")
