"""The squares of a linear layer's gradients, summed over images and classes, with no more than one gradient held."""

import torch
from torch import Tensor

# Entries of products that are squared together: few enough for a processor's cache.
PRODUCT = 600_000
# Rows whose pairs with all others are taken together: fewer leave out more of what is there twice, but cost more calls.
PAIRED = 24


class Squares:
    """The sum over images b and classes k of (D_kb^T X_b)^2, D_kb the gradients by a layer's output, X_b its input.

    An entry is a quadratic form in its column of X_b, so that many classes can be taken together:

        sum_k (sum_n D_kno X_ni)^2 = sum_nm M_onm X_ni X_mi,   M_onm = sum_k D_kno D_kmo

    which is done where it costs less, as with fewer rows n than classes.

    Args:
        total: [out, in], to which is added.
        rows: X [B, N, in].
        classes: how many D there will be.
        at_once: how many of them may be held.
    """

    def __init__(self, total: Tensor, rows: Tensor, classes: int, at_once: int) -> None:
        self._total, self._all, self._classes = total, rows, min(classes, at_once)
        self._rows, self._idle, self._busy = rows, torch.empty(0), torch.empty(0)  # places, once they are seen
        self._held: Tensor | None = None
        self._count = -1

    def add(self, slopes: Tensor) -> None:
        """Add a class: its D [B, N, out]."""
        if self._count < 0:
            self._start(slopes)
        if len(self._idle):
            if slopes[:, self._idle].any():
                self._square(self._all, slopes)
                return
            slopes = slopes[:, self._busy]
        if self._held is None:
            self._square(self._rows, slopes)
            return
        for held, slope in zip(self._held, slopes, strict=True):
            held[self._count] = slope.T
        self._count += 1
        if self._count == self._classes:
            self.close()

    def close(self) -> None:
        """Add what is held."""
        for rows, held in zip(self._rows, () if self._held is None else self._held, strict=False):
            add_pairs(self._total, rows, held[: self._count])
        self._count = 0

    def _start(self, slopes: Tensor) -> None:
        """See which rows have a gradient at all (behind a class token's readout one has), and what will cost less."""
        busy = slopes.any(-1).any(0)
        self._count, self._idle, self._busy = 0, (~busy).nonzero()[:, 0], busy.nonzero()[:, 0]
        if len(self._idle):
            self._rows = self._all[:, self._busy]
        images, rows, width = self._rows.shape
        if pairs_pay(self._classes, rows, width):
            self._held = slopes.new_empty(images, self._classes, slopes.shape[-1], rows)

    def _square(self, rows: Tensor, slopes: Tensor) -> None:
        if rows.shape[1] == 1:
            self._total.addmm_(slopes[:, 0].square().T, rows[:, 0].square())
        else:
            add_products(self._total, rows, slopes)


def pairs_pay(classes: int, rows: int, width: int) -> bool:
    """Whether M and its products cost less than those of every class; from measured times of both."""
    return classes * (width - 60 - 2.5 * rows) > 0.6 * rows * width


def add_products(total: Tensor, rows: Tensor, slopes: Tensor) -> None:
    """total += sum_b (D_b^T X_b)^2, product by product: [out, in], X [B, N, in], D [B, N, out]."""
    height, width = total.shape
    together = max(PRODUCT // total.numel(), 1)
    if together > 1:
        for some, of_some in zip(torch.split(rows, together), torch.split(slopes, together), strict=True):
            total += torch.bmm(of_some.transpose(1, 2), some).square_().sum(0)
        return
    lines = max(PRODUCT // width, 1)
    product = total.new_empty(min(lines, height), width)
    for some, of_some in zip(rows, slopes, strict=True):
        for part, by in zip(torch.split(total, lines), torch.split(of_some.T, lines), strict=True):
            found = torch.mm(by, some, out=product[: len(part)])
            part.addcmul_(found, found)


def add_pairs(total: Tensor, rows: Tensor, slopes: Tensor) -> None:
    """total += sum_k (D_k^T X)^2, by pairs of rows: [out, in], X [N, in], D^T [K, out, N]."""
    by_output = slopes.transpose(0, 1)
    for start in range(0, len(rows), PAIRED):
        end = min(start + PAIRED, len(rows))
        form = torch.bmm(by_output[:, :, start:end].transpose(1, 2), by_output[:, :, start:])
        pairs = rows[start:end, None] * rows[None, start:]
        pairs[:, end - start :] *= 2  # each of these stands for its mirror image too
        total.addmm_(form.flatten(1), pairs.flatten(0, 1))
