"""Merging a part of the encoder: which parameters lie inside, and that everything outside is the experts' average."""

import numpy as np
import pytest
import timm
import torch
import yaml

from mergebench import ModelPool
from mergebench.catalogue import discovery, registry
from mergebench.catalogue.ready import ready
from mergebench.configuration import RestrictConfig
from mergebench.conformance.candidate import shortened
from mergebench.conformance.miniature import ENCODERS
from mergebench.data.images import ExplicitBatches
from mergebench.errors import MergebenchError
from mergebench.merging import hyperparameters
from mergebench.merging.contract import run_method
from mergebench.merging.layout import Layout
from mergebench.merging.restriction import region
from mergebench.running.execution import Executor, Recipe
from mergebench.suites.bench import Bench

# Of n blocks, block i lies in third floor(3 i / n): written out by hand.
THIRDS = (
    "E",
    "EM",
    "EML",
    "EEML",
    "EEMML",
    "EEMMLL",
    "EEEMMLL",
    "EEEMMMLL",
    "EEEMMMLLL",
    "EEEEMMMLLL",
    "EEEEMMMMLLL",
    "EEEEMMMMLLLL",
)
ATTENTION = ("attn.qkv.weight", "attn.qkv.bias", "attn.proj.weight", "attn.proj.bias")
MLP = ("mlp.fc1.weight", "mlp.fc1.bias", "mlp.fc2.weight", "mlp.fc2.bias")
NORMS = ("norm1.weight", "norm1.bias", "norm2.weight", "norm2.bias")
PARTS = {"all": ATTENTION + MLP + NORMS, "attention": ATTENTION, "mlp": MLP}
OUTSIDE = {"cls_token", "pos_embed", "norm.weight", "norm.bias"}
METHODS = [c.name for c in registry.methods().values() if c.role == "method" and c.experts is None]
SETTINGS = {
    "late": RestrictConfig(blocks="late"),
    "middle+early": RestrictConfig(blocks="middle+early"),
    "mlp": RestrictConfig(component="mlp"),
    "attention of block 1": RestrictConfig(blocks=[1], component="attention"),
}


def named(blocks, component="all"):
    return {f"blocks.{i}.{part}" for i in blocks for part in PARTS[component]}


def run(mini, method, base, experts, inside=None, calibration=None, **given):
    """A registered method on miniature models, its pool restricted to the names `inside`."""
    card = registry.method(method)
    function, resolved = discovery.load_function(card), shortened(card, given)
    images = calibration or mini.calibration(dtype=base.cls_token.dtype)
    if card.needs.labels:
        images = {t: [(b, torch.arange(len(b)) % 2) for b in batches] for t, batches in images.items()}
    sources = {t: ExplicitBatches(b, t) for t, b in images.items()}
    pool = ModelPool(
        method,
        registry.needs_of(card, resolved),
        base,
        base.state_dict(),
        experts,
        calibration=sources,
        test_inputs=sources,
        heads=mini.heads(),
        region=inside,
    )
    return run_method(function, pool, resolved, ready)


def average(experts):
    return {n: torch.stack([experts[t][n] for t in sorted(experts)]).mean(0) for n in experts["birds"]}


@pytest.mark.parametrize("thirds", THIRDS)
def test_thirds_of_every_depth_are_those_written_by_hand(mini, thirds):
    layout = Layout(mini.encoder(depth=len(thirds)))
    for wanted in ("early", "middle", "late", "late+early", "middle+late", "early+middle+late"):
        letters = [third[0].upper() for third in wanted.split("+")]
        blocks = [i for i, letter in enumerate(thirds) if letter in letters]
        for component in PARTS:
            found = region(RestrictConfig(blocks=wanted, component=component), layout)
            assert found == named(blocks, component), (wanted, component)


@pytest.mark.parametrize("component", PARTS)
def test_single_blocks_are_those_numbered(mini, component):
    layout = Layout(mini.encoder(depth=4))
    for blocks in ([0], [3], [2, 0], [1, 1], [0, 1, 2, 3]):
        assert region(RestrictConfig(blocks=blocks, component=component), layout) == named(blocks, component)


def test_the_default_is_everything_and_a_component_alone_means_every_block(mini):
    layout = Layout(mini.encoder(depth=3))
    assert region(RestrictConfig(), layout) is None
    assert region(RestrictConfig(component="mlp"), layout) == named(range(3), "mlp")


