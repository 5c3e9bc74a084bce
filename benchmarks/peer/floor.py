"""The least that RegMean and RegMean++ can take: their floating-point operations, and what products run at here.

python floor.py prints the rate of a product of squares in float32, in GFLOP/s.
"""

import time

import torch
from inputs import Size

SIDE, REPEATS = 2048, 9


def operations(method: str, size: Size) -> dict[str, float]:
    """Floating-point operations of a merge by what they are for, a multiplication and an addition being two.

    Each expert's forward pass up to its last linear layer's input; half a Gram for every input that layers do not
    share (query, key and value do); targets G_i (W_i - A)^T; Cholesky and two triangular solves a layer; and what
    makes the tokens of the next block: for RegMean++ the merged block, for RegMean the last layer of the expert's own.
    Norms, activations and softmax are not counted, nor are float64's products as two.

    Args:
        method: "regmean" or "regmean++".
        size: what is merged.
    """
    w, h, rows = size.width, size.hidden, size.images * size.tokens
    whole = method == "regmean++"
    passes = size.tasks * size.blocks
    further = size.tasks * (size.blocks - 1)
    layers, last = 2 * rows * (4 * w * w + w * h), 2 * rows * w * h
    products = 2 * (w * w * (4 * w + h) + h * h * w)  # of a square as wide as a layer's input with that layer's weight
    return {
        "embedding": size.tasks * 2 * size.images * (size.tokens - 1) * 3 * size.patch**2 * w,
        "layers": passes * layers + further * (last + whole * layers),
        "attention": (passes + further * whole) * 4 * size.images * size.tokens**2 * w,
        "grams": passes * rows * (3 * w * w + h * h),
        "targets": passes * products,
        "solves": size.blocks * ((3 * w**3 + h**3) / 3 + products),
    }


def rate() -> float:
    """Operations a second of a float32 product of squares, the best of a few."""
    left, right = torch.randn(SIDE, SIDE), torch.randn(SIDE, SIDE)
    left @ right
    best = float("inf")
    for _ in range(REPEATS):
        start = time.perf_counter()
        left @ right
        best = min(best, time.perf_counter() - start)
    return 2 * SIDE**3 / best


if __name__ == "__main__":
    print(rate() / 1e9)
