"""Heads from prompts against the Hugging Face pipeline, whatever library wrote the checkpoint."""

import json

import pytest
import torch
from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg
from open_clip.tokenizer import SimpleTokenizer
from transformers import CLIPConfig, CLIPModel

from mergebench.errors import MergebenchError
from mergebench.weights.states import digest, save_state
from mergebench.zoo import text_heads
from mergebench.zoo.text_heads import TextTower, text_activation

CLASSES = ("dog", "a very long name of a cat!!", "Žluťoučký kůň")
TEMPLATES = ("a photo of a {}.", "{}, a type of pet.", "!! {}")


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    text = {"hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 256}
    vision = {**text, "image_size": 32, "patch_size": 16}
    model = CLIPModel(CLIPConfig(text_config=text | {"eos_token_id": 49407}, vision_config=vision, projection_dim=48))
    for parameter in model.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    return model.eval()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MERGEBENCH_CACHE", str(tmp_path))
    return tmp_path / "heads"


def reference(embed, classes=CLASSES, templates=TEMPLATES):
    """CLIP's zero-shot classifier, one class at a time."""
    rows, tokens = [], SimpleTokenizer()
    for name in classes:
        with torch.no_grad():
            features = embed(tokens([t.format(name) for t in templates]))
        mean = (features / features.norm(dim=-1, keepdim=True)).mean(0)
        rows.append(mean / mean.norm())
    return torch.stack(rows)


def of_hugging_face(model):
    def embed(tokens):
        features = model.get_text_features(tokens)
        return getattr(features, "pooler_output", features)

    return embed


def test_a_head_is_the_hugging_face_pipeline_s(model):
    head = TextTower(model.state_dict(), "mini", quick_gelu=True).head(CLASSES, TEMPLATES)
    torch.testing.assert_close(head.text_features, reference(of_hugging_face(model)), atol=1e-6, rtol=0)
    images = torch.randn(5, 128)
    with torch.no_grad():
        embedded = model.visual_projection(images)
        cosines = (embedded / embedded.norm(dim=-1, keepdim=True)) @ reference(of_hugging_face(model)).T
        torch.testing.assert_close(head(images), model.logit_scale.exp() * cosines, atol=1e-4, rtol=0)


@pytest.mark.parametrize("prefix", ["", "text."])
def test_a_head_is_open_clip_s(prefix):
    torch.manual_seed(1)
    model = CLIP(
        48,
        CLIPVisionCfg(layers=1, width=64, head_width=64, patch_size=16, image_size=32),
        CLIPTextCfg(width=128, heads=2, layers=2),
    ).eval()
    state = model.state_dict()
    text = ("token_embedding", "positional_embedding", "transformer", "ln_final", "text_projection")
    state = {prefix + n if n.startswith(text) else n: t for n, t in state.items()}
    head = TextTower(state, "mini", quick_gelu=False).head(CLASSES, TEMPLATES)
    torch.testing.assert_close(head.text_features, reference(model.encode_text), atol=1e-6, rtol=0)
    images = torch.randn(3, 64)
    expected = torch.nn.functional.normalize(images @ model.visual.proj, dim=-1) @ head.text_features.T
    torch.testing.assert_close(head(images), model.logit_scale.exp() * expected, atol=1e-5, rtol=0)


def test_prompts_are_embedded_once(model, cache, monkeypatch):
    tower = TextTower(model.state_dict(), "mini", quick_gelu=True)
    first = tower.head(CLASSES, TEMPLATES)
    monkeypatch.setattr(TextTower, "_embed", lambda *_: pytest.fail("the head is in the cache"))
    again = TextTower(model.state_dict(), "another name", quick_gelu=True).head(CLASSES, TEMPLATES)
    assert all(torch.equal(a, b) for a, b in zip(first.buffers(), again.buffers(), strict=True))
    assert len(list(cache.iterdir())) == 1


@pytest.mark.parametrize("left", ["nothing", "half", "another tensor", "other classes", "another value"])
def test_a_kept_head_that_is_damaged_is_made_again(model, cache, caplog, left):
    tower = TextTower(model.state_dict(), "mini", quick_gelu=True)
    first = tower.head(CLASSES, TEMPLATES)
    (file,) = cache.iterdir()
    whole = file.read_bytes()
    if left == "another value":  # still a head, with the header that was written
        changed = bytearray(whole)
        changed[-3] ^= 1
        file.write_bytes(changed)
    elif left in ("nothing", "half"):
        file.write_bytes(whole[: len(whole) // 2 if left == "half" else 0])
    else:
        fewer = first.state_dict() | {"text_features": first.text_features[:2]}
        save_state(fewer if left == "other classes" else {"weight": torch.ones(1)}, file)
    again = tower.head(CLASSES, TEMPLATES)
    assert all(torch.equal(a, b) for a, b in zip(first.buffers(), again.buffers(), strict=True))
    assert file.read_bytes() == whole
    assert left in ("another tensor", "other classes") or f"{file} is damaged, or was changed" in caplog.text


@pytest.mark.parametrize("what", ["classes", "order", "templates", "activation", "weights", "version"])
def test_whatever_a_head_depends_on_makes_another_one(model, cache, monkeypatch, what):
    state, quick, classes, templates = model.state_dict(), True, CLASSES, TEMPLATES
    TextTower(state, "mini", quick_gelu=True).head(classes, templates)
    if what == "version":
        monkeypatch.setattr(text_heads, "VERSION", 99)
    classes = {"classes": ("dog", "cat", "kůň"), "order": CLASSES[::-1]}.get(what, classes)
    templates = TEMPLATES[:2] if what == "templates" else templates
    quick = what != "activation"
    state = state | ({"logit_scale": torch.tensor(1.0)} if what == "weights" else {})
    TextTower(state, "mini", quick_gelu=quick).head(classes, templates)
    assert len(list(cache.iterdir())) == 2


def test_a_head_s_bits_do_not_depend_on_how_sums_are_rounded(model, cache, monkeypatch):
    """Prompts one by one take other kernels than all at once, as another CPU does: float32 would tell them apart."""
    digests = set()
    for at_once in (1, 5, 256):
        monkeypatch.setattr(text_heads, "PROMPTS", at_once)
        monkeypatch.setenv("MERGEBENCH_CACHE", str(cache / str(at_once)))
        head = TextTower(model.state_dict(), "mini", quick_gelu=True).head(CLASSES, TEMPLATES)
        digests.add(digest(head.state_dict()))
    assert len(digests) == 1
    embedded = TextTower(model.state_dict(), "mini", quick_gelu=True)._embed(["a dog"])
    assert embedded.dtype == torch.float64 and head.text_features.dtype == torch.float32


def test_braces_in_names_and_templates_are_letters(model):
    tower = TextTower(model.state_dict(), "mini", quick_gelu=True)
    odd = tower.head(("a {thing}",), ("a {photo} of {}.",))
    plain = tower.head(("a {photo} of a {thing}.",), ("{}",))
    assert torch.equal(odd.text_features, plain.text_features)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"text_config": {"hidden_act": "gelu"}, "vision_config": {"hidden_act": "quick_gelu"}}, "gelu"),
        ({"text_config": {"hidden_act": "quick_gelu"}}, "quick_gelu"),
        ({"text_config": {"hidden_size": 512}}, "quick_gelu"),  # transformers leaves out what is its default
        ({"model_type": "bert", "hidden_act": "gelu"}, None),
    ],
)
def test_a_configuration_tells_the_text_tower_s_activation(config, expected, tmp_path):
    file = tmp_path / "config.json"
    file.write_text(json.dumps(config))
    assert text_activation(file) == expected
    if expected:
        assert CLIPConfig.from_json_file(file).text_config.hidden_act == expected


