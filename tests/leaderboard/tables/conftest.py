"""Boards and grids made by hand."""

import pytest

from mergebench.leaderboard.board import make_boards
from mergebench.leaderboard.tables.choosing import Wishes
from mergebench.leaderboard.tables.grid import Cell, Column, Grid, GridRow


@pytest.fixture
def board(make_result):
    """Experts, base and three methods on tasks a and b of 100 images each; c has two seeds."""
    results = [
        make_result("finetuned", (80, 90), role="ceiling", title="Experts", family="references"),
        make_result("pretrained", (85, 20), role="floor", title="Base", family="references"),
        make_result("ties", (60, 70), paper="arXiv:2306.01708"),
        make_result("average", (50, 75), paper="arXiv:2203.05482"),
        make_result("c", (40, 60), seed=0, family="calibration"),
        make_result("c", (44, 60), seed=1, family="calibration"),
    ]
    (made,) = make_boards(results)
    return made


@pytest.fixture
def wishes():
    """Wishes from what differs from the usual ones."""
    return lambda **given: Wishes(**{name: tuple(v) if isinstance(v, list) else v for name, v in given.items()})


@pytest.fixture
def titled():
    """A grid whose every text is the given one."""

    def make(text):
        columns = (Column(text, text, 1), Column(text, text, 1), Column("text", "", 0, "text"))
        rows = tuple(
            GridRow(text, text, reference, (Cell(value, 0.25), Cell(-value, mark=mark, leading=True), Cell(text=text)))
            for reference, value, mark in ((True, 90.0, ""), (False, 50.04, "best"), (False, 49.0, "second"))
        )
        return Grid(text, text, text, columns, rows, 1, (text,), (text, "† " + text))

    return make
