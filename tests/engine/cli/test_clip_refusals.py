"""A miniature of the hub, broken in one way each: one clear line, status 2, and nothing half-written."""

import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import CLIPVisionConfig, CLIPVisionModel

BASE = "openai/clip-vit-base-patch32"
EXPERT = "tanganke/clip-vit-base-patch32_mnist"
DATA = {"eurosat": "datasets/tanganke/eurosat", "mnist": "datasets/ylecun/mnist"}
TEST = "test-00000-of-00001.parquet"
VISION = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 1, "intermediate_size": 256}


def reweigh(root: Path, change, place: str = EXPERT) -> None:
    """Change a checkpoint's tensors."""
    path = root / place / "model.safetensors"
    state = load_file(path)
    change(state)
    save_file(state, path)


def retable(root: Path, task: str, change, split: str = "test") -> None:
    """Change a data set's rows: columns by name, as lists."""
    path = root / DATA[task] / f"{split}-00000-of-00001.parquet"
    table = pq.read_table(path)
    columns = table.to_pydict()
    change(columns)
    schema = table.schema
    pq.write_table(pa.table({n: pa.array(c, schema.field(n).type) for n, c in columns.items()}, schema), path)


def named(state, end: str) -> str:
    """A tensor's whole name: versions of transformers differ in what they put before it."""
    return next(name for name in state if name.endswith(end))


def lacks_one(state):
    del state[named(state, "layers.1.mlp.fc1.bias")]


def has_one_more(state):
    state[named(state, "layers.1.mlp.fc1.bias").replace("fc1", "fc3")] = torch.zeros(3)


def halves_keys(state):
    name = named(state, "layers.0.self_attn.k_proj.weight")
    state[name] = state[name].half()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lacks_one, "encoder.layers.1.mlp.fc1.bias', which every"),
        (has_one_more, "encoder.layers.1.mlp.fc3.bias', which no"),
        (halves_keys, "k_proj.weight' is torch.float16"),
        (lambda s: s.clear(), "holds nothing"),
    ],
)
def test_an_expert_s_tensors(hub, refuses, change, told):
    reweigh(hub, change)
    line = refuses("fetch", "run", "merge")
    assert "expert 'mnist'" in line and EXPERT in line and told in line


@pytest.mark.parametrize(
    ("differs", "told"),
    [
        ({"hidden_size": 128}, ("64", "128")),
        ({"patch_size": 8}, ("'pos_embed' is (1, 17, 64), but (1, 5, 64)", "patch")),
        ({"patch_size": 8, "image_size": 16}, ("patch_embed.proj.weight", "(64, 3, 8, 8)", "(64, 3, 16, 16)")),
        ({"image_size": 64}, ("pos_embed", "17", "5", "of images of 64 pixels, the base of 32", "image_size: 64)")),
        ({"num_hidden_layers": 3}, ("blocks.2",)),
        ({"num_hidden_layers": 1}, ("blocks.1",)),
    ],
)
def test_an_expert_of_another_backbone(hub, refuses, differs, told):
    config = CLIPVisionConfig(**{**VISION, "image_size": 32, "patch_size": 16, **differs})
    CLIPVisionModel(config).save_pretrained(hub / EXPERT)
    line = refuses()
    assert "expert 'mnist'" in line and EXPERT in line and all(part in line for part in told)
    assert "another backbone" in line or "image_size: 64" in told[-1]  # which has a remedy


def test_a_base_without_a_text_tower(hub, refuses):
    def strip(state):
        for name in [n for n in state if n.startswith("text_") or n == "logit_scale"]:
            del state[name]

    reweigh(hub, strip, BASE)
    line = refuses()
    assert BASE in line and "text" in line and "head:" in line


def test_a_text_tower_that_lacks_a_part(hub, refuses):
    reweigh(hub, lambda s: s.pop("text_model.encoder.layers.1.mlp.fc1.bias"), BASE)
    line = refuses()
    assert BASE in line and "text tower" in line and "resblocks.1.mlp.c_fc.bias" in line


