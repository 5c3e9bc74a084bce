"""Batch norms' statistics measured anew: the average of the experts' is not what the merged weights give."""

from itertools import zip_longest

import torch
from torch import nn

from mergebench.errors import MergebenchError
from mergebench.merging.layout import BATCH_NORMS, BatchNorm
from mergebench.merging.method import Needs
from mergebench.merging.pool import ModelPool
from mergebench.weights.states import StateDict

RECALIBRATING = Needs(calibration=True)
TOGETHER = 64  # images of all tasks in a batch, by which each norm then divides


def batch_norms(encoder: nn.Module) -> list[BatchNorm]:
    """The batch norms of an encoder that keep statistics.

    Raises:
        MergebenchError: there are none.
    """
    norms = [m for m in encoder.modules() if isinstance(m, BATCH_NORMS) and m.track_running_stats]
    if not norms:
        raise MergebenchError("recalibrate-norms: this encoder has no batch norms; leave it out")
    return norms


def recalibrate(pool: ModelPool, state: StateDict, samples: int) -> StateDict:
    """A merged state whose batch norms hold means and variances of what they are fed in the merged model.

    The mean over batches of every batch's own mean and variance, in one pass in which each norm goes by the batch's;
    every batch has images of all tasks alike, as no norm may go by one task's.

    Args:
        pool: needs `calibration`.
        state: the merged weights.
        samples: images of each task.

    Raises:
        MergebenchError: an encoder without batch norms, or a single image.
    """
    encoder = pool.encoder(state)
    for norm in batch_norms(encoder):
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean over batches
        norm.train()
    each = max(1, TOGETHER // len(pool.tasks))
    streams = [pool.calibration(task, samples, each, pieces=each) for task in pool.tasks]
    seen = 0
    with torch.no_grad():
        for parts in zip_longest(*streams):
            images = torch.cat([part for part in parts if part is not None])
            if len(images) > 1:  # of one image alone a norm in the last layers may see one number
                encoder(images)
                seen += len(images)
    if not seen:
        raise MergebenchError("recalibrate-norms: there is one image in all, which has no variance; give more")
    measured = encoder.state_dict()
    return {n: measured[n].to("cpu", t.dtype) if n in pool.layout.statistics else t for n, t in state.items()}
