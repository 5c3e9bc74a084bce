"""How often the leaderboard's paired statements hold, on rows whose true difference is known.

    python benchmarks/coverage.py --repetitions 1000

Two methods are drawn again and again: images are harder or easier for both alike, tasks have other rates, every seed
moves each method's rates a little. The truth is the difference of the rates. Told are the share of the bootstrap's 95 %
intervals that hold it, and how often the test finds, at 5 %, a difference between equals; and how often any range of
ranks of twelve equal methods is wrong.
"""

import argparse

import numpy as np

from mergebench.leaderboard.outcomes import Outcomes
from mergebench.leaderboard.pairs import Pairs
from mergebench.leaderboard.standing import standings

CASES = (  # tasks, images of each, seeds, how far a seed moves a rate (standard deviation)
    (1, 50, 1, 0.0),
    (1, 1000, 1, 0.0),
    (8, 100, 1, 0.0),
    (8, 1000, 1, 0.0),
    (20, 1000, 1, 0.0),
    (8, 1000, 3, 0.003),
    (8, 1000, 3, 0.02),
    (8, 100, 5, 0.01),
)


def drawn(
    rng: np.random.Generator, rates: np.ndarray, images: int, seeds: int, moved: float, alike: float = 0.7
) -> list[Outcomes]:
    """Rows with rates [K, T]: a share `alike` of an image's luck is all rows' together, the rest is each row's own."""
    found = []
    common = rng.random((rates.shape[1], images)) < alike
    luck = rng.random((rates.shape[1], images))
    for own in rates:
        mine = np.where(common, luck, rng.random((rates.shape[1], images)))
        effects = moved * rng.standard_normal(seeds)
        hits = {s: {f"t{t}": mine[t] < r + effect for t, r in enumerate(own)} for s, effect in enumerate(effects)}
        found.append(Outcomes.of_hits(hits))
    return found


def main() -> None:
    """Simulate, and print a line for every case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=1000)
    parser.add_argument("--replicates", type=int, default=2000, help="of the bootstrap")
    asked = parser.parse_args()
    rng = np.random.default_rng(0)
    print(
        "| tasks | images of each | seeds | moved by a seed | interval holds the truth | equals told apart | ranges |"
    )
    print("|---:|---:|---:|---:|---:|---:|---:|")
    for tasks, images, seeds, moved in CASES:
        holds = apart = wrong = 0
        for _ in range(asked.repetitions):
            rates = rng.uniform(0.3, 0.9, tasks)
            other = rates + rng.uniform(-0.05, 0.05, tasks)
            pairs = Pairs(drawn(rng, np.stack([rates, other]), images, seeds, moved))
            low, high = pairs.interval(asked.replicates)
            holds += low[0, 1] <= (rates - other).mean() <= high[0, 1]
            equals = drawn(rng, np.stack([rates] * 12), images, seeds, moved)
            apart += Pairs(equals[:2]).p[0, 1] < 0.05
            found = standings([float(np.mean([*row.averages.values()])) for row in equals], equals)
            wrong += any(one.ranks != (1, 12) for one in found)
        shares = (f"{100 * count / asked.repetitions:.1f} %" for count in (holds, apart, wrong))
        print(f"| {tasks} | {images:,} | {seeds} | {100 * moved:g} points | {' | '.join(shares)} |", flush=True)


if __name__ == "__main__":
    main()
