"""Every row against every other on the same images: differences of averages, p values, intervals."""

from collections.abc import Collection, Sequence

import numpy as np
from scipy.special import ndtr, stdtrit

from mergebench.leaderboard.outcomes import Outcomes
from mergebench.leaderboard.significance import student
from mergebench.leaderboard.statistics import ROUNDING

# Variances below this are those of rows that agree image by image, and of rounding.
NOTHING = 1e-18
# Degrees of freedom for which the rows' usual variance over seeds counts. Without it equal rows of three seeds, 12 of
# them, are told apart on every second board where seeds matter more than images; with it on no more than 6 %.
PRIOR = 4.0
# A share of the processor's cache, in numbers of 8 bytes: so many images' weights are drawn together.
AT_ONCE = 2**18

Ends = tuple[np.ndarray, np.ndarray]  # of intervals: the lower ones and the upper ones


class Pairs:
    """Paired differences of rows' averages, for all pairs at once.

    The average is a mean over tasks of means over images of the share of seeds in which an image is right, so that
    what varies by the draw of images is estimated from the differences image by image, paired:

        D = mean_t mean_n d_tn,   V = sum_t var_n(d_tn) / (N_t T^2)  +  var_s(D_s) / S

    The second term is there with several seeds: of the differences D_s, where both rows have the same seeds, for then
    they saw the same draws; or else the sum of the rows' own. Three seeds tell little of their variance, and of many
    pairs some will seem to have none: with three rows or more that seeds vary, what is usual for these counts as
    `PRIOR` degrees of freedom beside the pair's own (a moderated t with a fixed prior; Smyth, "Linear models and
    empirical Bayes methods for assessing differential expression", Statist. Appl. Genet. Mol. Biol. 3, 2004).
    D / sqrt(V) is held against Student's t, its degrees of freedom Satterthwaite's: V^2 / sum_i V_i^2 / df_i over all
    terms. With one seed it speaks of the test images alone, with several of the seed's draws too; never of other tasks
    or experts.

    Args:
        rows: their outcomes, all of the same images.

    Attributes:
        difference: of the averages [K, K], the row's less the column's.
        variance: V [K, K].
        p: two-sided p values of "no difference" [K, K], not corrected for their number.
    """

    def __init__(self, rows: Sequence[Outcomes]) -> None:
        self._rows = rows
        self._shares = [np.stack([row.shares[task] for row in rows], axis=1) for task in rows[0].shares]
        averages = np.array([shares.mean(axis=0) for shares in self._shares]).mean(axis=0)
        self.difference = averages[:, None] - averages
        self._seeds, self._freedom = self._of_seeds()
        images = [(self._of_images(shares), len(shares) - 1.0) for shares in self._shares if len(shares) > 1]
        self._images = images
        self.variance, freedom = _together([*images, (self._seeds, self._freedom)])
        # What never varies is sure; but of one image, with one seed, nothing tells what varies.
        apart = np.abs(self.difference) > ROUNDING
        self._unknown = apart & (self.variance == 0) & (len(images) < len(self._shares))
        self.p = np.where(apart & ~self._unknown, 0.0, 1.0)
        known = self.variance > 0
        self.p[known] = student(self.difference[known] / np.sqrt(self.variance[known]), freedom[known])

    def interval(self, replicates: int = 10_000, level: float = 0.95) -> Ends:
        """Ends of the bootstrap's percentile interval of every difference, [K, K] each.

        Images are drawn anew within their tasks, the same for all rows. Drawing N things anew shows (N - 1) / N of what
        they vary: so the interval goes a little farther out among the replicates, to where one by Student's t would end
        (the expanded percentile interval of Hesterberg, "What teachers should know about the bootstrap", The American
        Statistician 69, 2015). That is no remedy for a few seeds: every replicate adds a draw from Student's t, of
        S - 1 degrees of freedom, times the standard error over seeds, which is what a few normal numbers tell of their
        mean.

        Args:
            replicates: how many.
            level: of confidence.
        """
        means, quantile = self._drawn(replicates)
        return self._ends(sum(means) / len(means), quantile, level)

    def intervals(self, replicates: int = 10_000, level: float = 0.95) -> tuple[Ends, list[Ends]]:
        """`interval`, and that of every task alone, from the same draws; arguments are its own."""
        means, quantile = self._drawn(replicates)
        alone = [Pairs([row.of_task(task) for row in self._rows]) for task in self._rows[0].shares]
        of_tasks = [pairs._ends(mean, quantile, level) for pairs, mean in zip(alone, means, strict=True)]
        return self._ends(sum(means) / len(means), quantile, level), of_tasks

    def _drawn(self, replicates: int) -> tuple[list[np.ndarray], np.ndarray]:
        """Every task's averages over images drawn anew, [replicates, K] each, and where in Student's t seeds fall."""
        draw = np.random.default_rng(0)
        return [_resampled(shares, replicates, draw) for shares in self._shares], draw.random(replicates)

    def _ends(self, averages: np.ndarray, quantile: np.ndarray, level: float) -> Ends:
        """The interval's, from what `_drawn` gives."""
        shown = sum(term * df / (df + 1) for term, df in self._images)  # of the variance, by drawing images anew
        variance, freedom = _together(self._images or [(np.zeros_like(self.difference), 1.0)])
        with np.errstate(divide="ignore", invalid="ignore"):
            end = ndtr(stdtrit(freedom, 0.5 - level / 2) * np.sqrt(variance / shown))
        end = np.where(variance > 0, end, 0.5 - level / 2)
        low, high = np.zeros_like(self.difference), np.zeros_like(self.difference)
        for i, of_seeds in enumerate(self._seeds):
            moved = averages[:, [i]] - averages[:, i:]
            if of_seeds.any():
                moved += np.sqrt(of_seeds[i:]) * stdtrit(self._freedom[i, i:], quantile[:, None])
            moved.sort(axis=0)
            low[i, i:], high[i, i:] = (_at(moved, share) for share in (end[i, i:], 1 - end[i, i:]))
            low[i:, i], high[i:, i] = -high[i, i:], -low[i, i:]
        # Seeds that say little may say more than there is: no average differs by more than 1.
        return np.where(self._unknown, -1, np.clip(low, -1, 1)), np.where(self._unknown, 1, np.clip(high, -1, 1))

    def _of_images(self, shares: np.ndarray) -> np.ndarray:
        """The variance of a task's part of every difference, shares being [N, K]."""
        centred = shares - shares.mean(axis=0)
        covariance = centred.T @ centred
        own = covariance.diagonal()
        count = len(shares)
        return np.maximum(own[:, None] + own - 2 * covariance, 0) / ((count - 1) * count * len(self._shares) ** 2)

    def _of_seeds(self) -> tuple[np.ndarray, np.ndarray]:
        """The variance of every difference over seeds, and its degrees of freedom; 0 and 1 where there is none."""
        size = len(self._rows)
        variance, freedom = np.zeros((size, size)), np.ones((size, size))
        own = [_of_mean(row.averages.values()) for row in self._rows]
        usual, prior = self._usual(own)
        for i, ours in enumerate(self._rows):
            for j, theirs in enumerate(self._rows[:i]):
                if ours.seeds == theirs.seeds:
                    found = _of_mean([ours.averages[s] - theirs.averages[s] for s in ours.seeds])
                    df = len(ours.seeds) - 1.0
                else:
                    found, df = own[i] + own[j], 0.0
                    if found:
                        df = found**2 / sum(own[k] ** 2 / (len(self._rows[k].seeds) - 1) for k in (i, j) if own[k])
                if prior and (own[i] or own[j]):
                    expected = sum(usual / len(self._rows[k].seeds) for k in (i, j) if own[k])
                    found, df = (prior * expected + df * found) / (prior + df), prior + df
                variance[i, j] = variance[j, i] = found
                freedom[i, j] = freedom[j, i] = max(df, 1)
        return variance, freedom

    def _usual(self, own: Sequence[float]) -> tuple[float, float]:
        """How much one seed varies a row that seeds vary, and how many degrees of freedom that counts for."""
        of_one = [variance * len(row.seeds) for variance, row in zip(own, self._rows, strict=True) if variance]
        return (float(np.mean(of_one)), PRIOR) if len(of_one) > 2 else (0.0, 0.0)