def test_embedding_and_final_norm_lie_in_no_region_but_the_whole(mini):
    layout = Layout(mini.encoder(depth=3))
    found = region(RestrictConfig(blocks="early+middle+late"), layout)
    assert set(layout.shapes) - found >= OUTSIDE
    assert set(layout.shapes) - found == set(layout.embedding) | set(layout.final_norm)


def test_block_1_is_not_block_10(mini):
    assert region(RestrictConfig(blocks=[1]), Layout(mini.encoder(depth=12))) == named([1])


@pytest.mark.parametrize(("blocks", "absent"), [([3], 3), ([0, 7, 9], 7), ([1, -1], -1)])
def test_a_block_that_is_not_there_is_named(mini, blocks, absent):
    with pytest.raises(MergebenchError) as caught:
        region(RestrictConfig(blocks=blocks), Layout(mini.encoder(depth=3)))
    assert str(caught.value) == f"restrict: no block {absent}; the encoder has blocks 0 to 2"


@pytest.mark.long
@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("method", METHODS)
def test_outside_is_the_average_bit_for_bit_and_inside_what_the_method_gives(mini, method, setting):
    base = mini.encoder(depth=3)
    experts = mini.experts(base)
    inside = region(SETTINGS[setting], Layout(base))
    restricted, whole = run(mini, method, base, experts, inside), run(mini, method, base, experts)
    mean = average(experts)
    assert list(restricted) == list(base.state_dict())
    assert all(torch.equal(restricted[n], mean[n]) for n in mean if n not in inside)
    if method not in ("regmean++", "featcal", "opcm", "lines", "prodistill"):  # which heed what will be averaged
        assert all(torch.equal(restricted[n], whole[n]) for n in inside)
    if method != "average":
        assert any(not torch.equal(restricted[n], mean[n]) for n in inside)
        assert any(not torch.equal(restricted[n], whole[n]) for n in mean)


def test_references_are_left_as_they_are(mini):
    base = mini.encoder(depth=3)
    experts = mini.experts(base)
    inside = named([2])
    floor = run(mini, "pretrained", base, experts, inside)
    assert all(torch.equal(floor[n], t) for n, t in base.state_dict().items())
    ceiling = run(mini, "finetuned", base, experts, inside)
    assert all(torch.equal(ceiling[t][n], v) for t, e in experts.items() for n, v in e.items())


@pytest.mark.parametrize("granularity", ["block", "linear"])
def test_the_walk_restricted_to_the_late_third_sees_an_averaged_prefix(mini, granularity):
    base = mini.encoder(depth=5, dtype=torch.float64)
    experts = mini.experts(base)
    late = region(RestrictConfig(blocks="late"), Layout(base))
    assert late == named([4])
    mean = average(experts)
    # Experts that agree everywhere before the last block: there the walk has nothing to solve.
    prefixed = {t: {n: e[n] if n.startswith("blocks.4.") else mean[n] for n in e} for t, e in experts.items()}
    settings = {"granularity": granularity, "final_norm": "average"}
    restricted = run(mini, "regmean++", base, experts, late, **settings)
    expected = run(mini, "regmean++", base, prefixed, **settings)
    whole = run(mini, "regmean++", base, experts, **settings)
    for name in mean:
        torch.testing.assert_close(restricted[name], expected[name], rtol=1e-7, atol=1e-9, msg=name)
    for layer in ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2"):
        name = f"blocks.4.{layer}.weight"
        assert not torch.allclose(restricted[name], whole[name], rtol=1e-4, atol=1e-5)


def inputs_of(mini, base, prefix, block, index, images):
    """The inputs of the linear layers of `block`, a state's own, behind the blocks of `prefix`: by whole forward."""
    mixed = {n: block[n] if n.startswith(f"blocks.{index}.") else t for n, t in prefix.items()}
    encoder, seen = mini.load(base, mixed), {}
    for name, module in encoder.blocks[index].named_modules():
        if isinstance(module, torch.nn.Linear):
            module.register_forward_pre_hook(lambda _, given, name=name: seen.update({name: given[0].flatten(0, 1)}))
    with torch.no_grad():
        encoder(images)
    return seen


