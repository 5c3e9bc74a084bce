"""RegMean and RegMean++: every linear layer by least squares on the experts' activations."""

from typing import Literal

from jsonargparse.typing import ClosedUnitInterval, NonNegativeFloat, PositiveInt

from mergebench import ModelPool, Needs, StateDict, merge_method
from mergebench.merging.blockwalk import walk_blocks
from mergebench.precisions import Precision


@merge_method(
    "regmean",
    title="RegMean",
    paper="arXiv:2212.09849",
    needs=Needs(calibration=True),
    year=2022,
    fidelity="paper",
    holds="2 models, 64 tensors",
    cost="one block's Grams; 0.5 GB of tokens at most, more on disk; 1 pass over 256 images a task; a solve a layer",
    idempotent=True,
    ranges={"alpha": (0.0, 1.0), "ridge": (0.0, 1.0)},
)
def regmean(
    pool: ModelPool,
    *,
    alpha: ClosedUnitInterval = 0.95,
    samples: PositiveInt = 256,
    ridge: NonNegativeFloat = 0.0,
    granularity: Literal["block", "linear"] = "block",
    precision: Precision = "float32",
) -> StateDict:
    """Each linear layer solved by least squares on every expert's own activations; other parameters averaged.

        W^T = (sum_i G_i)^-1 sum_i G_i W_i^T,   G_i = X_i^T X_i / n_i with off-diagonals times alpha

    X_i are the layer's input rows in expert i's own forward pass over its own task's images.
    Source: Jin et al., "Dataless knowledge fusion by merging weights of language models", section 3, eq. 2.

    Args:
        alpha: factor on the off-diagonal entries of each Gram.
        samples: calibration images per task.
        ridge: pull towards the average, relative to the mean of the summed Gram's diagonal (not in the paper).
        granularity: "linear" feeds merged sub-layers inside each block (an ablation).
        precision: of the forward passes; "bfloat16" is quicker where the machine has it, and its error is reported.
    """
    settings = {"alpha": alpha, "samples": samples, "ridge": ridge, "granularity": granularity, "precision": precision}
    return walk_blocks(pool, source="expert", **settings)


@merge_method(
    "regmean++",
    title="RegMean++",
    paper="arXiv:2508.03121",
    needs=Needs(base=True, calibration=True, blocks=True),
    needs_when={("final_norm", "average"): Needs(calibration=True, blocks=True)},
    year=2025,
    fidelity="released code",
    holds="2 models, 58 tensors",
    cost="one block's Grams; 0.5 GB of tokens at most, more on disk; 2 passes over 256 images a task; a solve a layer",
    ranges={"alpha": (0.0, 1.0), "ridge": (0.0, 1.0)},
)
def regmean_plus_plus(
    pool: ModelPool,
    *,
    alpha: ClosedUnitInterval = 0.95,
    samples: PositiveInt = 256,
    ridge: NonNegativeFloat = 0.0,
    final_norm: Literal["base", "average"] = "base",
    granularity: Literal["block", "linear"] = "block",
    precision: Precision = "float32",
) -> StateDict:
    """RegMean whose activations come from the already merged blocks.

        W^T = (sum_i G_i)^-1 sum_i G_i W_i^T,   G_i from expert i's block l fed with f_merged^(<l)(images of task i)

    The averaged embedding feeds the first block; a block is solved before the next one is looked at.
    Source: "RegMean++: enhancing effectiveness and generalization of regression mean for model merging", section 4.
    The paper averages all other parameters; its released code leaves the final norm at the base's value.

    Args:
        alpha: factor on the off-diagonal entries of each Gram.
        samples: calibration images per task.
        ridge: pull towards the average, relative to the mean of the summed Gram's diagonal (not in the paper).
        final_norm: whether the last norm is the base's (released code) or the experts' average.
        granularity: "linear" also feeds merged sub-layers inside the block (an ablation).
        precision: of the forward passes; "bfloat16" is quicker where the machine has it, and its error is reported.
    """
    settings = {"alpha": alpha, "samples": samples, "ridge": ridge, "granularity": granularity, "precision": precision}
    return pool.finish(walk_blocks(pool, source="merged", final_norm=final_norm, **settings))
