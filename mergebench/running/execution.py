"""Merging and evaluating a cell: what another cell has already merged or measured is not done again."""

import copy
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mergebench.catalogue import registry
from mergebench.catalogue.ready import ready
from mergebench.measuring.evaluation import Evaluation, evaluate, import_all
from mergebench.measuring.facts import Cost
from mergebench.measuring.measure import measure
from mergebench.merging.contract import PerTask, run_method
from mergebench.merging.method import MethodCard, Needs
from mergebench.merging.pool import Find, Tell
from mergebench.merging.time_limit import within
from mergebench.running.kept import Failures, Scores
from mergebench.suites.bench import Bench, Carried
from mergebench.suites.variant import Variant
from mergebench.weights.states import StateDict, digest

if TYPE_CHECKING:
    from mergebench.merging.method import MergeMethod


@dataclass(frozen=True)
class Recipe:
    """A method and all that decides what it gives but for the variant.

    Args:
        card, function: the method.
        hyperparameters: all of them, resolved.
        seed: of everything random.
    """

    card: MethodCard
    function: "MergeMethod"
    hyperparameters: dict[str, Any]
    seed: int

    @property
    def needs(self) -> Needs:
        """What it reads."""
        return registry.needs_of(self.card, self.hyperparameters)


@dataclass(frozen=True)
class Merged:
    """A merge's outcome.

    Args:
        states: the merged weights, or one per task from a ceiling.
        cost: of this merge alone, in a sequence without the earlier steps.
        drawn, drawn_images: "task/split" -> hash and number of the images that the method was given.
        diagnostics: what the method reported.
    """

    states: StateDict | PerTask
    cost: Cost
    drawn: dict[str, str]
    drawn_images: dict[str, int]
    diagnostics: dict[str, Any]


@dataclass
class Executor:
    """Runs cells on one bench, one after the other.

    The last merge is kept: a suite's variants may share it, and a sequence's next step starts from it. Scores are kept
    by weights, task and images: the same bits are not measured twice. What is kept is bounded (`kept.py`).

    Args:
        bench: the suite with its zoo and images.
        device: where to compute.
        timeout: seconds that one merge may take; None for no limit.
        precision: what evaluation computes in, "float32" or "bfloat16".
        devices: how many GPUs, from `device` on, share an evaluation.
        find: how a method is found that another starts from.
        tell: told how far the merge at hand is.
    """

    bench: Bench
    device: str
    timeout: float | None = None
    precision: str = "float32"
    devices: int = 1
    find: Find = ready
    tell: Tell | None = None
    _last: tuple[str, Merged] | None = None
    _failed: Failures = field(default_factory=Failures)
    _scores: Scores = field(default_factory=Scores)

    def merge(self, recipe: Recipe, variant: Variant) -> Merged:
        """Merge a variant; if it continues another, that one first.

        Raises:
            BaseException: whatever the method raises.
        """
        card = recipe.card
        # A ceiling is not merged at all: what it gives depends only on which tasks are evaluated.
        what = sorted(variant.evaluate) if card.role == "ceiling" else variant.merge_identity
        identity = json.dumps([card.name, card.path, recipe.hyperparameters, recipe.seed, what], default=str)
        if identity in self._failed:
            raise self._failed[identity]
        if self._last is None or self._last[0] != identity:
            carried = None
            try:
                if variant.previous and card.role == "method":
                    before = self.merge(recipe, variant.previous)
                    assert not isinstance(before.states, PerTask)  # which a ceiling alone gives
                    carried = Carried(before.states, variant.previous.merged, copy.deepcopy(before.diagnostics))
                self._last = identity, self._merge(recipe, variant, carried)
            except KeyboardInterrupt:
                raise
            except BaseException as error:
                # The suite's other variants may share this merge, and would wait for it to fail again.
                self._failed[identity] = error
                raise
        return self._last[1]

    def forget_scores(self) -> None:
        """Let go of all scores and predictions: weights that will not come again need none."""
        self._scores.clear()

    def _merge(self, recipe: Recipe, variant: Variant, carried: Carried | None) -> Merged:
        pool, sources = self.bench.pool(
            recipe.card, recipe.needs, recipe.seed, self.device, variant, carried, self.tell
        )
        with measure(self.device) as merging:
            states = within(
                self.timeout, "merging", lambda: run_method(recipe.function, pool, recipe.hyperparameters, self.find)
            )
        used = {name: s for name, s in sources.items() if len(s.drawn)}
        return Merged(
            states,
            merging.cost,
            {name: s.fingerprint for name, s in used.items()},
            {name: len(s.drawn) for name, s in used.items()},
            pool.diagnostics,
        )

    def evaluate(
        self,
        states: StateDict | PerTask,
        tasks: tuple[str, ...],
        split: str = "test",
        corruption: tuple[str, int] | None = None,
        on_task: Callable[[str], None] = lambda task: None,
    ) -> tuple[Evaluation, Cost]:
        """Score weights on tasks.

        Args:
            states: one state for all tasks, or one per task (tasks without one are left out).
            tasks: what to evaluate.
            split: "test" or "validation".
            corruption: kind and severity that the images are under.
            on_task: called as each task is done.

        Returns:
            The scores, and the cost of what had to be computed.
        """
        bench = self.bench
        if isinstance(states, PerTask):
            tasks = tuple(t for t in tasks if t in states)
            weights = {t: digest(states[t]) for t in tasks}
        else:
            weights = dict.fromkeys(tasks, digest(states))
        splits = {t: bench.split(t, split, corruption) for t in tasks}
        keys = {t: (weights[t], t, splits[t].digest) for t in tasks}
        missing = [t for t in tasks if keys[t] not in self._scores]
        for task in set(tasks) - set(missing):
            on_task(task)
        if missing:
            import_all()
        with measure(self.device) as evaluation:
            if missing:
                outcome = evaluate(
                    bench.zoo.make_empty_encoder(),
                    states,
                    {t: bench.head(t) for t in missing},
                    splits,
                    mean=bench.zoo.mean,
                    std=bench.zoo.std,
                    device=self.device,
                    devices=self.devices,
                    precision=self.precision,
                    on_task=on_task,
                )
                self._scores |= {
                    keys[t]: (outcome.scores[t], outcome.predictions[t], outcome.labels[t]) for t in missing
                }
        known = {t: self._scores[keys[t]] for t in tasks}
        whole = Evaluation(
            scores={t: scored[0] for t, scored in known.items()},
            predictions={t: scored[1] for t, scored in known.items()},
            labels={t: scored[2] for t, scored in known.items()},
        )
        return whole, evaluation.cost
