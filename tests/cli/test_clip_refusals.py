"""A miniature of the hub, broken in one way each: one clear line, status 2, and nothing half-written."""

import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from transformers import CLIPVisionConfig, CLIPVisionModel

TASKS = ("eurosat", "mnist")  # of the hub
BASE = "openai/clip-vit-base-patch32"
EXPERT = "tanganke/clip-vit-base-patch32_mnist"
DATA = {"eurosat": "datasets/tanganke/eurosat", "mnist": "datasets/ylecun/mnist"}
TEST = "test-00000-of-00001.parquet"
VISION = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 1, "intermediate_size": 256}


def rezoo(root: Path, change) -> None:
    """Change the zoo's YAML file."""
    file = root / "mini-clip.yaml"
    fields = yaml.safe_load(file.read_text())
    change(fields)
    file.write_text(yaml.safe_dump(fields, sort_keys=False))


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


@pytest.fixture
def refuses(refused, hub, at_hub, tmp_path):
    """Every verb that reads what is broken says the same in one line, and leaves nothing in the output folder."""
    out = tmp_path / "out"
    options = {
        "fetch": at_hub,
        "run": [*at_hub, "--methods", "average", "--out", out],
        "merge": [*at_hub, "--method", "average", "--output", out / "merged.safetensors"],
        "evaluate": [hub / EXPERT / "model.safetensors", *at_hub, "--json", out / "counts.json"],
        "finetune": ["--task", "mnist", *at_hub[2:], "--steps", 1, "--output", out / "expert.safetensors"],
    }

    def told(*verbs: str) -> str:
        lines = {refused(verb, *options[verb]) for verb in verbs or ("run",)}
        assert len(lines) == 1 and not [path for path in out.rglob("*") if path.is_file()]
        return lines.pop()

    return told


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
        ({"image_size": 64}, ("pos_embed", "17", "5")),
        ({"num_hidden_layers": 3}, ("blocks.2",)),
        ({"num_hidden_layers": 1}, ("blocks.1",)),
    ],
)
def test_an_expert_of_another_backbone(hub, refuses, differs, told):
    config = CLIPVisionConfig(**{**VISION, "image_size": 32, "patch_size": 16, **differs})
    CLIPVisionModel(config).save_pretrained(hub / EXPERT)
    line = refuses()
    assert "expert 'mnist'" in line and EXPERT in line and all(part in line for part in told)
    assert "another backbone" in line


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
def test_a_list_of_classes_that_is_not_the_data_s(hub, refuses, change, told):
    rezoo(hub, lambda fields: change(fields["tasks"]["eurosat"]))
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


def test_a_root_that_is_no_folder(hub, at_hub, refused):
    for root in (hub / "nowhere", hub / "two.yaml"):
        line = refused("fetch", *at_hub[:-1], root)
        assert str(root) in line and "--zoo-root" in line


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"embed_dim": 128}, "'cls_token' is (1, 1, 64), but (1, 1, 128)"),
        ({"patch_size": 8}, "'pos_embed' is (1, 5, 64), but (1, 17, 64)"),
        ({"depth": 3}, "lacks 'blocks.2.norm1.weight', which is (64,)"),
        ({"depth": 1}, "has 'blocks.1.norm1.weight' (64,)"),
    ],
)
def test_a_base_of_another_backbone(hub, refuses, options, told):
    rezoo(hub, lambda fields: fields["options"].update(options))
    line = refuses()
    assert "the base (" in line and told in line and "name the encoder and options" in line


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "cannot be read"),
        ('{"vision_', "cannot be read"),
        ("[]", "describes no model"),
        ('{"model_type": "bert"}', "is of a 'bert' model"),
    ],
)
def test_a_configuration_that_says_nothing(hub, refuses, content, told):
    rezoo(hub, lambda fields: [fields.pop(name) for name in ("encoder", "options")])
    config = hub / BASE / "config.json"
    config.write_text(content)
    line = refuses("fetch")
    assert str(config) in line and told in line


@pytest.fixture
def own(refused, hub, tmp_path):
    """A zoo of one's own in another folder: what `fetch` says of it."""

    def told(change) -> str:
        rezoo(hub, change)
        (tmp_path / "own").mkdir()
        zoo = shutil.copy(hub / "mini-clip.yaml", tmp_path / "own" / "mine.yaml")
        return refused("fetch", "--suite", hub / "two.yaml", "--zoo", zoo, "--zoo-root", hub)

    return told


def of_mnist(**changes):
    return lambda fields: fields["tasks"]["mnist"].update(changes)


