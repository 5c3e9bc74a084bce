"""Telling somebody how far a training is."""

from typing import Any

import lightning

from mergebench.merging.pool import Tell


class Telling(lightning.Callback):
    """Tells of the steps that are done and of the loss at hand, about a hundred times a training.

    Args:
        tell: told, in the process of the first device.
        steps: how many there are.
    """

    def __init__(self, tell: Tell, steps: int) -> None:
        self._tell, self._steps = tell, steps

    def on_train_batch_end(
        self, trainer: lightning.Trainer, module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """A step is done."""
        done = trainer.global_step
        # Reading the loss waits for the device: not after every step.
        if trainer.is_global_zero and (done % max(1, self._steps // 100) == 0 or done == self._steps):
            self._tell(f"steps, loss {float(outputs['loss']):.3f}", done, self._steps)