@pytest.mark.parametrize("component", ["attention", "mlp"])
def test_the_walk_restricted_to_a_component_solves_that_and_averages_the_other(mini, component):
    base = mini.encoder(depth=3, dtype=torch.float64)
    experts, images = mini.experts(base), mini.calibration(dtype=torch.float64)
    inside = region(RestrictConfig(component=component), Layout(base))
    restricted = run(mini, "regmean++", base, experts, inside, images, alpha=0.7)
    expected = average(experts)
    for index in range(3):
        seen = {t: inputs_of(mini, base, expected, e, index, torch.cat(images[t])) for t, e in experts.items()}
        solved = {}
        for layer in ("attn.qkv", "attn.proj") if component == "attention" else ("mlp.fc1", "mlp.fc2"):
            left = right = 0
            for task, expert in experts.items():
                rows = seen[task][layer].numpy()
                gram = rows.T @ rows / len(rows) * np.where(np.eye(rows.shape[1]) == 1, 1, 0.7)
                left = left + gram
                right = right + gram @ expert[f"blocks.{index}.{layer}.weight"].numpy().T
            solved[f"blocks.{index}.{layer}.weight"] = torch.from_numpy(np.linalg.solve(left, right).T.copy())
        expected |= solved
    for name, value in expected.items():
        torch.testing.assert_close(restricted[name], value, rtol=1e-6, atol=1e-7, msg=name)


def test_no_layer_inside_leaves_the_average(mini):
    base = mini.encoder(depth=2)
    experts = mini.experts(base)
    assert region(RestrictConfig(blocks="late"), Layout(base)) == set()  # of two blocks, none lies in the last third
    for method in ("regmean", "regmean++"):
        restricted = run(mini, method, base, experts, frozenset())
        assert all(torch.equal(restricted[n], t) for n, t in average(experts).items())


@pytest.fixture
def bench(tmp_path):
    """A bench on the tiny zoo: five blocks."""

    def make(restrict, **options):
        path = tmp_path / "suite.yaml"
        path.write_text(yaml.safe_dump({"title": "t", "zoo": "tiny", "merge": ["digits", "signs"]} | restrict))
        return Bench(str(path), **options)

    return make


def test_a_suites_region_reaches_the_merge(bench):
    made = bench({"restrict": {"blocks": "late", "component": "mlp"}})
    function = discovery.load_function(registry.method("ties"))
    recipe = Recipe(function.card, function, hyperparameters.resolve(function, {}), 0)
    merged = Executor(made, "cpu").merge(recipe, made.variants[0]).states
    digits, signs = (made.zoo.expert(t) for t in ("digits", "signs"))  # stored in half precision
    changed = {n for n in merged if not torch.equal(merged[n], torch.stack([digits[n], signs[n]]).float().mean(0))}
    assert changed == named([4], "mlp")


def test_a_region_holds_for_checkpoints_of_ones_own_too(bench):
    files = {"mine": "experts/digits.safetensors", "other": "experts/signs.safetensors"}
    restrict = {"restrict": {"blocks": "late"}}
    root = bench(restrict).zoo.files.root
    made = bench(restrict, experts={name: str(root / file) for name, file in files.items()})
    assert [v.restrict for v in made.variants] == [RestrictConfig(blocks="late")]


def test_a_block_that_the_zoo_lacks_is_refused_before_anything_runs(bench):
    with pytest.raises(MergebenchError, match="restrict: no block 5; the encoder has blocks 0 to 4"):
        bench({"restrict": {"blocks": [5]}})


@pytest.mark.parametrize(
    ("kind", "config", "count"),
    [
        ("ConvNeXt", {"blocks": [1]}, {"stages.1.downsample."}),
        ("ResNet", {"blocks": "late"}, {"layer4.0."}),
        ("ConvNeXt", {"component": "mlp"}, {f"stages.{i}.blocks.0.mlp." for i in range(4)}),
    ],
)
def test_blocks_of_convolutions_are_numbered_in_their_order(kind, config, count):
    layout = Layout(ENCODERS[kind]())
    inside = region(RestrictConfig(**config), layout)
    assert inside == {n for n in layout.shapes if n.startswith(tuple(count))}


def test_what_an_encoder_has_not_is_refused():
    with pytest.raises(MergebenchError, match="these blocks have no component 'attention'; leave it out"):
        region(RestrictConfig(component="attention"), Layout(ENCODERS["ResNet"]()))
    with pytest.raises(MergebenchError, match="of this encoder no blocks are known that follow each other"):
        region(RestrictConfig(blocks=[0]), Layout(timm.create_model("test_efficientnet", num_classes=0)))