def renamed(name: str):
    return lambda fields: fields["tasks"].update({name: fields["tasks"].pop("mnist")})


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda f: f.update(expert="x"), "expert: there is no such field; did you mean 'experts'"),
        (of_mnist(clases=["x"]), "tasks.mnist.clases: there is no such field; did you mean 'classes'"),
        (lambda f: f["tasks"].update(mnist="ylecun/mnist"), "tasks.mnist: must be a section"),
        (lambda f: f.update(tasks=["mnist", "minst"]), "'minst'; did you mean 'mnist'"),
        (lambda f: f.update(experts={"eurosat": EXPERT}), "experts: none for task 'mnist'"),
        (lambda f: f.update(experts="tanganke/expert"), "'tanganke/expert' must hold {task}"),
        (lambda f: f.update(experts="tanganke/{task}{}"), "no such checkpoint"),
        (lambda f: f.update(encoder="vit_base_patch32_clip"), "unknown timm model 'vit_base_patch32_clip'"),
        (lambda f: f.update(encoder="resnet18", options={}), "makes a ResNet"),
        (lambda f: f["options"].update(depht=2), "unexpected keyword argument 'depht'"),
        (lambda f: f.pop("encoder"), "options are of an encoder"),
        (lambda f: f.update(weights="weights"), "either weights (a folder) or base and experts"),
        (lambda f: f.pop("base"), "either weights (a folder) or base and experts"),
        (lambda f: f.update(base="nowhere"), "own/nowhere; give a file, a folder, or owner/name"),
        (lambda f: f.update(base="./weights/base.safetensors"), "own/weights/base.safetensors"),
        (lambda f: f.update(base="clip-vit-b-32", options={}), "(1, 1, 768) in encoder 'vit_base_patch32_clip"),
        (lambda f: f.update(std=[0.0, 0.5, 0.5]), "std.0: Input should be greater than 0"),
        (lambda f: f.update(text=EXPERT), f"{EXPERT} has no 'visual_projection.weight'"),
        (renamed("own/mnist"), "tasks: 'own/mnist' names files"),
        (renamed(".."), "tasks: '..' names files"),
        (renamed(""), "tasks: '' names files"),
        (of_mnist(templates=["a {} of {x}"]), "must hold {} once, for the class name, and no other braces"),
        (of_mnist(templates=["a {}" + " very" * 90]), "longer than the 77 tokens"),
        (of_mnist(data=""), "tasks.mnist.data"),
        (of_mnist(data="./pictures"), "no data at"),
        (of_mnist(image="picture"), "no column 'picture'; there are: image, label"),
        (of_mnist(subset="fine"), "subset 'fine'"),
        (of_mnist(counts={"train": 0}), "tasks.mnist.counts.train"),
        (of_mnist(head="head.safetensors"), "no such checkpoint"),
        (of_mnist(head="."), "own is a folder; name a checkpoint in it"),
    ],
)
def test_mistakes_in_a_zoo_of_one_s_own(own, change, told):
    assert told in own(change)


@pytest.mark.parametrize(
    ("tensors", "told"),
    [
        ({"weight": (10, 32), "bias": (10,)}, "does not fit features of width 64: weight (10, 32)"),
        ({"weight": (9, 64), "bias": (9,)}, "has 9 classes, its card 10"),
        ({"weight": (10, 64)}, "lacks 'bias'; a head holds"),
        ({"norm.weight": (64,)}, "lacks 'projection'; a head holds"),
    ],
)
def test_a_head_that_does_not_fit(own, tmp_path, tensors, told):
    head = tmp_path / "head.safetensors"
    save_file({name: torch.zeros(shape) for name, shape in tensors.items()}, head)
    line = own(of_mnist(head="../head.safetensors"))
    assert "head of task 'mnist'" in line and "head.safetensors" in line and told in line


@pytest.mark.parametrize("content", ["", "title: [", "title: a\ntitle: b", "\0", "[]"])
def test_a_zoo_that_is_no_yaml(refused, hub, tmp_path, content):
    (tmp_path / "mine.yaml").write_text(content)
    assert str(tmp_path / "mine.yaml") in refused("fetch", "--zoo", tmp_path / "mine.yaml")


def test_paths_are_relative_to_the_zoo_s_file(hub, command, tmp_path, monkeypatch):
    def local(fields):
        fields |= {"base": f"./{BASE}/model.safetensors", "experts": "./tanganke/clip-vit-base-patch32_{task}"}
        for task in TASKS:
            fields["tasks"][task]["data"] = f"./{DATA[task]}"

    rezoo(hub, local)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    done = command("fetch", "--suite", "../hub/two.yaml", "--zoo", "../hub/mini-clip.yaml")
    assert done.status == 0, done.err
