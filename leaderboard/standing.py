"""Where rows stand once chance is allowed for: ranges of ranks, and who cannot be told from the best."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mergebench.leaderboard.outcomes import Outcomes
from mergebench.leaderboard.pairs import Pairs
from mergebench.leaderboard.significance import holm

SURE = 0.05  # the chance that any pair at all is told apart that does not differ


@dataclass(frozen=True)
class Standing:
    """One row's.

    Args:
        ranks: its best and its worst rank, 1 being the first.
        leading: whether it cannot be told from the row that is best.
    """

    ranks: tuple[int, int]
    leading: bool


def standings(averages: Sequence[float], outcomes: Sequence[Outcomes | None]) -> list[Standing] | None:
    """How far the order of rows can be told from chance.

    Two rows are told apart where the paired test of their averages says so, corrected by Holm over all pairs. A row's
    ranks go from one more than are surely better to as many as are not surely worse; all ranges hold together with 95 %
    confidence. A row without outcomes is told apart from none.
    Source: Mogstad, Romano, Shaikh and Wilhelm, "Inference for ranks with applications to mobility across
    neighbourhoods and academic achievement across countries", Review of Economic Studies 91 (2024), section 3.

    Args:
        averages: of rows that are ranked.
        outcomes: theirs.

    Returns:
        One for each row; None where there is nothing to tell it from: outcomes of fewer than two rows.
    """
    there = [one for one in outcomes if one is not None]
    known = [i for i, one in enumerate(outcomes) if one is not None and one.same_images(there[0])]
    if len(known) < 2:
        return None
    pairs = Pairs([outcomes[i] for i in known])
    size = len(averages)
    apart = np.zeros((size, size), dtype=bool)
    apart[np.ix_(known, known)] = told_apart(pairs)
    better = apart & (np.array(averages)[:, None] < np.array(averages))  # [i, j]: j is surely better than i
    best = int(np.argmax(averages))
    above, below = better.sum(axis=1), better.sum(axis=0)
    ranks = [(int(first) + 1, size - int(last)) for first, last in zip(above, below, strict=True)]
    return [Standing(own, not apart[i, best]) for i, own in enumerate(ranks)]


def told_apart(pairs: Pairs) -> np.ndarray:
    """Which pairs differ, corrected by Holm over all of them: [K, K]."""
    upper = np.triu_indices(len(pairs.p), k=1)
    apart = np.zeros(pairs.p.shape, dtype=bool)
    apart[upper] = holm(pairs.p[upper]) <= SURE
    return apart | apart.T
