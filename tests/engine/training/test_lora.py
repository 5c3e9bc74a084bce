"""LoRA: differences of the rank asked for, merged into weights that compute what the adapted encoder did."""

import copy

import pytest
import torch

from mergebench.errors import MergebenchError
from mergebench.training.batches import TrainingSet
from mergebench.training.finetuning import FineTuning, finetune
from mergebench.training.lora import LowRank, adapt, merge_adapters

RANK = 3
ADAPTED = {f"blocks.{i}.{n}.weight" for i in range(2) for n in ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")}


def run(mini, **options):
    images = torch.randint(0, 256, (40, 32, 32, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    sets = [TrainingSet(mini.head(0), images, torch.arange(40) % 4)]
    settings = {"steps": 20, "batch_size": 8, "learning_rate": 1e-2, "warmup": 2, "lora": RANK, "accelerator": "cpu"}
    return finetune(mini.encoder(), sets, mean=(0.5,) * 3, std=(0.25,) * 3, **settings | options)


def test_what_is_learnt_has_the_rank_asked_for_and_all_else_is_the_base_s(mini):
    base, expert = mini.encoder().state_dict(), run(mini)
    assert list(expert) == list(base)
    for name in base:
        if name not in ADAPTED:
            assert torch.equal(expert[name], base[name]), name
            continue
        # Query, key and value have an adapter each.
        for difference in (expert[name] - base[name]).double().chunk(3 if "qkv" in name else 1):
            spectrum = torch.linalg.svdvals(difference)
            assert spectrum[RANK - 1] > 1e-3 > 1e3 * spectrum[RANK], name


def test_layers_may_be_named(mini):
    base, expert = mini.encoder().state_dict(), run(mini, lora_layers=("attn.qkv", "blocks.1.mlp.fc1", "attn.proj"))
    changed = {name for name in base if not torch.equal(expert[name], base[name])}
    assert changed == {n for n in ADAPTED if "attn" in n} | {"blocks.1.mlp.fc1.weight"}
    for layers in (("attn.qkv", "fc3"), ("kv",), ("",), ("patch_embed.proj",)):
        with pytest.raises(MergebenchError, match=f"is called {layers[-1]!r} or ends so; there are attn.qkv, attn.pro"):
            run(mini, lora_layers=layers)
    with pytest.raises(MergebenchError, match="are of lora; give a rank"):
        run(mini, lora_layers=("attn.qkv",), lora=None)


def test_merged_weights_compute_what_the_adapted_encoder_did(mini):
    encoder, images = mini.encoder(dtype=torch.float64), mini.images(0, 3, torch.float64)
    names = list(encoder.state_dict())
    before = encoder(images)
    adapt(encoder, RANK, seed=0)
    torch.testing.assert_close(encoder(images), before)  # B is zero
    for module in encoder.modules():
        if isinstance(module, LowRank):
            torch.nn.init.normal_(module.up)
    adapted = encoder(images)
    assert not torch.allclose(adapted, before, rtol=0.1)
    merge_adapters(encoder)
    assert list(encoder.state_dict()) == names
    torch.testing.assert_close(encoder(images), adapted)


def test_only_adapters_are_trained(mini):
    encoder = mini.encoder()
    adapt(encoder, RANK, seed=0)
    trained = {n for n, p in encoder.named_parameters() if p.requires_grad}
    assert trained == {f"{n.removesuffix('.weight')}.{part}" for n in ADAPTED for part in ("down", "up")}


def test_an_interrupted_run_goes_on(mini, tmp_path, monkeypatch):
    unbroken, original = run(mini), FineTuning.training_step

    def pulled(self, batch, index):
        if self.global_step == 11:
            raise RuntimeError("pulled")
        return original(self, batch, index)

    with monkeypatch.context() as patch:
        patch.setattr(FineTuning, "training_step", pulled)
        with pytest.raises(RuntimeError, match="pulled"):
            run(mini, checkpoint_dir=tmp_path)
    with pytest.raises(MergebenchError, match="lora 3, not None"):
        run(mini, checkpoint_dir=tmp_path, lora=None)
    with pytest.raises(MergebenchError, match=r"lora layers None, not \['mlp\.fc1'\]"):
        run(mini, checkpoint_dir=tmp_path, lora_layers=("mlp.fc1",))
    resumed = run(mini, checkpoint_dir=tmp_path)
    assert all(torch.equal(resumed[name], unbroken[name]) for name in unbroken)


def test_the_seed_decides(mini):
    first, again, other = run(mini), run(mini), run(mini, seed=2**70 + 1)  # of any size
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in ADAPTED)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"lora": 32}, "lora=32, but 'blocks.0.attn.qkv' has rank 32 itself"),
        ({"frozen": ("blocks.0",)}, "with lora all weights are frozen"),
    ],
)
def test_what_cannot_work_is_named(options, told, mini):
    with pytest.raises(MergebenchError, match=told):
        run(mini, **options)


def test_an_encoder_of_another_kind_is_refused():
    with pytest.raises(MergebenchError, match="Linear; merging needs a timm encoder"):
        adapt(copy.deepcopy(torch.nn.Linear(3, 2)), 1, seed=0)
