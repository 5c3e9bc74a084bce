"""A leaderboard: the results of one suite on one zoo, a row for each method and setting, ranked."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from statistics import fmean, stdev
from typing import Any

from mergebench.errors import LONGEST, on_one_line
from mergebench.leaderboard.copies import without_copies
from mergebench.leaderboard.labels import Named, told_apart
from mergebench.leaderboard.notes import (
    by_hand,
    codes,
    conditions,
    environments,
    measured,
    searches,
    submitted,
    unproven,
    went_on,
)
from mergebench.leaderboard.outcomes import Outcomes, outcomes_of
from mergebench.leaderboard.shown import newest, settings_of
from mergebench.leaderboard.standing import standings
from mergebench.leaderboard.statistics import average_interval
from mergebench.leaderboard.tracks import GIVEN, PUBLISHED, TUNED, gains, in_tracks, superseded
from mergebench.measuring.results import Result


@dataclass(frozen=True)
class Row:
    """One method with one set of hyper-parameters, over its seeds.

    Args:
        rank: place by average accuracy among the methods of its track; None for what has none, references and failures.
        ranks: the best and the worst that it may be, once the draw of images and seeds is allowed for (95 %, all rows
            together); None for references and failures, and where predictions are not stored.
        leading: whether it cannot be told from the best method; None where `ranks` is.
        method, title, paper, role, family, needs: from the method's card.
        hyperparameters: as resolved.
        seeds: the seeds measured.
        average, interval: mean accuracy over tasks (and seeds) and its 95 % interval, as fractions.
        spread: standard deviation of the average over seeds; None with one.
        relative: mean over tasks of accuracy relative to the expert's; None without experts.
        tasks: task -> accuracy, mean over seeds.
        seconds, peak_bytes: of merging; mean time and largest peak over seeds.
        images: that the merge was given, the most over seeds; None where that is not stored.
        error: why it failed, if it did.
        tuned: how a search chose the hyper-parameters, as the newest result that bears a record says; empty without.
        given: the published values in whose place somebody gave others.
        outcomes: what it got right, image by image; None where that is not stored.
        by_seed: task -> its accuracies, in the order of results.
        tier: how far a submission is held to what it says; empty of what was measured here.
        track: "published", or "tuned" where a search has chosen the settings; what stands in both has two rows. "given"
            where somebody has set them by hand.
        gain: what tuning gave: the average less that of the settings that the search began with; None if that is not
            there, with the same seeds.
    """

    rank: int | None
    method: str
    title: str
    paper: str
    role: str
    family: str
    needs: tuple[str, ...]
    hyperparameters: dict[str, Any]
    seeds: tuple[int, ...]
    average: float | None
    interval: tuple[float, float] | None
    spread: float | None
    relative: float | None
    tasks: dict[str, float]
    seconds: float | None
    peak_bytes: int | None
    error: str | None
    tuned: dict[str, Any] = field(default_factory=dict)
    given: dict[str, Any] = field(default_factory=dict)
    ranks: tuple[int, int] | None = None
    leading: bool | None = None
    outcomes: Outcomes | None = field(default=None, compare=False, repr=False)
    by_seed: dict[str, tuple[float, ...]] = field(default_factory=dict)
    tier: str = ""
    track: str = PUBLISHED
    gain: float | None = None
    images: int | None = None

    @property
    def named(self) -> Named:
        """What it is told from other rows by."""
        return Named(self.method, self.title, self.hyperparameters, self.tuned, self.given)

    @cached_property
    def task_spreads(self) -> dict[str, float]:
        """Task -> standard deviation of its accuracy over seeds; empty with one."""
        return {task: stdev(values) for task, values in self.by_seed.items() if len(values) > 1}


@dataclass(frozen=True)
class Board:
    """Rows in order: the ceiling, methods by rank, the floor where its accuracy puts it, tuned ones, failures last.

    Args:
        suite, zoo, variant: what all rows share.
        tasks: columns.
        totals: task -> test images.
        rows: see `Row`.
        environment: of the newest result, for the footer.
        checkpoints: the backbone and the published family of its weights, as far as the zoo states them.
        note: what is not usual or differs in conditions, environments or code, and how rows were tuned, in sentences.
        published_note: the same without the last, and of what was given, for where published rows alone are shown.
    """

    suite: str
    zoo: str
    variant: str
    tasks: tuple[str, ...]
    totals: dict[str, int]
    rows: tuple[Row, ...]
    environment: dict[str, Any] = field(default_factory=dict)
    note: str = ""
    checkpoints: dict[str, str] = field(default_factory=dict)
    published_note: str = ""

    @property
    def name(self) -> str:
        """What it is called where a reader has to choose: its suite, zoo and variant."""
        return ", ".join(filter(None, (self.suite, f"zoo {self.zoo}", self.variant)))

    @cached_property
    def labels(self) -> list[str]:
        """One label per row: the title, hyper-parameters that tell rows of one method apart, a submission's tier."""
        found = told_apart([row.named for row in self.rows])
        return [f"{label} [{row.tier}]" if row.tier else label for label, row in zip(found, self.rows, strict=True)]

    def label(self, row: Row) -> str:
        """The label of one of its rows."""
        return next(label for label, own in zip(self.labels, self.rows, strict=True) if own is row)


