"""Which of the state dicts in a torch checkpoint is meant: training code keeps several side by side."""

from collections.abc import Mapping
from typing import Any

from mergebench.errors import CheckpointError

# Where a state dict is kept. Of each pair both may be there; the first is what the writer's own loader takes.
PREFERRED = (
    ("state_dict_ema", "state_dict"),  # timm
    ("model_ema", "model"),  # timm, DeiT
    ("model_ema", "state_dict"),
    ("teacher", "student"),  # DINO
)
KEYS = tuple(dict.fromkeys(key for pair in PREFERRED for key in pair)) + (
    "model_state_dict", "model_state", "ema", "ema_state_dict", "ema_weights", "net", "network", "encoder", "backbone",
    "weights", "params",
)  # fmt: skip


def state_dict_in(read: Mapping[Any, Any], who: str) -> tuple[Mapping[Any, Any], str]:
    """The weights in what `torch.save` wrote, and a sentence where there was a choice.

    Args:
        read: a state dict, or a mapping that holds one beside optimiser states, numbers and the like.
        who: the file, for messages.

    Returns:
        The state dict (what is not under a known key is taken to be one), and what is to be told, perhaps nothing.

    Raises:
        CheckpointError: several, of which none is known to be preferred.
    """
    found = [key for key in KEYS if isinstance(read.get(key), Mapping) and read[key]]
    if len(found) < 2:
        return (read[found[0]] if found else read), ""
    if tuple(found) not in PREFERRED:
        raise CheckpointError(
            f"{who} holds weights under {' and under '.join(map(repr, found))}: save the ones that are meant, "
            f"torch.load(path)[{found[0]!r}], with safetensors.torch.save_file, and use that file"
        )
    return read[found[0]], (
        f"{who} holds weights under {found[0]!r} and under {found[1]!r}: {found[0]!r} is taken, as its writer's own "
        "loader does"
    )