@pytest.mark.parametrize("place", [BASE, EXPERT])
@pytest.mark.parametrize("left", [0, 3000, -7])
def test_a_checkpoint_that_was_cut_off(hub, refuses, place, left):
    path = hub / place / "model.safetensors"
    path.write_bytes(path.read_bytes()[:left])
    line = refuses(*(["merge", "evaluate"] if place == BASE else ["fetch"]))
    assert str(path) in line and "truncated" in line and "download or copy it again" in line


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("left", [0, 0.5, 0.99])
def test_a_table_that_was_cut_off(hub, refuses, split, left):
    path = hub / DATA["mnist"] / f"{split}-00000-of-00001.parquet"
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * left)])
    line = refuses()
    assert line.count("task 'mnist'") == 1 and f"cannot read {path} (" in line and "again" in line


def test_of_several_tables_the_one_that_was_cut_off_is_named(hub, refuses):
    folder = hub / DATA["mnist"]
    table = pq.read_table(folder / TEST)
    (folder / TEST).unlink()
    for part in range(3):
        pq.write_table(table.slice(10 * part, 10), folder / f"test-{part:05}-of-00003.parquet")
    cut = folder / "test-00001-of-00003.parquet"
    cut.write_bytes(cut.read_bytes()[:-100])
    assert f"cannot read {cut} (" in refuses()


@pytest.mark.parametrize("content", [b"", b"no image at all", None])
def test_an_image_that_is_none(hub, refuses, content):
    retable(hub, "mnist", lambda columns: columns["image"].__setitem__(7, {"bytes": content, "path": None}))
    line = refuses("fetch")
    assert "task 'mnist'" in line and "row 7 of 'test'" in line and str(hub / DATA["mnist"]) in line
    assert not list((hub.parent / "cache" / "images").glob("mnist-*/test.*"))


def test_an_image_that_was_cut_off(hub, refuses):
    def cut(columns):
        columns["image"][7] = {"bytes": columns["image"][7]["bytes"][:-200], "path": None}

    retable(hub, "mnist", cut)
    assert "row 7 of 'test'" in refuses()


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_count_that_is_off_by_one(hub, refuses, split):
    retable(hub, "mnist", lambda columns: [column.pop() for column in columns.values()], split)
    line = refuses("fetch", "run", "evaluate", "finetune")
    assert line.count("task 'mnist'") == 1 and f"split {split!r} has 29 images" in line and "30" in line


def other(fields):
    fields["classes"][1], fields["labels"][1] = "tundra", ["tundra"]


def fewer(fields):
    del fields["classes"][1], fields["labels"][1]


def twice(fields):
    fields["classes"][1] = fields["classes"][2]


def taken(fields):
    fields["labels"][1] = fields["labels"][2]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (other, ("'FOREST'", "'tundra'")),
        (fewer, ("'FOREST'",)),
        (twice, ("tasks.eurosat", "two are named 'brushland or shrubland'")),
        (taken, ("two classes", "brushland or shrubland")),
        (lambda f: f["labels"].pop(), ("labels: 9", "10 classes")),
    ],
)
def test_a_list_of_classes_that_is_not_the_data_s(refuses, rezoo, change, told):
    rezoo(lambda fields: change(fields["tasks"]["eurosat"]))
    line = refuses()
    assert "eurosat" in line and all(part in line for part in told), line


@pytest.mark.parametrize(("label", "told"), [(-1, "label -1"), (10, "label 10"), (None, "label")])
def test_a_label_that_no_class_has(hub, refuses, label, told):
    retable(hub, "mnist", lambda columns: columns["label"].__setitem__(3, label))
    line = refuses()
    assert "task 'mnist'" in line and told in line


@pytest.mark.parametrize("place", [BASE, EXPERT, *DATA.values()])
def test_a_place_that_is_missing(hub, refuses, place):
    shutil.rmtree(hub / place)
    line = refuses()
    assert place.removeprefix("datasets/") in line and str(hub) in line


@pytest.mark.parametrize("place", [BASE, EXPERT, *DATA.values()])
def test_a_place_that_is_empty(hub, refuses, place):
    shutil.rmtree(hub / place)
    (hub / place).mkdir()
    assert str(hub / place) in refuses()
