"""How far a board's order of methods is the published ones, with the methods that came last and without them."""

from collections.abc import Collection
from dataclasses import replace

from mergebench.leaderboard.board import Board
from mergebench.leaderboard.reported_numbers import Agreement, rank_agreement, read_reported
from mergebench.leaderboard.tracks import PUBLISHED, TUNED

# Of the published orders, those of 2024 and later that joined the others here last.
LATER = ("cart", "dc_merge", "esm", "fr_merging")


def without(board: Board, methods: Collection[str]) -> Board:
    """A board without some methods' rows."""
    return replace(board, rows=[row for row in board.rows if row.method not in methods])


def told(found: Agreement | None) -> str:
    """Kendall's tau, its 95 % interval over draws of the methods, and their number."""
    if found is None:
        return "-"
    low, high = found.interval
    return f"{found.tau:.2f} ({low:.2f} to {high:.2f}), {len(found.methods)}"


def orders(board: Board) -> str:
    """A table: a line for each published set of as many tasks and for each track."""
    lines = [
        "| published averages | track | tau, all methods | without the later ones |",
        "| --- | --- | ---: | ---: |",
    ]
    for reported in read_reported():
        for track in (PUBLISHED, TUNED):
            found = rank_agreement(board, reported, track) if reported.tasks == len(board.tasks) else None
            if found is None:
                continue
            later = set(found.methods) & set(LATER)
            before = told(rank_agreement(without(board, LATER), reported, track)) if later else "the same"
            lines.append(f"| {reported.backbone}, {reported.checkpoints} | {track} | {told(found)} | {before} |")
    return "\n".join(lines)
