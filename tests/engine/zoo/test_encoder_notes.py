"""What encoder files are of: what is named, noted and described must agree, however it is written."""

import json
import shutil
import sys

import pytest

from mergebench.errors import CheckpointError, MergebenchError
from mergebench.running.own_merge import OwnModels
from mergebench.weights.encoders import Encoder
from mergebench.weights.states import SafetensorsState, save_state
from mergebench.zoo.encoder_notes import check_note, encoder_of, noted_encoder
from mergebench.zoo.zoo import Zoo

TINY = "mergebench.tasks.tiny.model:create_encoder"
QUICK, GELU = "vit_base_patch16_clip_quickgelu_224", "vit_base_patch16_clip_224"
SMALL = {"img_size": 32, "embed_dim": 64, "depth": 1, "num_heads": 1}
SCALES = ((0.1, 0.2, 0.3), (0.9, 0.8, 0.7))
OTHERS = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


@pytest.fixture
def written(tmp_path):
    """Writes small weights whose header notes an encoder, or whatever else is given as the recipe; gives the path."""

    def to(name, noted=None, state=None):
        recipe = {"encoder": noted.recipe} if isinstance(noted, Encoder) else noted
        metadata = {} if noted is None else {"recipe": recipe if isinstance(recipe, str) else json.dumps(recipe)}
        save_state(state or Encoder(QUICK, SMALL).make().state_dict(), tmp_path / name, metadata)
        return str(tmp_path / name)

    return to


def agreed(*notes, named=None):
    """What files of these notes are of, `a` and so on being their names."""
    undescribed = lambda: pytest.fail("asked for a description")  # noqa: E731
    return encoder_of(dict(zip("abc", notes, strict=False)), named, "a", undescribed, undescribed)


def refusal(*notes, **more):
    with pytest.raises(MergebenchError) as refused:
        agreed(*notes, **more)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_what_is_noted_is_read_back(written):
    for encoder in (Encoder(QUICK, SMALL), Encoder(QUICK, SMALL, SCALES), Encoder("own.code:made", {}, SCALES)):
        assert noted_encoder(SafetensorsState(written("a.safetensors", encoder))) == encoder


@pytest.mark.parametrize(
    "recipe",
    [
        *(None, "another program's", "[1]", {"tasks": ["a"]}, {"encoder": None}, {"encoder": "vit"}, {"encoder": []}),
        *(
            {"encoder": {"options": {}}},
            {"encoder": {"name": "a", "options": 3}},
            {"encoder": {"name": "a", "mean": 1}},
        ),
        {"encoder": {"name": "a", "mean": [0.1, 0.2], "std": [1, 1]}},
    ],
)
def test_what_another_program_wrote_says_nothing(recipe, written):
    assert noted_encoder(SafetensorsState(written("a.safetensors", recipe))) is None


@pytest.mark.parametrize("options", [{}, SMALL])
def test_a_name_that_is_given_takes_options_and_scales_from_a_note_of_it(options):
    assert agreed(None, Encoder(QUICK, SMALL, SCALES), named=Encoder(QUICK, options)) == Encoder(QUICK, SMALL, SCALES)
    assert agreed(Encoder("own.code:made", {}, SCALES), named=Encoder("own.code:made")).scales == SCALES


def test_every_note_counts_whichever_comes_first():
    assert agreed(None, Encoder(QUICK), Encoder(QUICK, {}, SCALES)) == Encoder(QUICK, {}, SCALES)
    for notes in ((Encoder(QUICK), Encoder(GELU)), (Encoder(GELU), Encoder(QUICK))):
        told = refusal(None, *notes)
        assert f"c says that it is of encoder '{notes[1].name}', but b that it is of encoder '{notes[0].name}'" in told
    told = refusal(Encoder(QUICK, {}, SCALES), None, Encoder(QUICK, {}, OTHERS))
    assert "c says that it is of images normalised by mean (0.0, 0.0, 0.0) and std (1.0, 1.0, 1.0), but a" in told
    assert "mean (0.1, 0.2, 0.3) and std (0.9, 0.8, 0.7)" in told
    told = refusal(Encoder(QUICK, SMALL), named=Encoder(GELU))
    assert f"but what was named is encoder '{GELU}'" in told and f"encoder '{QUICK}' with {SMALL}" in told


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Encoder(QUICK), Encoder(QUICK, {"img_size": [224, 224], "mlp_ratio": 4, "depth": 12, "num_heads": 12})),
        (Encoder(QUICK, {"img_size": (32, 32), "depth": 1}), Encoder(QUICK, {"img_size": [32, 32], "depth": 1})),
        (Encoder(QUICK, {"depth": 1}), Encoder("vit_base_patch32_clip_quickgelu_224", {"patch_size": 16, "depth": 1})),
        (Encoder(QUICK, {"depth": 1}), Encoder(QUICK, {"depth": 1, "drop_path_rate": 0.2, "proj_drop_rate": 0.1})),
        (Encoder(GELU, {"act_layer": "quick_gelu", "depth": 1}), Encoder(QUICK, {"depth": 1})),
        (Encoder(QUICK, {}, SCALES), Encoder(QUICK)),
        (Encoder(QUICK, {}, SCALES), Encoder(QUICK, {}, ((0.1, 0.2, 0.30004), (0.9, 0.8, 0.7)))),
        (Encoder("own.code:made"), Encoder("own.code:made", {}, SCALES)),
    ],
)
def test_what_means_the_same_agrees(one, other):
    check_note(one, "it", other, "zoo 'mine' is of")
    check_note(other, "it", one, "zoo 'mine' is of")
    check_note(None, "it", one, "zoo 'mine' is of")


