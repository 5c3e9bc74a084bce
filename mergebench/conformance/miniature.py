"""Random miniature models, with all that a merge method may read: a merge of them takes milliseconds."""

import copy
import itertools
from dataclasses import dataclass, replace
from functools import cache
from typing import TypeVar

import torch
from timm.models.convnext import ConvNeXt
from timm.models.resnet import BasicBlock, ResNet
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from mergebench.data.images import Batch
from mergebench.merging.layout import BATCH_NORMS
from mergebench.merging.method import Needs
from mergebench.weights.states import StateDict
from mergebench.zoo.heads import ZeroShotHead

WIDTH, EMBED, SIDE = 32, 16, 32
CLASSES = 3  # at least
# Tasks differ in how many images they have, and in how these come.
BATCHES = ((2, 1), (3,), (1, 1, 1))

Item = TypeVar("Item")


@dataclass
class Inputs:
    """What `merge` takes; all of it, or no more than some needs.

    Args:
        base: the encoder with the pre-trained weights.
        experts: task -> weights.
        calibration: task -> batches of (images, labels or None).
        test_inputs: task -> batches of images.
        heads: task -> classifier.
        joint: the weights of one model trained on all tasks; None where it is not declared.
    """

    base: nn.Module
    experts: dict[str, StateDict]
    calibration: dict[str, list[Batch]]
    test_inputs: dict[str, list[Tensor]]
    heads: dict[str, nn.Module]
    joint: StateDict | None

    def copy(self) -> "Inputs":
        """The same once more, sharing no memory."""
        # deepcopy takes ten times as long for these.
        experts = {t: {n: v.clone() for n, v in e.items()} for t, e in self.experts.items()}
        return replace(copy.deepcopy(replace(self, experts={})), experts=experts)

    def only(self, needs: Needs) -> "Inputs":
        """Without what is not declared; the base stays, as an architecture."""
        calibration = self.calibration if needs.calibration else {}
        if not needs.labels:
            calibration = {t: [(images, None) for images, _ in batches] for t, batches in calibration.items()}
        return replace(
            self,
            calibration=calibration,
            test_inputs=self.test_inputs if needs.test_inputs else {},
            heads=self.heads if needs.heads else {},
            joint=self.joint if needs.joint else None,
        )

    def exchanged(self, other: "Inputs", needs: Needs) -> "Inputs":
        """With another's base, images, labels, heads and joint model wherever these are not declared."""
        calibration = (self if needs.calibration else other).calibration
        if needs.calibration and not needs.labels:
            calibration = {
                t: [(images, None if labels is None else (labels + 1) % CLASSES) for images, labels in b]
                for t, b in calibration.items()
            }
        return replace(
            self,
            base=(self if needs.base else other).base,
            calibration=calibration,
            test_inputs=(self if needs.test_inputs else other).test_inputs,
            heads=(self if needs.heads else other).heads,
            joint=(self if needs.joint else other).joint,
        )

    def turned(self) -> "Inputs":
        """With all tasks in the opposite order."""
        return replace(
            self,
            experts=_turned(self.experts),
            calibration=_turned(self.calibration),
            test_inputs=_turned(self.test_inputs),
            heads=_turned(self.heads),
        )

    def with_experts(self, *dtypes: torch.dtype) -> "Inputs":
        """With the experts' weights in other precisions, by turns."""
        turns = zip(self.experts.items(), itertools.cycle(dtypes), strict=False)
        return replace(self, experts={t: {n: v.to(dtype) for n, v in e.items()} for (t, e), dtype in turns})

    def frozen(self, name: str) -> "Inputs":
        """With training that left one parameter at the base's value."""
        value = self.base.state_dict()[name]
        experts = {t: {**e, name: value.clone()} for t, e in self.experts.items()}
        joint = {**self.joint, name: value.clone()} if self.joint else None
        return replace(self, experts=experts, joint=joint)

    def alike(self, state: StateDict) -> "Inputs":
        """With copies of one state for all that was trained."""
        experts = {t: {n: v.clone() for n, v in state.items()} for t in self.experts}
        return replace(self, experts=experts, joint={n: v.clone() for n, v in state.items()})


