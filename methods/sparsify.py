"""Thinning task vectors: by magnitude, at random, and between the largest magnitudes and the small ones."""

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

# Entries of a tensor that are merged at a time: of twenty experts and some sizes on the way, tens of megabytes.
CUT = 2**17


def entries(fraction: float, size: int) -> int:
    """floor(fraction * size), as on paper."""
    # Rounding first: 0.1 * 30 is 3.0000000000000004 in binary, and 0.29 * 100 is 28.999999999999996.
    return math.floor(round(fraction * size, 6))


def per_task(values: Tensor, vectors: Tensor) -> Tensor:
    """One number per task [T], shaped so that it meets every entry of its task vector [T, *shape]."""
    return values.view(-1, *[1] * (vectors.ndim - 1))


def magnitude_threshold(vector: Tensor, density: float) -> Tensor:
    """The k-th largest magnitude of a vector [n], with k = floor(density n), at least 1; infinite if density is 0."""
    return _threshold(vector.abs(), density)


def _threshold(magnitudes: Tensor, density: float) -> Tensor:
    """As `magnitude_threshold`, of magnitudes [n], whose order may change."""
    if density == 0:
        return magnitudes.new_tensor(math.inf)
    return ranked(magnitudes, magnitudes.numel() - max(1, entries(density, magnitudes.numel())))


def ranked(values: Tensor, below: int) -> Tensor:
    """The entry of a vector [n] that has so many entries below it; the vector's order may change."""
    if values.device.type == "cpu":
        # In place: kthvalue holds a copy and an index of eight bytes for every entry, three models more of a whole one.
        values.numpy().partition(below)
        return values[below].clone()
    return values.kthvalue(below + 1).values


def side_by_side(part: Callable[[str], Tensor], sizes: Mapping[str, int]) -> Tensor:
    """All entries of a state [n], of which one parameter is made at a time.

    Args:
        part: parameter's name -> its value.
        sizes: how many entries each has.
    """
    joined: Tensor | None = None
    start = 0
    for name, size in sizes.items():
        value = part(name).flatten()
        joined = value.new_empty(sum(sizes.values())) if joined is None else joined
        joined[start : start + size] = value
        start += size
    assert joined is not None  # no state is empty
    return joined


def in_cuts(merge: Callable[..., Tensor], *tensors: Tensor) -> Tensor:
    """What a merge of single entries gives, cut by cut, so that all it makes on the way is of one cut.

    Args:
        merge: cuts of the tensors [..., k] -> [k].
        tensors: [..., n].

    Returns:
        [n].
    """
    pieces = zip(*(torch.split(tensor, CUT, -1) for tensor in tensors), strict=True)
    return torch.cat([merge(*cuts) for cuts in pieces], -1)


def magnitude_thresholds(
    vector: Callable[[str, str], Tensor], tasks: Sequence[str], names: Sequence[str], density: float
) -> Tensor:
    """The `magnitude_threshold` of each task vector, over all the parameters named together: [T].

    Args:
        vector: (task, parameter's name) -> task vector [*shape].
        tasks, names: whose, and of which parameters.
        density: fraction of the entries to keep.
    """
    sizes = {name: vector(tasks[0], name).numel() for name in names}

    def threshold(task: str) -> Tensor:
        return _threshold(side_by_side(lambda name: vector(task, name).abs(), sizes), density)

    return torch.stack([threshold(task) for task in tasks])


def trim(vectors: Tensor, thresholds: Tensor) -> Tensor:
    """Zero the entries of each task vector [T, *shape] whose magnitude is below its threshold [T]."""
    return torch.where(vectors.abs() >= per_task(thresholds, vectors), vectors, 0)


def keep_middle(vectors: Tensor, density: float, outliers: float) -> Tensor:
    """Zero the largest magnitudes of each row [..., n], and all but the next largest.

    Args:
        vectors: its last dimension is ranked, every row by itself.
        density: the fraction to keep, less where too few are left.
        outliers: the fraction of largest magnitudes that is dropped first.

    Returns:
        [..., n]; entries as large as the first or the last kept one are kept too.
    """
    size = vectors.shape[-1]
    left = size - entries(outliers, size)
    kept = min(entries(density, size), left)
    if kept == 0:
        return torch.zeros_like(vectors)
    magnitudes = vectors.abs()
    highest = magnitudes.kthvalue(left, dim=-1, keepdim=True).values
    lowest = magnitudes.kthvalue(left - kept + 1, dim=-1, keepdim=True).values
    return torch.where((magnitudes >= lowest) & (magnitudes <= highest), vectors, 0)


def drop_at_random(vector: Tensor, rate: float, generator: torch.Generator) -> Tensor:
    """Zero each entry of a task vector with probability `rate`; divide the others by 1 - rate."""
    kept = torch.rand(vector.shape, generator=generator, dtype=torch.float64) >= rate
    return torch.where(kept.to(vector.device), vector / (1 - rate), 0)