@pytest.mark.parametrize(
    "other",
    [
        *(Encoder(GELU, SMALL), Encoder(QUICK, SMALL | {"num_heads": 2}), Encoder(QUICK, SMALL | {"qkv_bias": False})),
        *(Encoder(QUICK, SMALL | {"global_pool": "avg"}), Encoder(TINY), Encoder("vit_of_a_later_timm")),
        *(Encoder(QUICK, SMALL | {"no": "such"}), Encoder(QUICK, SMALL, OTHERS)),
    ],
)
def test_what_no_shape_tells_is_told_apart(other):
    with pytest.raises(
        CheckpointError, match="it says that it is of .*, but zoo 'mine' is of .*; correct what names them"
    ):
        check_note(other, "it", Encoder(QUICK, SMALL, SCALES), "zoo 'mine' is of")


def test_code_that_a_header_names_is_never_imported(tmp_path, monkeypatch):
    (tmp_path / "trap.py").write_text("raise SystemExit('it was run')")
    monkeypatch.syspath_prepend(tmp_path)
    noted = Encoder("trap:made", {}, SCALES)
    assert "a says that trap:made makes its encoder; if you trust that code, give --encoder" in refusal(noted)
    assert "trap:made" in refusal(Encoder(QUICK), noted) and "trap:made" in refusal(noted, named=Encoder(QUICK))
    assert agreed(noted, named=Encoder("trap:made")) == noted
    assert agreed(Encoder(TINY, {}, SCALES)).scales == SCALES  # a registered zoo's
    assert "trap" not in sys.modules


def test_own_files_are_normalised_as_they_note_though_their_encoder_is_named(written):
    base = written("base.safetensors")
    expert = written("expert.safetensors", Encoder("own.code:made", {}, SCALES))
    encoder = OwnModels(base, {"a": expert}, encoder_name="own.code:made").encoder
    assert (encoder.mean, encoder.std) == SCALES
    with pytest.raises(MergebenchError, match="what was named is encoder"):
        _ = OwnModels(base, {"a": expert}, encoder_name=QUICK).encoder
    other = written("other.safetensors", Encoder(QUICK, SMALL))
    with pytest.raises(MergebenchError, match=r"other\.safetensors says .* but .*expert\.safetensors that it is of"):
        _ = OwnModels(base, {"a": expert, "b": other}).encoder
    with pytest.raises(MergebenchError, match=r"other\.safetensors says .* but tiny that it is of"):
        _ = OwnModels("tiny", {"b": other}).encoder


@pytest.fixture
def zoo(write, tmp_path):
    """A zoo of two tasks on a base of one's own."""

    def made(base, **more):
        return Zoo(write("mine", title="m", base=base, experts="{task}.safetensors", tasks=["digits", "signs"], **more))

    return made


def test_a_zoo_s_base_says_what_it_is_of_as_finetune_noted_it(zoo, written):
    base = written("base.safetensors", Encoder(QUICK, SMALL, SCALES))
    for made in (zoo(base), zoo(base, encoder=QUICK), zoo(base, encoder=QUICK, options=SMALL)):
        assert made.encoder == Encoder(QUICK, SMALL, SCALES) and (made.mean, made.std) == SCALES
        assert made.encoder.recipe["mean"] == [0.1, 0.2, 0.3] and len(made.base) == len(
            made.make_encoder().state_dict()
        )
    with pytest.raises(MergebenchError, match=r"base\.safetensors says .*, but what was named is encoder"):
        _ = zoo(base, encoder=GELU, options=SMALL).encoder
    with pytest.raises(MergebenchError, match=r"base\.safetensors\) says .*normalised .*, but zoo 'mine' is of"):
        _ = zoo(base, mean=OTHERS[0], std=OTHERS[1]).base


