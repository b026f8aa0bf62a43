"""A table as a value, and its two forms: aligned text on a terminal, tab-separated and whole elsewhere. Pure but for
asking what stdout is.
"""

import os
import shutil
import sys
from collections.abc import Sequence
from io import StringIO

import msgspec

# Above this many rows a table is aligned by hand: rich takes a millisecond for each.
_MANY_ROWS = 60


class Cell(msgspec.Struct, frozen=True):
    """Text with a rich style; `raw` is what stands there off a terminal, where that is not the text."""

    text: str
    style: str = ""
    raw: str | None = None


class Column(msgspec.Struct, frozen=True):
    """A column's title, whether its cells are numbers, and whether it is cut before others are."""

    title: str
    right: bool = False
    yields: bool = False


class Grid(msgspec.Struct, frozen=True):
    """Columns and rows of cells."""

    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]


def on_terminal() -> bool:
    """Whether stdout is a terminal that a person looks at."""
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


def width() -> int:
    """Columns of the terminal."""
    return shutil.get_terminal_size().columns


def render(grid: Grid) -> str:
    """A table for stdout as it is."""
    return aligned(grid, width()) if on_terminal() else tabbed(grid)


def tabbed(grid: Grid) -> str:
    """Tab-separated with a header line, nothing cut."""
    lines = ["\t".join(column.title for column in grid.columns)]
    lines += ["\t".join(cell.text if cell.raw is None else cell.raw for cell in row) for row in grid.rows]
    return "\n".join(lines)


def aligned(grid: Grid, columns: int, *, colour: bool = True) -> str:
    """Aligned by columns and cut to a width."""
    if len(grid.rows) > _MANY_ROWS:
        return _by_hand(grid, columns)
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for column in grid.columns:
        # What rich may wrap is what it makes narrower first.
        title = Text(column.title, no_wrap=True, overflow="ellipsis")
        table.add_column(title, justify="right" if column.right else "left", no_wrap=not column.yields)
    for row in grid.rows:
        table.add_row(*(Text(cell.text, style=cell.style, no_wrap=True, overflow="ellipsis") for cell in row))
    out = StringIO()
    console = Console(file=out, width=columns, force_terminal=colour, no_color=not _colours(), highlight=False)
    console.print(table)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines())


def _by_hand(grid: Grid, columns: int) -> str:
    table = [[column.title for column in grid.columns], *[[cell.text for cell in row] for row in grid.rows]]
    widths = [max(map(len, texts)) for texts in zip(*table, strict=True)]
    forms = [f"{'>' if column.right else '<'}{size}" for column, size in zip(grid.columns, widths, strict=True)]
    lines = ("  ".join(format(text, form) for text, form in zip(row, forms, strict=True)) for row in table)
    return "\n".join(line.rstrip()[:columns] for line in lines)


def _colours() -> bool:
    return not os.environ.get("NO_COLOR")
