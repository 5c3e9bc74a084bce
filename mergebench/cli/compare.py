"""`mergebench compare`: two rows of a leaderboard against each other, on the same images."""

from typing import TYPE_CHECKING, Literal

from jsonargparse import ArgumentParser, Namespace

from mergebench.cli.json_file import add_json_option, writable, write_json
from mergebench.cli.options import wanted_variants
from mergebench.cli.saying import say
from mergebench.errors import MergebenchError, nearest

if TYPE_CHECKING:
    from mergebench.measuring.results import Result


def add_arguments(parser: ArgumentParser) -> None:
    """What `compare` takes."""
    parser.add_argument("ours", type=str, help="METHOD, or METHOD:NAME=VALUE,... where it has several rows")
    parser.add_argument("theirs", type=str, help="whom it is held against, likewise")
    parser.add_argument("--out", type=str, default="runs", help="folder of results")
    parser.add_argument("--suite", type=str | None, default=None, help="whose board, where there are several")
    parser.add_argument("--zoo", type=str | None, default=None, help="on which zoo, where there are several")
    parser.add_argument("--only", nargs="+", type=str, default=[], help="AXIS=VALUE: which of the suite's variants")
    parser.add_argument("--seeds", nargs="+", type=int, default=[], help="only these seeds")
    parser.add_argument(
        "--track",
        type=Literal["published", "tuned", "given"] | None,
        default=None,
        help="whose settings, where a method has rows in several tracks",
    )
    add_json_option(parser)


def execute(config: Namespace) -> int:
    """Compare."""
    from dataclasses import asdict
    from pathlib import Path

    from mergebench.cli.showing import read
    from mergebench.cli.spellings import Spellings
    from mergebench.cli.stores import store_of
    from mergebench.leaderboard.board import make_boards
    from mergebench.leaderboard.comparison import compare
    from mergebench.leaderboard.comparison_output import draw_comparison, picture_path, print_comparison
    from mergebench.leaderboard.plot import write_png
    from mergebench.leaderboard.selection import only_board, pick
    from mergebench.leaderboard.sound import sound

    writable(config.json)
    results, told = read(store_of(config.out))
    boards, left_out = sound(_asked_for([r for r in results if not r.study], config), make_boards)
    for sentence in (*told, *left_out):
        say(sentence)
    board = only_board(boards)
    spelt = Spellings([(row.method, row.title) for row in board.rows])
    named = [text.partition(":") for text in (config.ours, config.theirs)]
    rows = [pick(board, (spelt.meant(name) or name) + colon + rest, config.track) for name, colon, rest in named]
    if rows[0] is rows[1]:
        raise MergebenchError(f"{config.ours} and {config.theirs} are one row: nothing to compare")
    comparison, titled = compare(*rows), (*map(board.label, rows), board.name)
    print_comparison(comparison, *titled)
    path = picture_path(comparison, Path(config.out) / "compare", "-".join(filter(None, (board.suite, board.variant))))
    try:
        write_png(draw_comparison(comparison, *titled), path)
        say(f"picture: {path}")
    except MergebenchError as error:  # a folder that may only be read: the numbers are here all the same
        say(f"not drawn: {error}")
    names = {"ours": titled[0], "theirs": titled[1], "board": titled[2]}
    tasks = {task: asdict(difference) for task, difference in comparison.tasks.items()}
    write_json(config.json, names | {"average": asdict(comparison.average), "tasks": tasks})
    return 0


def _asked_for(results: "list[Result]", config: Namespace) -> "list[Result]":
    """The results of the suite, zoo, variant and seeds that were asked for; of each there must be some."""
    from mergebench.cli.showing import those_meant

    if not results:
        raise MergebenchError(f"{config.out} has results of studies alone, which make no board; run a suite into it")
    for part, named in (("suite", config.suite), ("zoo", config.zoo)):
        names = those_meant([named] * bool(named), {getattr(r, part) for r in results}, part, config.out)
        results = [r for r in results if not names or getattr(r, part) in names]
    for axis, values in wanted_variants(config.only).items():
        there = {str(r.point[axis]) for r in results if axis in r.point}
        for value in values:  # as it stands: of two numbers that are written alike, each is another
            if value not in there:
                raise MergebenchError(
                    f"no results of {axis} {value!r} in {config.out}; {nearest(value, sorted(there))}"
                )
        results = [r for r in results if str(r.point.get(axis)) in values]
    seeds = sorted({r.seed for r in results})
    for seed in config.seeds:
        if seed not in seeds:
            raise MergebenchError(f"--seeds {seed}: results in {config.out} are of {', '.join(map(str, seeds))}")
    return [r for r in results if not config.seeds or r.seed in config.seeds]
