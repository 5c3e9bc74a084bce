"""How numbers of a board are written, the same in the table and on the page."""

from mergebench.leaderboard import notes
from mergebench.leaderboard.board import Board, Row
from mergebench.leaderboard.tracks import GIVEN, PUBLISHED


def percent(value: float | None) -> str:
    """A fraction as a percentage with one decimal; a dash if unknown."""
    return "-" if value is None else f"{100 * value:.1f}"


def difference(ours: float | None, theirs: float | None) -> str:
    """One fraction minus another in points, with a sign; a dash if either is unknown."""
    return "-" if ours is None or theirs is None else f"{100 * (ours - theirs):+.1f}"


def interval(row: Row) -> str:
    """The 95 % interval in percent, as "low-high"."""
    return "-" if row.interval is None else f"{100 * row.interval[0]:.1f}-{100 * row.interval[1]:.1f}"


def needs(row: Row) -> str:
    """What the method reads besides the experts."""
    return "+".join(n.removesuffix("_inputs") for n in row.needs) or "-"


def seconds(row: Row) -> str:
    """Merging time in seconds."""
    return "-" if row.seconds is None else f"{row.seconds:.2f}" if row.seconds < 10 else f"{row.seconds:.0f}"


def megabytes(row: Row) -> str:
    """Peak memory of merging in MB (10^6 bytes)."""
    return "-" if row.peak_bytes is None else f"{row.peak_bytes / 1e6:.0f}"


def rank(row: Row) -> str:
    """The rank; a dash for references and failures."""
    return "-" if row.rank is None else str(row.rank)


def ranks(row: Row) -> str:
    """The range of ranks that it may be, "2 to 4"; a dash where that is not known."""
    return "-" if row.ranks is None else " to ".join(map(str, dict.fromkeys(row.ranks)))


def track(row: Row) -> str:
    """Whose settings a method has; a dash for references."""
    return row.track if row.role == "method" else "-"


def leaders(board: Board) -> str:
    """Who cannot be told from the best method, a sentence for each track measured; empty without predictions."""
    named, told = list(zip(board.rows, board.labels, strict=True)), []
    own = [row.track for row in board.rows if row.role == "method" and not row.tier and row.track != GIVEN]
    tracks = list(dict.fromkeys(own))
    for one in tracks:
        led = notes.leaders([label for row, label in named if row.leading and row.track == one])
        told.append(led if not led or tracks == [PUBLISHED] else f"Under {one} settings: {led[0].lower()}{led[1:]}")
    return " ".join(filter(None, told))
