"""`mergebench inspect`: what a zoo's task vectors look like, and the way from one model to another."""

from typing import TYPE_CHECKING

from jsonargparse import ArgumentParser, Namespace
from jsonargparse.typing import PositiveInt

from mergebench.cli.options import (
    DEFAULT_SUITE,
    add_device_options,
    add_encoder_options,
    add_suite_options,
    named_encoder,
    one_variant,
)
from mergebench.cli.saying import say
from mergebench.errors import MergebenchError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from torch import Tensor

    from mergebench.suites.bench import Bench
    from mergebench.zoo.inspection.panels import Panel
    from mergebench.zoo.inspection.spectra import Overlap, Spectrum
    from mergebench.zoo.inspection.vectors import Vectors
    from mergebench.zoo.zoo import Zoo


def add_arguments(parser: ArgumentParser) -> None:
    """What `inspect` takes."""
    add_suite_options(parser)
    parser.add_argument("--tasks", nargs="+", type=str, default=[], help="of the zoo, in place of the suite's")
    parser.add_argument("--merged", type=str | None, default=None, help="a merged model, held to each task")
    parser.add_argument(
        "--path", nargs=2, type=str, default=[], metavar=("FROM", "TO"), help="also evaluate models on the straight "
        "line between two of these: a task's expert, base, merged; on validation images"
    )  # fmt: skip
    parser.add_argument("--points", type=PositiveInt, default=11, help="how many models on that line, the two included")
    add_encoder_options(parser)
    add_device_options(parser)
    parser.add_argument(
        "--output", type=str | None, default=None, help="folder of the CSV files and the picture (inspect)"
    )
    parser.add_argument(
        "--out",
        type=str | None,
        default=None,
        help="in place of --output: a run's folder, on whose pages it is shown (in its inspect/ZOO)",
    )


def execute(config: Namespace) -> int:
    """Look, write, and tell the most telling."""
    from pathlib import Path

    from mergebench.merging.layout import Layout
    from mergebench.suites.bench import Bench
    from mergebench.weights import formats
    from mergebench.weights.writing import check_writable
    from mergebench.zoo.inspection.files import write_files
    from mergebench.zoo.inspection.panels import panels
    from mergebench.zoo.inspection.shown import shown_in, write_shown
    from mergebench.zoo.inspection.spectra import look_at_spectra
    from mergebench.zoo.inspection.vectors import look_at_vectors

    if config.out and config.output:
        raise MergebenchError("--output: with --out the files lie in that run's folder; leave one of the two out")
    check_writable(Path(config.out or config.output or "inspect") / "inspect.png")
    encoder, suite = named_encoder(config), config.suite or DEFAULT_SUITE
    bench = Bench(
        suite,
        config.zoo,
        config.zoo_root,
        allow_duplicates=config.allow_duplicates,
        encoder=encoder,
        image_size=config.image_size,
    )
    zoo = bench.zoo
    folder = shown_in(Path(config.out), zoo.name) if config.out else Path(config.output or "inspect")
    names = [zoo.find(name) for name in config.tasks] or one_variant(bench, config.only).merged
    twice = next((name for i, name in enumerate(names) if name in names[:i]), None)
    if twice is not None:
        raise MergebenchError(f"--tasks: {twice} is named twice")
    experts = {name: zoo.expert(name) for name in names}
    merged = None
    if config.merged:
        who = f"the merged model ({config.merged})"
        merged = formats.as_timm(formats.open_weights(Path(config.merged)), who, zoo.encoder.names)
        merged = zoo.check(merged, who)
    models = {**experts, "base": zoo.base, **({"merged": merged} if merged is not None else {})}
    ends = [models[_end(name, models, zoo)] for name in config.path]
    if ends and config.points < 2:
        raise MergebenchError("--points 1: a path has two ends; give 2 or more")
    layout = Layout(zoo.make_empty_encoder())
    vectors = look_at_vectors(layout, zoo.base, experts, merged)
    spectra, overlaps = look_at_spectra(layout, zoo.base, experts)
    say(f"zoo {zoo.name}: {len(experts)} task vectors, {len(overlaps)} matrices of {len(layout.blocks)} blocks")
    for line in told(vectors, spectra, overlaps):
        say(line)
    files = write_files(folder, vectors, spectra, overlaps)
    say(f"picture: {files[-1]}; numbers: {', '.join(file.name for file in files[:-1])} beside it")
    seen = panels(vectors, spectra, overlaps)
    if ends:
        seen.append(_walk(config, folder, bench, (ends[0], ends[1]), names))
    if config.out:
        facts = {
            "zoo": zoo.name,
            "title": zoo.config.title,
            "tasks": names,
            "merged": Path(config.merged).name if config.merged else "",
        }
        write_shown(folder, seen, facts, [HEADER, *by_task(vectors, spectra, overlaps)])
        say(f"for the pages of {config.out}, once they are written: mergebench leaderboard --out {config.out}")
    return 0


