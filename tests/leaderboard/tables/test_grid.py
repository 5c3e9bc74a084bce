"""What is best and second, and how numbers read."""

import pytest

from mergebench.leaderboard.tables.grid import Cell, Column, Grid, GridRow, marked, number, shown


def grid_of(*values, references=0, better=1, digits=1):
    rows = tuple(GridRow(str(i), str(i), i < references, (Cell(v),)) for i, v in enumerate(values))
    return marked(Grid("n", "t", "method", (Column("x", better=better),), rows, digits))


def marks(grid):
    return [row.cells[0].mark for row in grid.rows]


def test_best_and_second_are_marked_among_methods_alone():
    assert marks(grid_of(99.0, 50.0, 70.0, 60.0, references=1)) == ["", "", "best", "second"]


def test_less_is_better_where_the_column_says_so_and_nothing_is_marked_where_it_says_nothing():
    assert marks(grid_of(3.0, 1.0, 2.0, better=-1)) == ["", "best", "second"]
    assert marks(grid_of(3.0, 1.0, 2.0, better=0)) == ["", "", ""]


def test_what_reads_the_same_is_marked_the_same():
    assert marks(grid_of(68.14, 68.12, 67.0, 67.04)) == ["best", "best", "second", "second"]
    assert marks(grid_of(68.14, 68.12, 67.0, digits=2)) == ["best", "second", ""]
    assert marks(grid_of(50.0, 50.0)) == ["best", "best"]


def test_a_method_alone_and_a_missing_number_are_not_marked():
    assert marks(grid_of(68.0, None)) == ["", ""]
    assert marks(grid_of(68.0, None, 67.0)) == ["best", "", "second"]


@pytest.mark.parametrize(
    ("value", "unit", "digits", "told"),
    [
        (68.25, "percent", 1, "68.2"),
        (68.25, "percent", 0, "68"),
        (-0.04, "percent", 1, "0.0"),
        (-0.04, "points", 1, "0.0"),
        (1.26, "points", 1, "+1.3"),
        (-1.26, "points", 2, "-1.26"),
        (0.034, "seconds", 1, "0.03"),
        (9.996, "seconds", 1, "10"),
        (461.2, "megabytes", 3, "461"),
    ],
)
def test_numbers_read_as_their_units_do(value, unit, digits, told):
    assert number(value, Column("x", unit=unit), digits) == told


def test_a_cell_without_a_number_is_its_text_or_a_dash():
    assert shown(Cell(), Column("x"), 1) == ("-", "")
    assert shown(Cell(text="2 to 4"), Column("x", unit="text"), 1) == ("2 to 4", "")
    assert shown(Cell(68.0, 0.26), Column("x"), 1) == ("68.0", "0.3")


def test_neighbours_of_one_group_stand_under_one_header():
    columns = tuple(Column(n, g) for n, g in (("a", "x"), ("b", "x"), ("c", ""), ("d", "y")))
    grid = Grid("n", "t", "method", columns, ())
    assert grid.groups == [("x", 2), ("", 1), ("y", 1)]
    assert grid.heads == ["x: a", "x: b", "c", "y: d"]
