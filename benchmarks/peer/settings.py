"""What is compared: every method's settings on either side, and the size that it is compared at."""

from dataclasses import dataclass, field
from typing import Any

from inputs import Size

SMALL = Size()
FEW = Size(images=16)  # one batch of either side, so that the order of images cannot matter


@dataclass(frozen=True)
class Comparison:
    """A method on both sides.

    Args:
        method: its name here.
        ours: hyper-parameters where they are not the defaults.
        theirs: the class's name in FusionBench, and its settings: those of its configuration, but for the number of
            steps.
        size: what is merged.
        told: of the settings, for the table.
    """

    method: str
    theirs: tuple[str, dict[str, Any]]
    ours: dict[str, Any] = field(default_factory=dict)
    size: Size = SMALL
    told: str = ""


LOADER = {"batch_size": 32, "num_workers": 0}
REGMEAN = {
    "num_regmean_examples": 2**30,  # all images
    "exclude_param_names_regex": [],
    "reduce_non_diagonal_ratio": 0.95,
    "weight_transpose": True,
    "dataloader_kwargs": LOADER,
}

COMPARISONS = {
    "regmean": Comparison("regmean", ("RegMeanAlgorithmForCLIP", REGMEAN)),
    "regmean++": Comparison("regmean++", ("RegMeanAlgorithmForCLIPPlusPlus", REGMEAN)),
    "tsv_m": Comparison("tsv_m", ("TaskSingularVectorMerging", {"alpha": 1.0})),
    "iso_c": Comparison("iso_c", ("ISO_C_Merge", {"scaling_factor": 1.0}), ours={"scaling": 1.0}),
    "ties": Comparison(
        "ties",
        ("TiesMergingAlgorithm", {"scaling_factor": 0.3, "threshold": 20, "remove_keys": [], "merge_func": "sum"}),
    ),
    "fisher": Comparison(
        "fisher",
        (
            "FisherMergingForCLIPVisionModel",
            {
                "exclude_param_names_regex": [],
                "normalize_fisher_weight": True,
                "minimal_fisher_weight": 1e-6,
                "num_fisher_examples": FEW.images,
                "dataloader_kwargs": {**LOADER, "batch_size": FEW.images},
            },
        ),
        ours={"estimator": "batch"},
        size=FEW,
        told="the batch estimator",
    ),
    "wudi": Comparison("wudi", ("WUDIMerging", {"iter_num": 10}), ours={"steps": 10}, told="10 steps"),
    "dop": Comparison(
        "dop",
        (
            "ContinualDOPForCLIP",
            {
                "seed": 0, "shuffle_order": False, "save_on_every_step": False, "evaluate_on_every_step": False,
                "lr": 1e-4, "num_steps": 10, "mgda": True, "ema": True, "ema_beta": 0.999, "alpha": 0.8,
                "svd_epsilon": 0.99999, "svd_proj_space": "uv",
            },
        ),
        ours={"steps": 10},
        told="10 steps",
    ),
    "adamerging": Comparison(
        "adamerging",
        (
            "CLIPLayerWiseAdaMergingAlgorithm",
            {
                "weights": None, "optimizer": "adam", "lr": 1e-3, "init_values": 0.3, "clamp_weights": False,
                "tie_weights": True, "strict": False, "batch_size": FEW.images, "num_workers": 0, "max_steps": 20,
                "save_merging_weights": False,
            },
        ),
        ours={"steps": 20},
        size=FEW,
        told="layer-wise, 20 steps of 16 images a task",
    ),
}  # fmt: skip
