"""How far two measurements of the same merge may lie apart, which other versions and machines round otherwise."""

import math

# Of a task's images, how many may be classified otherwise.
SHARE = 0.005


def flips(total: int) -> int:
    """How many of a task's images may be classified otherwise by a merge that rounds otherwise: 1, and 5 in 1,000.

    Args:
        total: the images.
    """
    return 1 + math.ceil(SHARE * total)