def _turned(items: dict[str, Item]) -> dict[str, Item]:
    return dict(reversed(items.items()))


@cache
def make_inputs(seed: int, experts: int = 3, dtype: torch.dtype = torch.float32, kind: str = "ViT") -> Inputs:
    """Random inputs, the same object for the same arguments; torch's own generator stays where it is.

    Args:
        seed: of everything.
        experts: how many.
        dtype: of weights and images; heads are float32, as a zoo holds them.
        kind: of encoder, one of `ENCODERS`.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        base = _lively(ENCODERS[kind]()).to(dtype)
        tasks = [f"task-{number:02}" for number in range(experts)]
        states = {t: {n: _moved(n, v) for n, v in base.state_dict().items()} for t in tasks}
        images = {t: _images(BATCHES[i % len(BATCHES)], dtype) for i, t in enumerate(tasks)}
        heads: dict[str, nn.Module] = {t: _head(CLASSES + i % 3) for i, t in enumerate(tasks)}
        fresh = {t: _images(BATCHES[i % len(BATCHES)], dtype) for i, t in enumerate(tasks)}
        joint = {n: _moved(n, v) for n, v in base.state_dict().items()}
    labelled: dict[str, list[Batch]] = {
        t: [(b, torch.arange(len(b)) % CLASSES) for b in batches] for t, batches in images.items()
    }
    return Inputs(base, states, labelled, fresh, heads, joint)


def _vit() -> VisionTransformer:
    """With every part of CLIP's."""
    return VisionTransformer(
        img_size=SIDE,
        patch_size=8,
        embed_dim=WIDTH,
        depth=2,
        num_heads=2,
        num_classes=0,
        global_pool="token",
        mlp_ratio=2,
        pre_norm=True,
    )


def _convnext() -> ConvNeXt:
    return ConvNeXt(num_classes=0, depths=(1, 1, 1, 1), dims=(8, 16, 24, WIDTH))


def _resnet() -> ResNet:
    # timm's annotation speaks of a block, and means its class.
    return ResNet(BasicBlock, (1, 1, 1, 1), num_classes=0, stem_width=8, channels=(8, 16, 24, WIDTH))  # type: ignore[arg-type]


ENCODERS = {"ViT": _vit, "ConvNeXt": _convnext, "ResNet": _resnet}


def _lively(encoder: nn.Module) -> nn.Module:
    """An encoder whose biases, norms and statistics are as little trivial as a trained one's."""
    for parameter in encoder.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    for module in encoder.modules():
        if isinstance(module, BATCH_NORMS) and module.running_mean is not None and module.running_var is not None:
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 1.5)
    return encoder.eval()


def _moved(name: str, tensor: Tensor) -> Tensor:
    """What fine-tuning makes of a parameter: the same and a little more."""
    if not tensor.is_floating_point():
        return tensor.clone()
    if name.endswith("running_var"):  # which is positive
        return tensor * (0.5 + torch.rand_like(tensor))
    return (tensor.double() + 0.05 * torch.randn(tensor.shape, dtype=torch.float64)).to(tensor.dtype)


def _images(sizes: tuple[int, ...], dtype: torch.dtype) -> list[Tensor]:
    """Batches of one task's normalised images, which differ from another task's in more than noise."""
    tint = torch.randn(1, 3, 1, 1)
    return [(torch.randn(size, 3, SIDE, SIDE) + tint).to(dtype) for size in sizes]


def _head(classes: int) -> ZeroShotHead:
    text = nn.functional.normalize(torch.randn(classes, EMBED), dim=-1)
    return ZeroShotHead(torch.randn(EMBED, WIDTH), text, torch.tensor(5.0)).eval()
