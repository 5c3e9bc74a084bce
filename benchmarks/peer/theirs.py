"""One merge by FusionBench, in a process of its own: python theirs.py COMPARISON INPUTS RESULT.

Its algorithms run as they are; what is put in their place is what would be downloaded: models, images and heads.
"""

import copy
import functools
import sys
from collections.abc import Iterator
from pathlib import Path

import torch
from fusion_bench import method as methods
from fusion_bench.mixins import CLIPClassificationMixin
from fusion_bench.modelpool import BaseModelPool
from inputs import Inputs
from omegaconf import DictConfig
from safetensors.torch import save_file
from settings import COMPARISONS
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset
from transformers import CLIPVisionConfig, CLIPVisionModel
from watching import watched


class Pool(BaseModelPool):
    """Models that are in memory, and images that need no processing."""

    def __init__(self, models: dict[str, nn.Module], images: dict[str, TensorDataset]) -> None:
        super().__init__(dict.fromkeys(models, ""))
        self._held, self._images = models, images

    def load_model(self, name: str) -> nn.Module:
        """One of the models; a copy of the base, into which the result is written."""
        return copy.deepcopy(self._held[name]) if name == "_pretrained_" else self._held[name]

    def load_pretrained_model(self) -> nn.Module:
        """The base."""
        return self.load_model("_pretrained_")

    def load_train_dataset(self, name: str) -> TensorDataset:
        """Images of a task."""
        return self._images[name]

    load_test_dataset = load_train_dataset

    def load_processor(self) -> None:
        """None: images are tensors already."""
        return None


def without_downloads(kind: type, heads: dict[str, Tensor]) -> type:
    """The algorithm with heads that are here already, and without its tables of timings."""

    class Local(kind):
        def setup_zero_shot_classification_head(self) -> None:
            self.zeroshot_weights = {name: head for name, head in heads.items() if name != "projection"}
            self.visual_projection = lambda features: features @ heads["projection"].T
            self.logit_scale_exp = torch.tensor(100.0)

        @property
        def clip_processor(self) -> None:
            return None

        def log_hyperparams(self, *_: object) -> None: ...

        @functools.cache  # noqa: B019 (as it is there: one iterator a task)
        def get_shuffled_test_loader_iter(self, task: str) -> Iterator:
            loader = DataLoader(self.modelpool.load_test_dataset(task), shuffle=True, batch_size=self.config.batch_size)
            return _without_end(loader)

    if not issubclass(kind, CLIPClassificationMixin):
        return kind
    if "RegMeanAlgorithmForCLIPPlusPlus" in kind.__name__:
        # 0.2.33 declares its mapping as a plain dict, whose inverse is then asked for, and does not start.
        from bidict import bidict

        kind._config_mapping = bidict(super(kind, kind)._config_mapping) | bidict(kind._config_mapping)
    return Local


def _without_end(loader: DataLoader) -> Iterator:
    while True:
        yield from loader


def main(name: str, place: str, result: str) -> None:
    """Merge, print what it took, write the merged weights."""
    comparison, given = COMPARISONS[name], Inputs(Path(place))
    size = given.size
    config = CLIPVisionConfig(
        hidden_size=size.width,
        intermediate_size=size.hidden,
        num_hidden_layers=size.blocks,
        num_attention_heads=size.width // 64,
        image_size=size.image,
        patch_size=size.patch,
    )
    models = {}
    for task, state in {"_pretrained_": given.base, **given.experts}.items():
        models[task] = CLIPVisionModel(config)
        models[task].load_state_dict(state)
    images = {t: TensorDataset(x, torch.zeros(len(x), dtype=torch.long)) for t, x in given.images.items()}
    kind, settings = comparison.theirs
    algorithm_type = without_downloads(getattr(methods, kind), given.heads)
    if kind == "CLIPLayerWiseAdaMergingAlgorithm":
        algorithm = algorithm_type(DictConfig(settings))
    else:
        algorithm = algorithm_type(**settings)
    pool = Pool(models, images)
    with watched():
        merged = algorithm.run(pool)
    save_file({n: t.detach().clone().contiguous() for n, t in merged.state_dict().items()}, result)


if __name__ == "__main__":
    main(*sys.argv[1:])
