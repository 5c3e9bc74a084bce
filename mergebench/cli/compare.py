"""`mergebench compare`: two rows of a leaderboard against each other, on the same images."""

from jsonargparse import ArgumentParser, Namespace

from mergebench.cli.json_file import add_json_option, writable, write_json
from mergebench.cli.options import wanted_variants
from mergebench.cli.saying import say
from mergebench.errors import MergebenchError


def add_arguments(parser: ArgumentParser) -> None:
    """What `compare` takes."""
    parser.add_argument("ours", type=str, help="METHOD, or METHOD:NAME=VALUE,... where it has several rows")
    parser.add_argument("theirs", type=str, help="whom it is held against, likewise")
    parser.add_argument("--out", type=str, default="runs", help="folder of results")
    parser.add_argument("--suite", type=str | None, default=None, help="whose board, where there are several")
    parser.add_argument("--zoo", type=str | None, default=None, help="on which zoo, where there are several")
    parser.add_argument("--only", nargs="+", type=str, default=[], help="AXIS=VALUE: which of the suite's variants")
    parser.add_argument("--seeds", nargs="+", type=int, default=[], help="only these seeds")
    add_json_option(parser)


def execute(config: Namespace) -> int:
    """Compare."""
    from dataclasses import asdict
    from pathlib import Path

    from mergebench.cli.showing import read
    from mergebench.cli.stores import store_of
    from mergebench.leaderboard.board import make_boards
    from mergebench.leaderboard.comparison import compare
    from mergebench.leaderboard.comparison_output import draw_comparison, picture_path, print_comparison
    from mergebench.leaderboard.plot import write_png
    from mergebench.leaderboard.selection import only_board, pick
    from mergebench.leaderboard.sound import sound

    writable(config.json)
    wanted = wanted_variants(config.only)
    results, told = read(store_of(config.out))
    some = [
        r
        for r in results
        if not r.study
        and config.suite in (None, r.suite)
        and config.zoo in (None, r.zoo)
        and (not config.seeds or r.seed in config.seeds)
        and all(str(r.point.get(axis)) in values for axis, values in wanted.items())
    ]
    boards, left_out = sound(some, make_boards)
    for sentence in (*told, *left_out):
        say(sentence)
    board = only_board(boards)
    rows = [pick(board, text) for text in (config.ours, config.theirs)]
    if rows[0] is rows[1]:
        raise MergebenchError(f"{config.ours} and {config.theirs} are one row: nothing to compare")
    comparison, titled = compare(*rows), (*map(board.label, rows), board.name)
    print_comparison(comparison, *titled)
    path = picture_path(comparison, Path(config.out) / "compare", "-".join(filter(None, (board.suite, board.variant))))
    write_png(draw_comparison(comparison, *titled), path)
    say(f"picture: {path}")
    names = {"ours": titled[0], "theirs": titled[1], "board": titled[2]}
    tasks = {task: asdict(difference) for task, difference in comparison.tasks.items()}
    write_json(config.json, names | {"average": asdict(comparison.average), "tasks": tasks})
    return 0
