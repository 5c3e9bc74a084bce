"""What may be computed in, by name: known without torch."""

from typing import Literal, get_args

# Of evaluation.
Precision = Literal["float32", "bfloat16"]
PRECISIONS: tuple[str, ...] = get_args(Precision)

# Of training: Lightning's names of what is sensible.
TrainingPrecision = Literal["32-true", "bf16-mixed", "16-mixed", "bf16-true", "64-true"]
TRAINING_PRECISIONS: tuple[TrainingPrecision, ...] = get_args(TrainingPrecision)