def test_a_base_that_says_nothing_is_told_by_its_shapes_all_but_the_activation(zoo, written):
    with pytest.raises(MergebenchError) as refused:
        _ = zoo(written("base.safetensors")).encoder
    told = f"by its shapes it is {QUICK} (as OpenAI's CLIPs) or {GELU}: give --encoder (in a zoo's file: encoder:)"
    assert str(refused.value).endswith(told)


def test_an_expert_of_another_encoder_or_other_scales_than_the_zoo_s_is_refused(zoo, written):
    made = zoo("tiny")
    state = {name: tensor.clone() for name, tensor in made.base.items()}
    for noted in (None, Encoder(TINY), made.encoder, Encoder(TINY, {}, made.encoder.scales)):
        written("digits.safetensors", noted, state)
        assert zoo("tiny").expert("digits")
    for noted, told in ((Encoder(TINY, {}, OTHERS), "mean (0.45, 0.43, 0.42)"), (Encoder(QUICK), f"encoder '{TINY}'")):
        path = written("digits.safetensors", noted, state)
        with pytest.raises(CheckpointError) as refused:
            zoo("tiny").expert("digits")
        line = str(refused.value)
        assert line.startswith(f"expert 'digits' ({path}) says that it is of ") and "\n" not in line
        assert "but zoo 'mine' is of" in line and told in line


def test_headers_are_held_to_the_zoo_before_weights_are_read(zoo, written, monkeypatch):
    written("digits.safetensors", Encoder(QUICK), dict(Zoo("tiny").base))
    made = zoo("tiny")
    assert made.base
    monkeypatch.setattr(SafetensorsState, "__getitem__", lambda *_: pytest.fail("it was read"))
    with pytest.raises(CheckpointError, match="says that it is of"):
        made.expert("digits")


def test_a_joint_model_is_held_to_it_too(tmp_path):
    tiny, folder = Zoo("tiny"), tmp_path / "weights"
    shutil.copytree(tiny.files.root, folder, ignore=shutil.ignore_patterns("experts", "heads", "joint"))
    recipe = {"tasks": ["digits", "signs"], "encoder": Encoder(TINY, {}, OTHERS).recipe}
    save_state(dict(tiny.base), folder / "joint" / "two.safetensors", {"recipe": json.dumps(recipe)})
    with pytest.raises(CheckpointError, match=r"the joint model \(.*two\.safetensors\) says that it is of images"):
        Zoo("tiny", folder).joint(["signs", "digits"])


def test_what_shapes_alone_suggest_is_noted_as_not_known(tmp_path):
    state = Encoder("vit_base_patch16_clip_224", {"img_size": 32, "embed_dim": 64, "depth": 1, "num_heads": 1}).make()
    likely = encoder_of({}, None, "it", lambda: None, state.state_dict, exact=False)
    recipe = likely.recipe
    assert recipe["name"] is None
    assert recipe["likely"] == ["vit_base_patch16_clip_quickgelu_224", "vit_base_patch16_clip_224"]
    save_state(state.state_dict(), tmp_path / "m.safetensors", {"recipe": json.dumps({"encoder": recipe})})
    assert noted_encoder(SafetensorsState(tmp_path / "m.safetensors")) is None


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"{", "Expecting property name"),
        (b"\xff{}", "can't decode byte 0xff"),
        (b"[" * 100_000, "maximum recursion depth exceeded"),
        (None, "No such file or directory"),
    ],
)
def test_a_configuration_that_is_none_is_told_with_the_option_that_names_the_encoder(content, told, tmp_path):
    """Of a place on the hub, where it is fetched once nothing else tells."""
    path = tmp_path / "config.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(MergebenchError) as caught:
        encoder_of({"a/b": None}, None, "a/b", lambda: path, lambda: pytest.fail("it was read"))
    line = str(caught.value)
    assert line.startswith(f"{path} cannot be read (") and told in line and "\n" not in line
    assert line.endswith("): give --encoder (in a zoo's file: encoder:)")
