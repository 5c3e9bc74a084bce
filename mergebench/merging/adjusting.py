"""What may be done to a merged model afterwards, on calibration images, on request."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import nn

from mergebench.merging.method import Needs
from mergebench.merging.pool import ModelPool
from mergebench.merging.recalibrate import RECALIBRATING, batch_norms, recalibrate
from mergebench.merging.recentre import RECENTRING, moving_bias, recentre
from mergebench.weights.states import StateDict

SAMPLES = 256  # images of each task, where there are as many


class Adjusted(NamedTuple):
    """What came of it: the weights, what people are told, and what a header says."""

    state: StateDict
    told: str
    noted: dict[str, Any]


@dataclass(frozen=True)
class Adjustment:
    """Something that is done to a merged model.

    Args:
        needs: what it reads.
        check: refuses, by a MergebenchError, an encoder that it is not for.
        adjust: the merged state, and how many images of each task are taken -> what came of it.
    """

    needs: Needs
    check: Callable[[nn.Module], object]
    adjust: Callable[[ModelPool, StateDict, int], Adjusted]


def _recalibrated(pool: ModelPool, state: StateDict, samples: int) -> Adjusted:
    norms = sum(name.endswith(".running_mean") for name in pool.layout.statistics)
    told = f"statistics of {norms} batch norms measured on {samples} images a task"
    return Adjusted(recalibrate(pool, state, samples), told, {"recalibrated": {"samples": samples}})


def _recentred(pool: ModelPool, state: StateDict, samples: int) -> Adjusted:
    moved = recentre(pool, state, samples)
    return Adjusted(moved.state, str(moved), {"recentred": moved.noted})


# By the name of the option, in the order in which they are done.
ADJUSTMENTS: Mapping[str, Adjustment] = {
    "recalibrate_norms": Adjustment(RECALIBRATING, batch_norms, _recalibrated),
    "recentre": Adjustment(RECENTRING, moving_bias, _recentred),
}
