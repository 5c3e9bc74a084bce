"""A grid in LaTeX: booktabs, and what a paper's table environment needs around it."""

import re
from collections.abc import Iterator

from mergebench.errors import on_one_line
from mergebench.leaderboard.media import for_latex
from mergebench.leaderboard.tables.grid import BEST, SECOND, Cell, Column, Grid, shown
from mergebench.leaderboard.tables.room import letters, lines

# Letters across a page of text that each size has room for, about; beyond the last, headers stand upright.
SIZES = ((76, ""), (84, "\\small"), (96, "\\footnotesize"), (108, "\\scriptsize"))
WRAP = {BEST: "\\textbf{%s}", SECOND: "\\underline{%s}"}


def latex(grid: Grid) -> str:
    r"""The table, to be read with `\input`; its preamble is said in a comment."""
    return "\n".join(_lines(grid)) + "\n"


def _lines(grid: Grid) -> Iterator[str]:
    size, turned = _size(grid)
    yield f"% Needs \\usepackage{{booktabs}}{' and graphicx' if turned else ''}. Made by mergebench table."
    yield from (f"% {on_one_line(note)}" for note in grid.notes)
    yield "\\begin{table}[t]"
    yield f"\\centering{size}"
    yield "\\setlength{\\belowcaptionskip}{6pt}"
    yield f"\\caption{{{for_latex(grid.caption)}}}"
    yield f"\\label{{tab:{re.sub('[^a-z0-9]+', '-', grid.name.casefold()).strip('-') or 'table'}}}"
    if len(grid.columns) > 5:
        yield f"\\setlength{{\\tabcolsep}}{{{4 if len(grid.columns) < 11 else 3}pt}}"
    yield f"\\begin{{tabular}}{{l{''.join('l' if c.unit == 'text' else 'r' for c in grid.columns)}}}"
    yield "\\toprule"
    yield from _header(grid, turned)
    yield "\\midrule"
    for row, ends in grid.ruled:
        cells = [_cell(cell, column, grid.digits) for cell, column in zip(row.cells, grid.columns, strict=True)]
        yield f"{' & '.join([for_latex(row.label), *cells])} \\\\"
        if ends:
            yield "\\midrule"
    yield "\\bottomrule"
    yield "\\end{tabular}"
    yield "\\end{table}"


def _header(grid: Grid, turned: bool) -> Iterator[str]:
    if any(name for name, _ in grid.groups):
        cells, rules, place = [], [], 2
        for name, width in grid.groups:
            told = " \\\\ ".join(map(for_latex, lines(name)))
            header = f"\\shortstack{{{told}}}" if len(lines(name)) > 1 else told
            cells.append(f"\\multicolumn{{{width}}}{{c}}{{{header}}}")
            if name:
                rules.append(f"\\cmidrule(lr){{{place}-{place + width - 1}}}")
            place += width
        yield f" & {' & '.join(cells)} \\\\"
        yield " ".join(rules)
    heads = [for_latex(column.name) for column in grid.columns]
    if turned:
        heads = [f"\\rotatebox{{90}}{{{head}}}" for head in heads]
    yield f"{' & '.join([for_latex(grid.stub), *heads])} \\\\"


def _size(grid: Grid) -> tuple[str, bool]:
    """The largest size at which the table is no wider than a page's text, and whether headers must stand upright."""
    for turned in (False, True):
        for room, size in SIZES:
            if letters(grid, turned) <= room:
                return size, turned
    return "\\tiny", True


def _cell(cell: Cell, column: Column, digits: int) -> str:
    text, spread = shown(cell, column, digits)
    told = for_latex(text) if cell.value is None else text.replace("-", "$-$")
    told = WRAP.get(cell.mark, "%s") % told
    if cell.close:  # where nothing follows, the sign takes no room, so that the digits stand in line
        told += "$^{\\dagger}$" if spread else "\\rlap{$^{\\dagger}$}"
    return f"{told} {{\\scriptsize$\\pm${spread}}}" if spread else told