@pytest.mark.parametrize("text", ["{", "[]", '{"text_config": {"hidden_act": "relu"}}'])
def test_a_configuration_that_cannot_be_made_is_named(text, tmp_path):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(MergebenchError, match="config.json"):
        text_activation(tmp_path / "config.json")


def test_a_prompt_that_the_tower_cannot_read_to_its_end_is_refused(model):
    with pytest.raises(MergebenchError, match="longer than the 77 tokens"):
        TextTower(model.state_dict(), "mini", quick_gelu=True).head(("dog", "cat " * 80), TEMPLATES)


@pytest.mark.parametrize(
    ("lacks", "told"),
    [
        ("visual_projection", "mini has no 'visual_projection.weight': it is no whole CLIP"),
        ("text_projection", "mini has no 'text_projection.weight'"),
        ("logit_scale", "mini has no 'logit_scale'"),
        ("text_model.embeddings.token", "mini: its text tower does not fit together"),
        ("text_model.encoder.layers.1.mlp", "mini: its text tower does not fit together"),
        ("text_model.encoder.layers.0.self_attn.k_proj.weight", "mini: its text tower does not fit together"),
    ],
)
def test_a_checkpoint_without_a_whole_text_tower_is_refused_in_one_line(model, lacks, told):
    state = {n: t for n, t in model.state_dict().items() if not n.startswith(lacks)}
    with pytest.raises(MergebenchError) as refused:
        TextTower(state, "mini", quick_gelu=True).head(CLASSES, TEMPLATES)
    assert told in str(refused.value) and "\n" not in str(refused.value)
