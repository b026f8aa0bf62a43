"""The report as a Markdown table, to paste into an issue or a README. Pure."""

import re
from collections.abc import Sequence

from detrun.comparison import Comparison
from detrun.render.report.cells import Cell
from detrun.render.report.columns import Column, columns, difference_row, has_difference_row

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>|#])")
_NOT_SHOWN = ("curve",)


def render(comparison: Comparison, asked: Sequence[str] = ()) -> str:
    """The table, best values in bold, and below it how to read it.

    Raises:
        UserError: a column that was asked for does not exist.
    """
    if not comparison.every_arm:
        return "Nothing to compare."
    shown = [column for column in columns(comparison, asked) if asked or column.key not in _NOT_SHOWN]
    lines = [_line([_escaped(column.title) for column in shown]), _line([_rule(column) for column in shown])]
    lines += [_line([_cell(column.cells[place]) for column in shown]) for place in range(len(comparison.every_arm))]
    if has_difference_row(comparison):
        lines.append(_line(difference_row(comparison, shown)))
    return "\n".join([*lines, "", *_footer(comparison)])


def _footer(comparison: Comparison) -> list[str]:
    setting = f"{comparison.iou_type}: {', '.join(comparison.setting)}" if comparison.setting else comparison.iou_type
    lines = [_escaped(" · ".join([setting, *comparison.notes]))]
    flags = [f"- {_escaped(flag)}" for flag in comparison.every_flag]
    return [*lines, "", *flags] if flags else lines


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _rule(column: Column) -> str:
    return "---:" if column.is_number else ":---"


def _cell(cell: Cell) -> str:
    text = _escaped(cell.text) + (" (within seed noise)" if cell.noise else "")
    return f"**{text}**" if cell.best else text


def _escaped(text: str) -> str:
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))