def make_boards(results: Iterable[Result]) -> list[Board]:
    """Group results into boards; where a cell was measured again (other code or weights), only the newest counts.

    Args:
        results: stored results, in any order.
    """
    groups: dict[tuple, list[Result]] = {}
    for result in results:
        groups.setdefault(_group(result), []).append(result)
    return [_board(group, members) for group, members in sorted(groups.items())]


def _group(result: Result) -> tuple[str, str, str]:
    return result.suite, result.zoo, result.variant


def _board(group: tuple[str, str, str], results: list[Result]) -> Board:
    members, copies = without_copies(newest(results))
    by_setting: dict[tuple, list[Result]] = {}
    for result in members:
        by_setting.setdefault((result.method, settings_of(result), result.listing), []).append(result)
    found = [_row(seeds) for seeds in by_setting.values()]
    gone_on = superseded(found)
    # The default was measured for its own sake too; what else such a search had chosen was not.
    kept = [replace(r, tuned={}) if r in gone_on else r for r in found if r not in gone_on or _default(r)]
    rows = in_tracks(kept)
    rows.sort(key=lambda r: (r.role != "ceiling", r.average is None, -(r.average or 0), r.method))
    # The track that most was measured for comes first, with what stands in none.
    own = Counter(r.track for r in rows if r.role == "method" and not r.tier)
    later = min((TUNED, PUBLISHED), key=lambda track: own[track])
    parts = [[r for r in rows if (r.role == "method" and r.track == later) is last] for last in (False, True)]
    rows = sorted((row for part in parts for row in _ranked(part)), key=lambda r: r.average is None)
    scored = next((r for r in members if r.tasks), None)
    totals = {t: s.total for t, s in scored.tasks.items()} if scored else {}
    environment = members[-1].environment.model_dump()
    tuned = searches((r.title, r.hyperparameters, r.tuned, "") for r in rows)
    ours = [r for r in members if not r.listing]
    left_out = went_on((r.title, r.hyperparameters, r.tuned) for r in gone_on if not _default(r))
    notes = (conditions(members), measured(members), environments(members), codes(ours))
    others = (unproven(members), submitted(members, copies))
    given = by_hand((r.title, r.hyperparameters, r.given) for r in rows)
    note = " ".join(filter(None, (*notes, tuned, left_out, gains(rows), given, *others)))
    published = " ".join(filter(None, (*notes, *others)))
    return Board(*group, tuple(totals), totals, tuple(rows), environment, note, members[-1].checkpoints, published)


def _default(row: Row) -> bool:
    """Whether what a search chose is what it began with."""
    return row.tuned.get("trial") == 0


def _ranked(rows: list[Row]) -> list[Row]:
    """The rows of a track and what stands beside it, in their order, with the ranks of methods."""
    methods = [r for r in rows if r.role == "method" and r.average is not None and r.track != GIVEN]
    found = standings([r.average for r in methods], [r.outcomes for r in methods]) or [None] * len(methods)
    told: dict[int, dict[str, Any]] = {}
    place, previous = 0, None
    for count, (row, standing) in enumerate(zip(methods, found, strict=True), start=1):
        place = place if row.average == previous else count
        previous = row.average
        told[id(row)] = {"rank": place} | (vars(standing) if standing else {})
    return [replace(r, **told.get(id(r), {})) for r in rows]


def _row(results: list[Result]) -> Row:
    good = [r for r in results if r.status == "ok"]
    first = (good or results)[0]
    shared = {
        "rank": None,
        "method": first.method,
        "title": first.title,
        "paper": first.paper,
        "role": first.role,
        "family": first.family,
        "needs": tuple(first.needs),
        "hyperparameters": first.hyperparameters,
        "tier": first.listing.tier if first.listing else "",
        "tuned": max(results, key=lambda r: (bool(r.tuned), r.last_asked)).tuned,
        "given": max(results, key=lambda r: r.last_asked).given,
    }
    error = next((on_one_line(r.failure, LONGEST) for r in results if r.status == "failed"), None)
    if not good:
        nothing = dict.fromkeys(("average", "interval", "spread", "relative", "seconds", "peak_bytes"))
        return Row(**shared, **nothing, seeds=(), tasks={}, error=error)
    correct = {t: fmean(r.tasks[t].correct for r in good) for t in first.tasks}
    totals = {t: s.total for t, s in first.tasks.items()}
    averages = [r.average for r in good]
    relative = [r.average_relative for r in good if r.average_relative is not None]
    peaks = [r.merge.peak_bytes for r in good if r.merge and r.merge.peak_bytes is not None]
    return Row(
        **shared,
        seeds=tuple(sorted(r.seed for r in good)),
        average=fmean(averages),
        interval=average_interval(list(correct.values()), list(totals.values())),
        spread=stdev(averages) if len(averages) > 1 else None,
        relative=fmean(relative) if relative else None,
        tasks={t: c / totals[t] for t, c in correct.items()},
        outcomes=outcomes_of(good),
        seconds=fmean(r.merge.seconds for r in good if r.merge),
        peak_bytes=max(peaks) if peaks else None,
        error=error,
        by_seed={t: tuple(r.tasks[t].accuracy for r in good) for t in correct},
        images=_images(good),
    )


def _images(results: list[Result]) -> int | None:
    # Results from before the numbers were stored tell which images were drawn, and not how many.
    if any(r.drawn and not r.drawn_images for r in results):
        return None
    return max(sum(r.drawn_images.values()) for r in results)
