"""`mergebench runs`: look through a run's folder, remove from it what no longer counts, pack it for others."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from jsonargparse import ArgumentParser, Namespace

from mergebench.cli.json_file import add_json_option, writable, write_json
from mergebench.cli.saying import say
from mergebench.errors import MergebenchError

if TYPE_CHECKING:
    from mergebench.measuring.results import Result
    from mergebench.running.audit import Audit

WHAT = Literal["check", "gc", "export"]
# `--keep` -> what stays; the words are `removal`'s.
KEEP = Literal["superseded", "orphans", "set-aside", "temporary", "leases"]
SHOWN = 8  # of a list that may be long, lines that are shown
OF = {"check": ("json",), "gc": ("yes", "keep", "failures"), "export": ("suite", "study")}  # the options of each


def add_arguments(parser: ArgumentParser) -> None:
    """What `runs` takes."""
    parser.add_argument(
        "what",
        type=WHAT,
        help="check: is all in the folder well; gc: remove what no longer counts; export: pack what boards show",
    )
    parser.add_argument("file", nargs="?", type=str | None, default=None, help="of export: FILE.zip or FILE.tar.gz")
    parser.add_argument("--out", type=str, default="runs", help="folder of results")
    add_json_option(parser, "of check: ")
    parser.add_argument("--yes", action="store_true", help="of gc: remove; without it, it is only told what would go")
    parser.add_argument("--keep", nargs="+", type=KEEP, default=[], help=f"of gc: {', '.join(get_args(KEEP))}")
    parser.add_argument(
        "--failures", action="store_true", help="of gc: superseded results of failed cells go, too, with what they tell"
    )
    parser.add_argument("--suite", nargs="+", type=str, default=[], help="of export: only these suites' results")
    parser.add_argument("--study", nargs="+", type=str, default=[], help="of export: only these studies' results")


def execute(config: Namespace) -> int:
    """Look, remove or pack."""
    for what, names in OF.items():
        odd = next((name for name in names if what != config.what and config[name]), None)
        if odd:
            raise MergebenchError(f"--{odd}: an option of runs {what}, not of runs {config.what}")
    if (config.what == "export") != bool(config.file):
        told = "name the archive, as runs export results.zip" if config.what == "export" else "only export takes a file"
        raise MergebenchError(f"runs {config.what}: {told}")
    return {"check": _check, "gc": _gc, "export": _export}[config.what](config)


def _audit(config: Namespace) -> "Audit":
    from mergebench.cli.stores import counts_of
    from mergebench.leaderboard.shown import shown
    from mergebench.running.audit import audit
    from mergebench.tuning.trials import check

    return audit(Path(config.out), shown, check, counts_of(config.out))


def _check(config: Namespace) -> int:
    from mergebench.running import contents as folder

    writable(config.json)
    found = _audit(config)
    _say_sizes(found)
    results = found.counts
    say(f"results: {', '.join(f'{number:,} {name}' for name, number in results.items() if number or name == 'well')}")
    faults = [f"{place}: {reason}" for place, reason in found.faults.items()]
    _say_list("not well", faults)
    _say_list("predictions without a result", found.orphans)
    _say_list("not read", found.unread)
    left = {
        "superseded": len(found.superseded),
        "set aside": len(found.of(folder.SET_ASIDE)),
        "temporary, of processes that were killed": len(found.abandoned),
        "leases that have lapsed": len(found.lapsed),
    }
    told = ", ".join(f"{number:,} {name}" for name, number in left.items() if number)
    if told:
        say(f"left over: {told}; mergebench runs gc --out {config.out} tells what can go")
    if found.held:
        say(f"at work here: {len(found.held):,} leases are held")
    _say_list("links, which are not followed", [file.place for file in found.of(folder.LINK)])
    _say_list("not known, and left alone", [file.place for file in found.of(folder.UNKNOWN)])
    if found.archive:
        say("held to MANIFEST.json, which came with it")
    say("all is well" if found.well else "not all is well")
    write_json(config.json, found.as_json())
    return 0 if found.well else 1


def _say_sizes(found: "Audit") -> None:
    sizes = found.sizes()
    say(f"{found.out}: {sum(n for n, _ in sizes.values()):,} files, {_mb(sum(size for _, size in sizes.values()))}")
    width = max(map(len, sizes), default=0)
    for kind, (number, size) in sorted(sizes.items(), key=lambda item: -item[1][1]):
        say(f"  {kind.ljust(width)}  {number:>9,}  {_mb(size):>12}")


def _say_list(head: str, lines: Sequence[str]) -> None:
    if lines:
        say(f"{head}: {len(lines):,}")
    _say_first(lines, "; all: mergebench runs check --json FILE")


def _say_first(lines: Sequence[str], where: str = "") -> None:
    """The first of some lines, and how many more there are, and where."""
    for line in lines[:SHOWN]:
        say(f"  {line}")
    if len(lines) > SHOWN:
        say(f"  and {len(lines) - SHOWN:,} more{where}")


def _mb(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"


def _gc(config: Namespace) -> int:
    from mergebench.running import removal

    kinds = dict(zip(get_args(KEEP), removal.KINDS, strict=True))
    found = _audit(config)
    planned = removal.removable(found, [kinds[name] for name in config.keep], config.failures)
    status = 0
    number = size = 0
    for kind, files in planned.files.items():
        gone, freed, told = removal.remove(found, files) if config.yes else (len(files), sum(f.size for f in files), [])
        if gone:
            say(f"{'removed' if config.yes else 'would remove'}: {kind}: {gone:,} files, {_mb(freed)}")
        if not config.yes:
            _say_first([file.place for file in files])
        for sentence in told[:SHOWN]:
            say(sentence)
        if told:
            say(f"not removed: {len(told):,} of {len(files):,} files")
            status = 1
        number, size = number + gone, size + freed
    for sentence in planned.kept:
        say(sentence)
    if not number and not status:
        say(f"nothing to remove in {config.out}")
    elif config.yes:
        say(f"removed {number:,} files, {_mb(size)}, from {config.out}")
    else:
        say(f"nothing is removed yet: --yes removes these {number:,} files, {_mb(size)}")
    return status


def _export(config: Namespace) -> int:
    from mergebench.running.packing import check_target, choose, pack

    target = Path(config.file)
    check_target(target)
    found = _audit(config)
    package = choose(found, [*config.suite, *config.study])
    name, manifest = pack(package, target, _readme)
    failed = f", {manifest.failed:,} of them of cells that failed" * bool(manifest.failed)
    say(f"{manifest.results:,} results of {', '.join(manifest.suites)}{failed}")
    if manifest.rewritten:
        say(f"home folders are called ~ in {len(manifest.rewritten):,} files, whose checksums were made anew")
    left = len(found.faults)
    if left:
        say(f"{left:,} files that are not well are left out: mergebench runs check --out {config.out}")
    say(f"{target}: {_mb(target.stat().st_size)}; it unpacks to {name}: mergebench leaderboard --out {name}")
    return 0


def _readme(results: "Sequence[Result]") -> str:
    """What stands first in an archive: what it is, how to read it, and its boards."""
    from importlib.metadata import version

    from mergebench.cli.showing import made
    from mergebench.leaderboard.sound import sound
    from mergebench.leaderboard.tables.choosing import Wishes
    from mergebench.leaderboard.tables.layouts import make_grids
    from mergebench.leaderboard.tables.markdown import markdown

    (boards, series), left_out = sound(results, made)
    write: Callable[..., str] = markdown
    head = f"""# Results of mergebench

{len(results):,} results, with the predictions and labels that their counts follow from, packed by mergebench
{version("mergebench")}. In this folder, unpacked:

    mergebench runs check --out .
    mergebench leaderboard --out .

The first holds every file to `MANIFEST.json`, every result to its checksum and its predictions; the second shows the
boards below, with all that stands beside them, and writes their pages. Names of home folders were replaced by `~`.
"""
    return "\n".join([head, *map(write, make_grids(boards, series, Wishes())), *left_out])