def _together(terms: Sequence[tuple[np.ndarray, np.ndarray | float]]) -> tuple[np.ndarray, np.ndarray]:
    """The sum of variances with degrees of freedom, and its own by Satterthwaite's formula (nan where it is 0)."""
    variance = sum(term for term, _ in terms)
    variance = np.where(variance < NOTHING, 0, variance)
    with np.errstate(divide="ignore", invalid="ignore"):
        return variance, variance**2 / sum(term**2 / df for term, df in terms)


def _at(columns: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """What lies at a share [K] of each of the sorted columns [B, K], between two numbers in proportion."""
    places = shares * (len(columns) - 1)
    below = np.floor(places).astype(int)
    above = np.minimum(below + 1, len(columns) - 1)
    rest, every = places - below, np.arange(columns.shape[1])
    return columns[below, every] * (1 - rest) + columns[above, every] * rest


def _of_mean(values: Collection[float]) -> float:
    """The variance of the mean of a few values; 0 of one, of which nothing is known."""
    if len(values) < 2 or np.ptp(found := np.array(list(values))) <= ROUNDING:
        return 0.0
    return float(found.var(ddof=1) / len(found))


def _resampled(shares: np.ndarray, replicates: int, draw: np.random.Generator) -> np.ndarray:
    """Means of the columns of [N, K] over images that are drawn anew: [replicates, K]."""
    count, means = len(shares), []
    for start in range(0, replicates, step := max(1, AT_ONCE // count)):
        some = min(step, replicates - start)
        drawn = draw.integers(count, size=(some, count)) + count * np.arange(some)[:, None]
        times = np.bincount(drawn.ravel(), minlength=some * count).reshape(some, count)
        means.append(times.astype(shares.dtype) @ shares / count)
    return np.concatenate(means)