def _end(name: str, models: "Mapping[str, object]", zoo: "Zoo") -> str:
    """Which model an end of the path is."""
    if name in ("base", "merged"):
        if name not in models:
            raise MergebenchError("--path merged: say which model that is, --merged FILE")
        return name
    task = zoo.find(name)
    if task not in models:
        raise MergebenchError(f"--path {name}: {task} is not among the tasks that are looked at; add it to --tasks")
    return task


def _walk(
    config: Namespace,
    folder: "Path",
    bench: "Bench",
    ends: "tuple[Mapping[str, Tensor], Mapping[str, Tensor]]",
    tasks: "Sequence[str]",
) -> "Panel":
    """Evaluate on the way, tell the barriers, write and draw."""
    import numpy as np

    from mergebench.cli.inspect_path import path_panel, write_path
    from mergebench.measuring.measure import resolve_device, set_threads
    from mergebench.running.execution import Executor
    from mergebench.running.interpolation import walk_line

    set_threads(config.threads)
    executor = Executor(bench, resolve_device(config.device))
    shares = np.linspace(0, 1, config.points).tolist()
    found = walk_line(executor, *ends, tasks, shares)
    width = max(map(len, tasks))
    say(f"{'task':<{width}}  {config.path[0]:>12}  {config.path[1]:>12}  lowest  barrier")
    for place, task in enumerate(tasks):
        line = 100 * found.accuracies[:, place]
        told = f"{line[0]:12.1f}  {line[-1]:12.1f}  {line.min():6.1f}  {100 * found.barriers[place]:7.1f}"
        say(f"{task:<{width}}  {told}")
    say("barrier: by how much accuracy falls below the line between the two ends', in % of validation images")
    table, picture = write_path(folder, found, config.path)
    say(f"picture: {picture}; numbers: {table.name} beside it")
    return path_panel(found, config.path)


HEADER = ("task", "% of base", "cosine to others", "effective rank", "overlap")


def by_task(
    vectors: "Vectors", spectra: "list[Spectrum]", overlaps: "list[Overlap]"
) -> list[tuple[str, str, str, str, str]]:
    """A row for each task, of texts, under `HEADER`."""
    from functools import reduce
    from operator import add
    from statistics import fmean

    from mergebench.zoo.inspection.vectors import WHOLE, mean_off_diagonal

    whole, count = vectors.parts[WHOLE], vectors.tasks
    near = mean_off_diagonal(whole.cosines, count).tolist()
    shares = reduce(add, (o.shares for o in overlaps)) / len(overlaps)
    shared = mean_off_diagonal(shares, count).tolist()
    rows = []
    for place, task in enumerate(vectors.names[:count]):
        moved = [s.effective for s in spectra if s.task == task and s.norm]
        rank = f"{100 * fmean(moved):.1f} %" if moved else "-"
        norm = 100 * whole.norms[place].item() / whole.base**0.5
        rows.append((task, f"{norm:.2f}", f"{near[place]:.3f}", rank, f"{shared[place]:.3f}"))
    return rows


def told(vectors: "Vectors", spectra: "list[Spectrum]", overlaps: "list[Overlap]") -> list[str]:
    """A line for each task, one for each part of the encoder, and what all tasks come to."""
    from statistics import fmean

    from mergebench.zoo.inspection.vectors import WHOLE, mean_off_diagonal

    whole, count = vectors.parts[WHOLE], vectors.tasks
    width = max(map(len, (*vectors.names, *vectors.parts)))
    size = whole.base**0.5
    lines = [
        f"{task:<{width}}  {norm:>9}  {near:>16}  {rank:>14}  {shared:>7}"
        for task, norm, near, rank, shared in [HEADER, *by_task(vectors, spectra, overlaps)]
    ]
    if len(vectors.names) > count:
        nearness = ", ".join(
            f"{t} {c:.2f}" for t, c in zip(vectors.names, whole.cosines[-1, :-1].tolist(), strict=False)
        )
        lines.append(f"merged: {100 * whole.norms[-1].item() / size:.2f} % of the base; cosine to {nearness}")
    lines.append(f"{'part':<{width}}  % of base  mean cosine  sign conflicts")
    for name, part in vectors.parts.items():
        norm = 100 * part.norms[:count].mean().item() / max(part.base, 1e-30) ** 0.5
        cosine = mean_off_diagonal(part.cosines, count).nanmean().item()
        lines.append(f"{name:<{width}}  {norm:9.2f}  {cosine:11.3f}  {100 * part.conflict:12.1f} %")
    chance = fmean(o.chance for o in overlaps)
    return [
        *lines,
        f"overlap: of 1/{count} of each matrix's directions, by chance {chance:.3f}; sign conflicts: of two tasks that "
        "move an entry, by chance 50 %",
    ]
