"""The report on a terminal: one table that fits the width, and below it how to read it and what to doubt."""

import textwrap
from collections.abc import Sequence

from rich.cells import cell_len, set_cell_size

from detrun.comparison import Comparison
from detrun.render.grid import Cell as GridCell
from detrun.render.grid import Column as GridColumn
from detrun.render.grid import Grid, aligned
from detrun.render.report.cells import Cell
from detrun.render.report.columns import Column, columns, difference_row, has_difference_row
from detrun.render.report.details import classes_grid, errors_grid

BEST, NOISE = "*", "~"
_GAP = 2
_NAME_SHARE = 3
_FLAGS_SHOWN = 8
_NOT_RANKED = "not ranked"


def render(comparison: Comparison, width: int, asked: Sequence[str] = ()) -> str:
    """The whole screen, in lines of at most `width` columns where the table allows.

    Raises:
        UserError: a column that was asked for does not exist.
    """
    known = columns(comparison, asked) if comparison.every_arm else []
    texts = {column.key: _texts(column, comparison, width) for column in known}
    shown = _fitting(known, texts, width)
    dropped = [column.title for column in known if column not in shown]
    # A table pads its last column, too.
    room = width + _GAP if _width(shown, texts) <= width else width
    parts = [aligned(_grid(shown, texts, comparison), room)] if shown else ["nothing to compare"]
    parts += [aligned(grid, width) for grid in (classes_grid(comparison), errors_grid(comparison)) if grid.rows]
    parts.append("\n".join(line for text in _footer(comparison, dropped) for line in _wrapped(text, width)))
    return "\n\n".join(part for part in parts if part)


def _texts(column: Column, comparison: Comparison, width: int) -> list[str]:
    """A column's title and cells, marked, and padded to one width."""
    marked = any(cell.best for cell in column.cells)
    texts = [column.title + " " * marked] + [_marked(cell, pad=marked) for cell in column.cells]
    if has_difference_row(comparison):
        texts.append(difference_row(comparison, [column])[0] + " " * marked)
    texts = [_shortened(text, max(12, width // _NAME_SHARE)) for text in texts]
    size = max(map(cell_len, [*texts, _NOT_RANKED if column.key == "name" and comparison.unranked else ""]))
    blanks = [" " * (size - cell_len(text)) for text in texts]
    return [blank + text if column.is_number else text + blank for text, blank in zip(texts, blanks, strict=True)]


def _marked(cell: Cell, *, pad: bool) -> str:
    if cell.noise:
        return f"{cell.text} {NOISE}"
    return cell.text + (BEST if cell.best else " " * pad)


def _fitting(known: Sequence[Column], texts: dict[str, list[str]], width: int) -> list[Column]:
    """The columns that fit, the least important dropped first."""
    shown = list(known)
    for column in sorted(known, key=lambda column: column.rank, reverse=True):
        if column.rank == 0 or _width(shown, texts) <= width:
            break
        shown.remove(column)
    return shown


def _width(shown: Sequence[Column], texts: dict[str, list[str]]) -> int:
    return sum(cell_len(texts[column.key][0]) + _GAP for column in shown) - _GAP


def _grid(shown: Sequence[Column], texts: dict[str, list[str]], comparison: Comparison) -> Grid:
    ranked = len(comparison.arms)
    lines = list(zip(*(texts[column.key] for column in shown), strict=True))
    rows = [
        [GridCell(text, "bold" if column.cells[place].best else "") for column, text in zip(shown, line, strict=True)]
        for place, line in enumerate(lines[1 : 1 + len(comparison.every_arm)])
    ]
    if comparison.unranked:
        rows.insert(ranked, [GridCell(_NOT_RANKED, "dim")] + [GridCell("")] * (len(shown) - 1))
    rows += [[GridCell(text, "bold") for text in line] for line in lines[1 + len(comparison.every_arm) :]]
    return Grid([GridColumn(text) for text in lines[0]], rows)


def _footer(comparison: Comparison, dropped: Sequence[str]) -> list[str]:
    lines = [" · ".join([*_setting(comparison), *comparison.notes])] if comparison.every_arm else []
    if any(NOISE in _noise(arm.verdict) for arm in comparison.every_arm):
        lines.append(f"{NOISE} within seed noise")
    flags = comparison.every_flag
    lines += [f"! {flag}" for flag in flags[:_FLAGS_SHOWN]]
    if len(flags) > _FLAGS_SHOWN:
        lines.append(f"! {len(flags) - _FLAGS_SHOWN} more flags: -o json has all")
    if dropped:
        lines.append(f"no room for {' '.join(dropped)}: a wider terminal shows them, or -o md")
    return lines


def _setting(comparison: Comparison) -> list[str]:
    parts = list(comparison.setting)
    return [f"{comparison.iou_type}: {', '.join(parts)}" if parts else comparison.iou_type]


def _noise(verdict: str) -> str:
    return NOISE if "within seed noise" in verdict else ""


def _shortened(text: str, most: int) -> str:
    """Cut in the middle, because names differ at their ends."""
    if cell_len(text) <= most:
        return text
    head = (most - 1) // 2
    return f"{set_cell_size(text, head)}…{text[-(most - 1 - head) :]}"


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
