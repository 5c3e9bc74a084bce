"""Names and shapes under which other libraries keep the same encoder, and how they become timm's and back."""

from mergebench.weights.adapted import as_expert
from mergebench.weights.files import open_weights, shards_of
from mergebench.weights.pickles import PICKLES
from mergebench.weights.translation import TranslatedState, Unwrapped, as_timm, check_format, from_timm

__all__ = [
    "PICKLES", "TranslatedState", "Unwrapped", "as_expert", "as_timm", "check_format", "from_timm", "open_weights",
    "shards_of",
]  # fmt: skip
