"""Canny's edges as OpenCV defines them, where the image is not smoothed first; spatter is built on them."""

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


def canny(image: "np.ndarray", low: float, high: float) -> "np.ndarray":
    """Thin lines where the brightness changes most.

    scikit-image has Canny too, but leaves out the image's border and measures gradients otherwise; at 32 pixels either
    matters.

    Args:
        image: uint8 [H, W].
        low: a gradient (|dx| + |dy| of 3x3 Sobel filters) above it is an edge if connected to a strong one.
        high: a gradient above it is a strong edge.

    Returns:
        bool [H, W].
    """
    import numpy as np
    from scipy import ndimage

    around = np.pad(image.astype(np.int32), 1, mode="edge")
    vertical = around[:-2] + 2 * around[1:-1] + around[2:]
    horizontal = around[:, :-2] + 2 * around[:, 1:-1] + around[:, 2:]
    dx = vertical[:, 2:] - vertical[:, :-2]
    dy = horizontal[2:] - horizontal[:-2]
    gradient = np.abs(dx) + np.abs(dy)
    candidates = (gradient > low) & _is_ridge(gradient, dx, dy)
    strong = candidates & (gradient > high)
    lines, count = ndimage.label(candidates, structure=np.ones((3, 3)))
    kept = np.zeros(count + 1, dtype=bool)
    kept[lines[strong]] = True
    return kept[lines]


def _is_ridge(gradient: "np.ndarray", dx: "np.ndarray", dy: "np.ndarray") -> "np.ndarray":
    """Where the gradient is a maximum across the edge, in the nearest of four directions."""
    import numpy as np

    around = np.pad(gradient, 1)
    height, width = gradient.shape

    def beside(down: int, right: int) -> "np.ndarray":
        return around[1 + down : 1 + down + height, 1 + right : 1 + right + width]

    flat, steep = math.tan(math.pi / 8), math.tan(3 * math.pi / 8)
    # Of two equal neighbours along an axis the first one counts; along a diagonal neither does.
    across_columns = (gradient > beside(0, -1)) & (gradient >= beside(0, 1))
    across_rows = (gradient > beside(-1, 0)) & (gradient >= beside(1, 0))
    falling = (gradient > beside(-1, -1)) & (gradient > beside(1, 1))
    rising = (gradient > beside(-1, 1)) & (gradient > beside(1, -1))
    diagonal = np.where((dx < 0) == (dy < 0), falling, rising)
    x, y = np.abs(dx), np.abs(dy)
    return np.where(y < flat * x, across_columns, np.where(y > steep * x, across_rows, diagonal))
