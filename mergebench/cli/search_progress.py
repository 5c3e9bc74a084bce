"""Progress of a search: a line for every trial, the best so far marked; then the cells of what was chosen."""

from collections.abc import Mapping
from typing import Any

from mergebench.cli.progress import ProgressObserver
from mergebench.cli.saying import tell
from mergebench.running.planned import Cell, Plan
from mergebench.tuning.search import Search, SearchObserver
from mergebench.tuning.trials import Trial


class SearchProgress(ProgressObserver, SearchObserver):
    """A bar over trials, then over what is left to measure, and a line for each trial and cell that ends."""

    def search(self, search: Search, trials: int) -> None:
        """Tell what is searched, and size the bar."""
        stored = min(len(search.trials), trials)
        where = f"{search.bench.name}{', ' * bool(search.variant.name)}{search.variant.name}"
        where += f", seed {search.seed}" * bool(search.seed)
        tell(
            self.console,
            f"{search.card.name} on {where}: {trials} trials ({stored} stored), "
            f"validation split of {len(search.variant.evaluate)} tasks, on {search.device}",
        )
        for name, part in search.space.items():
            tell(self.console, f"  {name}: {part}, default {search.default[name]}")
        self._best: float | None = None
        self._progress.update(self._bar, total=trials, completed=0, unit="trials", description="trial 0")

    def trial(self, search: Search, trial: Trial, stored: bool) -> None:
        """A line for the trial."""
        label = f"  {trial.number:>3}  {_assignments(trial.settings):<40}"
        if trial.value is None:
            told = f"failed: {trial.error}"
        else:
            best = self._best is None or trial.value > self._best
            self._best = trial.value if best else self._best
            told = f"{100 * trial.value:6.2f} %  {_source(trial, stored):>8}{'  best so far' if best else ''}"
        tell(self.console, f"{label} {told}")
        self._progress.update(self._bar, advance=1, description=f"trial {trial.number + 1}")

    def ended(self, search: Search, trials: int) -> None:
        """Why a search has fewer trials than were asked for."""
        tell(self.console, f"  ends after {len(search.trials)} of {trials} trials: its space holds no other settings")

    def chosen(self, method: str, settings: Mapping[str, Any], record: Mapping[str, Any]) -> None:
        """What the search has found, on the split that it saw."""
        default = "; default failed" if record["default"] is None else f"; default {100 * record['default']:.2f} %"
        default = "" if record["trial"] == 0 else default  # which is told already
        values = _assignments({name: settings[name] for name in record["space"]})
        found = "nothing better than the default" if record["trial"] == 0 else f"{values} (trial {record['trial']})"
        studies, failed = record["studies"], sum(study["failed"] for study in record["studies"])
        budget = f"{sum(study['trials'] for study in studies)} trials"
        if len(studies) > 1:
            bests = ", ".join("failed" if s["best"] is None else f"{100 * s['best']:.2f}" for s in studies)
            budget += f" in {len(studies)} studies (best {bests} %; the median's, seed {record['seed']})"
        tell(
            self.console,
            f"{method}: chosen on validation: {found}, {100 * record['best']:.2f} %{default}; "
            f"{budget}, {failed} failed, {record['seconds']:.1f} s",
        )
        self._progress.update(self._bar, total=None, unit="method x task", description="reading weights and images")

    def fruitless(self, reason: str) -> None:
        """That a method has no setting which works."""
        tell(self.console, f"nothing chosen of {reason}")

    def start(self, plan: Plan, todo: list[Cell]) -> None:
        """From here on the bar counts what is left to measure."""
        self._progress.update(self._bar, completed=0)
        super().start(plan, todo)


def _assignments(settings: Mapping[str, Any]) -> str:
    """Settings, as `--set` takes them."""
    return " ".join(f"{name}={value}" for name, value in settings.items())


def _source(trial: Trial, stored: bool) -> str:
    """Where its counts come from."""
    if stored:
        return "stored"
    return f"as {trial.repeats}" if trial.repeats is not None else f"{trial.seconds:.1f} s"
