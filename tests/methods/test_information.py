"""The Fisher information in steps: against the plain formula, torch's gradients per sample, and its own laws."""

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import nn
from torch.func import functional_call, jacrev, vmap

from mergebench.methods import information
from mergebench.methods.fisher import forward_steps
from mergebench.methods.information import condensed, per_sample_fisher, score_roots
from mergebench.tasks.tiny.model import ConvStem
from mergebench.zoo.heads import LinearHead, ZeroShotHead


def plain(model, head, images):
    """F = 1/N sum_x sum_y p(y|x) (d log p(y|x) / d theta)^2, every gradient by itself."""
    state = {n: p.detach() for n, p in model.named_parameters()}

    def log_p(parameters, image):
        return head(functional_call(model, parameters, (image[None],)))[0].log_softmax(-1)

    gradients = vmap(jacrev(log_p), in_dims=(None, 0))(state, images)
    p = vmap(log_p, in_dims=(None, 0))(state, images).exp()
    return {n: torch.einsum("bc,bc...->...", p, g.square()) / len(images) for n, g in gradients.items()}


def draw(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def encoder(dtype=torch.float64, **options):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        shape = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 3, "num_classes": 0}
        made = VisionTransformer(**shape | options).eval().requires_grad_(False)
        for parameter in made.parameters():  # no norm or bias at its first value
            parameter.add_(0.1 * torch.randn_like(parameter))
    for block in made.blocks:
        block.attn.fused_attn = False  # of the plain formula too
    return made.to(dtype)


def zero_shot(classes, width=24, scale=20.0):
    texts = nn.functional.normalize(draw(classes, 12, seed=3), dim=-1)
    return ZeroShotHead(draw(12, width, seed=4), texts, torch.tensor(scale))


KINDS = {
    "class token": {},
    "mean of the tokens": {"global_pool": "avg"},
    "attention pool": {"global_pool": "map", "class_token": False},
    "LayerScale": {"init_values": 0.1},
    "registers, and norms of queries and keys": {"reg_tokens": 2, "qk_norm": True},
    "no biases, a norm in front": {"qkv_bias": False, "proj_bias": False, "pre_norm": True},
    "convolutions": {"embed_layer": ConvStem},
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("classes", [2, 7, 40])
def test_equals_the_plain_formula(kind, classes):
    model, head, images = encoder(**KINDS[kind]), zero_shot(classes), draw(3, 3, 32, 32, seed=5)
    found = per_sample_fisher(model, forward_steps(model, head), images.split(2))
    expected = plain(model, head, images)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-7, atol=1e-7 * value.max().item() + 1e-18, msg=name)


@pytest.mark.parametrize("half", [True, False])
@pytest.mark.parametrize("scale", [1.0, 100.0])
def test_single_precision_is_as_near_as_the_plain_formula(half, scale):
    """Also of weights that a float16 file gave, and of an expert that is sure of most images."""
    model, head, images = encoder(torch.float32), zero_shot(10, scale=scale), draw(4, 3, 32, 32, seed=5)
    if half:
        model = model.half().float()
    single = images.float()
    found, usual = per_sample_fisher(model, forward_steps(model, head), [single]), plain(model, head, single)
    exact = plain(model.double(), head, images)
    largest = max(v.max() for v in exact.values())
    for name, value in exact.items():
        scale_of = value + 1e-4 * value.max() + 1e-12 * largest
        ours, theirs = (((v[name] - value).abs() / scale_of).max() for v in (found, usual))
        assert ours < max(1e-5, 3 * theirs), name


