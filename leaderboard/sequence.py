"""What tasks that arrive in sequence do to those before them: backward transfer and forgetting."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from mergebench.leaderboard.series import Line, Series
from mergebench.measuring.results import SUITE_AXES, Result

Figures = tuple[float, ...]  # after the last step, backward transfer, forgetting


@dataclass(frozen=True)
class Transfer:
    """One method's three figures: each its mean and standard deviation over orders (over seeds, if there is one).

    Args:
        final: mean accuracy over the tasks merged, after the last step.
        backward: mean over tasks of accuracy after the last step minus that right after the task's own step.
        forgetting: mean over tasks of the best accuracy after any step from the task's own to the last but one, minus
            that after the last step.
    """

    final: tuple[float, float | None]
    backward: tuple[float, float | None]
    forgetting: tuple[float, float | None]


def transfer(series: Series, line: Line) -> dict[str, Transfer]:
    """A line's figures over all orders of which every step is there, for each of a study's arms ("" outside studies).

    With R[s, t] the accuracy on task t after step s, and s_t the step in which t arrives; over tasks with s_t < S, the
    last step:

        backward = mean_t (R[S, t] - R[s_t, t]),   forgetting = mean_t (max_{s_t <= s < S} R[s, t] - R[S, t])

    Source: Lopez-Paz and Ranzato, "Gradient episodic memory" (backward transfer); Chaudhry et al., "Riemannian walk"
    (forgetting).
    """
    runs: dict[tuple[str, str, int], dict[int, Result]] = {}
    for variant, point in series.points.items():
        if "step" in point:
            arm = ",".join(f"{a}={v}" for a, v in point.items() if a not in SUITE_AXES)
            for result in line.results.get(variant, ()):
                runs.setdefault((arm, str(point.get("order")), result.seed), {})[point["step"]] = result
    figures: dict[str, dict[str, list[Figures]]] = {}
    for (arm, order, _), steps in runs.items():
        whole = [steps[s] for s in sorted(steps)]
        found = _figures(whole) if len(whole) == whole[0].steps > 1 else None
        if found:
            figures.setdefault(arm, {}).setdefault(order, []).append(found)
    return {arm: Transfer(*map(_spread, zip(*_runs(orders), strict=True))) for arm, orders in figures.items()}


def _runs(orders: Mapping[str, Sequence[Figures]]) -> list[Figures]:
    """What a spread is taken over: orders, each its mean over seeds, which may change nothing; of one order, seeds."""
    if len(orders) == 1:
        return list(*orders.values())
    return [tuple(map(fmean, zip(*seeds, strict=True))) for seeds in orders.values()]


def _figures(steps: Sequence[Result]) -> Figures | None:
    accuracies = [{t: s.accuracy for t, s in r.tasks.items()} for r in steps]
    arrival = {t: next(i for i, r in enumerate(steps) if t in r.merged) for t in steps[-1].merged}
    earlier = {t: i for t, i in arrival.items() if i < len(steps) - 1 and t in accuracies[-1]}
    if not earlier:  # none of the tasks of earlier steps is evaluated
        return None
    backward = fmean(accuracies[-1][t] - accuracies[i][t] for t, i in earlier.items())
    forgetting = fmean(max(a[t] for a in accuracies[i:-1]) - accuracies[-1][t] for t, i in earlier.items())
    return fmean(a for t, a in accuracies[-1].items() if t in arrival), backward, forgetting


def _spread(values: Sequence[float]) -> tuple[float, float | None]:
    return fmean(values), stdev(values) if len(values) > 1 else None