def test_one_image_and_any_other_cut_of_them(monkeypatch):
    model, head, images = encoder(), LinearHead(draw(5, 24), draw(5)), draw(6, 3, 32, 32, seed=5)
    steps = forward_steps(model, head)
    whole = per_sample_fisher(model, steps, [images])
    for room, split in ((2**30, 1), (2**30, 4), (0, 6), (10**5, 6)):
        monkeypatch.setattr(information, "BYTES_AT_ONCE", room)
        for name, value in per_sample_fisher(model, steps, images.split(split)).items():
            torch.testing.assert_close(value, whole[name], rtol=1e-9, atol=1e-18)
    one = per_sample_fisher(model, steps, [images[:1]])
    for name, value in plain(model, head, images[:1]).items():
        torch.testing.assert_close(one[name], value, rtol=1e-7, atol=1e-9 * value.max().item() + 1e-18)


def test_a_task_of_one_class_says_nothing_and_weights_may_lie_channels_last():
    model, images = encoder(embed_layer=ConvStem), draw(2, 3, 32, 32)
    assert not any(v.any() for v in per_sample_fisher(model, forward_steps(model, zero_shot(1)), [images]).values())
    expected = plain(model, zero_shot(4), images)
    model = model.to(memory_format=torch.channels_last)
    for name, value in per_sample_fisher(model, forward_steps(model, zero_shot(4)), [images]).items():
        torch.testing.assert_close(value, expected[name], rtol=1e-7, atol=1e-7 * expected[name].max().item() + 1e-18)


class Odd(nn.Module):
    """A layer called twice, one whose weight alone is read, one never used, and a grouped convolution."""

    def __init__(self):
        super().__init__()
        self.grouped = nn.Conv2d(4, 4, 3, groups=2)
        self.front = nn.Conv2d(3, 4, 3, stride=2, padding=1, dilation=2)
        self.twice, self.read, self.unused = nn.Linear(16, 16), nn.Linear(16, 6), nn.Linear(3, 3)

    def forward(self, images):
        values = self.grouped(self.front(images).relu()).flatten(1)[:, :16]
        return nn.functional.linear(self.twice(self.twice(values).relu()), self.read.weight)


def test_layers_of_unusual_use():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Odd().double()
    images = draw(4, 3, 12, 12)
    found = per_sample_fisher(model, [model.forward], [images])
    for name, value in plain(model, nn.Identity(), images).items():
        torch.testing.assert_close(found[name], value, rtol=1e-9, atol=1e-15, msg=name)
    assert not found["unused.weight"].any() and not found["read.bias"].any() and found["twice.weight"].any()


@pytest.mark.parametrize("scale", [0.0, 1.0, 30.0, 400.0])
@pytest.mark.parametrize("classes", [1, 2, 9])
def test_roots_of_the_scores(classes, scale):
    logits = scale * draw(5, classes)
    p = logits.softmax(-1)
    roots = score_roots(logits)
    assert roots.shape == (classes - 1, 5, classes)
    expected = torch.diag_embed(p) - p[:, :, None] * p[:, None, :]
    torch.testing.assert_close(torch.einsum("kbc,kbd->bcd", roots, roots), expected, rtol=1e-9, atol=1e-15)


def test_more_gradients_than_numbers_become_as_many():
    slopes = draw(9, 2, 2, 2)
    few = condensed(slopes)
    assert few.shape == (4, 2, 2, 2) and condensed(few) is few
    torch.testing.assert_close(*(torch.einsum("kbxy,kbzw->bxyzw", s, s) for s in (few, slopes)))


def test_what_is_held_does_not_grow_with_images_or_classes(monkeypatch):
    monkeypatch.setattr(information, "BYTES_AT_ONCE", 2**18)
    seen = []
    real = information.Squares.__init__

    def noting(self, total, rows, classes, at_once):
        seen.append((len(rows), min(classes, at_once) * rows[..., 0].numel() * len(total) * total.element_size()))
        real(self, total, rows, classes, at_once)

    monkeypatch.setattr(information.Squares, "__init__", noting)
    model = encoder()
    per_sample_fisher(model, forward_steps(model, zero_shot(60)), [draw(8, 3, 32, 32)])
    assert max(images for images, _ in seen) < 8
    assert max(held for _, held in seen) <= 2**18
