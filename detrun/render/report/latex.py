"""The report as a LaTeX table in the manner of the `booktabs` package. Pure.

What is doubtful stands above the table as comments.
"""

import re
from collections.abc import Sequence

from detector.records import METRICS
from detrun.comparison import Comparison
from detrun.render.report.cells import Cell
from detrun.render.report.columns import Column, columns, difference_row, has_difference_row
from detrun.render.words import NOTHING

_ESCAPES = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "Δ": r"$\Delta$",
    NOTHING: "--",
} | {char: f"\\{char}" for char in "&%$#_{}"}
_SPECIAL = re.compile("|".join(map(re.escape, _ESCAPES)))
_SUBSCRIPTED = re.compile(r"(AP|AR)(\d+|[sml])")
_NOT_SHOWN = ("curve", "other")
_MINUS = re.compile(r"(?<![\w.])-(?=[\d.])")


def render(comparison: Comparison, asked: Sequence[str] = ()) -> str:
    """The table with the best values in bold.

    Raises:
        UserError: a column that was asked for does not exist.
    """
    if not comparison.every_arm:
        return "% nothing to compare"
    shown = [column for column in columns(comparison, asked) if asked or column.key not in _NOT_SHOWN]
    lines = [*_comments(comparison), rf"\begin{{tabular}}{{{_alignment(shown)}}}", r"\toprule"]
    lines += [_line([_title(column) for column in shown]), r"\midrule"]
    lines += [_line([_cell(column.cells[place]) for column in shown]) for place in range(len(comparison.arms))]
    if comparison.unranked:
        places = range(len(comparison.arms), len(comparison.every_arm))
        lines += [r"\midrule", *(_line([_cell(column.cells[place]) for column in shown]) for place in places)]
    if has_difference_row(comparison):
        lines += [r"\midrule", _line([escaped(text) for text in difference_row(comparison, shown)])]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"])


def escaped(text: str) -> str:
    """Text that LaTeX prints as it is, with a true minus before numbers."""
    return _MINUS.sub("$-$", _SPECIAL.sub(lambda found: _ESCAPES[found[0]], " ".join(text.split())))


def _comments(comparison: Comparison) -> list[str]:
    setting = ", ".join([comparison.iou_type, *comparison.setting])
    lines = [" · ".join([setting, *comparison.notes]), *comparison.every_flag]
    return [f"% {' '.join(line.split())}" for line in lines]


def _alignment(shown: Sequence[Column]) -> str:
    return "".join("r" if column.is_number else "l" for column in shown)


def _title(column: Column) -> str:
    if column.key in METRICS:
        return _SUBSCRIPTED.sub(r"\1$_{\2}$", column.key)
    return "" if column.key == "name" else escaped(column.title)


def _cell(cell: Cell) -> str:
    text = escaped(cell.text)
    return rf"\textbf{{{text}}}" if cell.best else text


def _line(cells: Sequence[str]) -> str:
    """A row; one that begins with a bracket would be an argument of the line end before it."""
    guard = "{}" if cells[0].startswith("[") else ""
    return guard + " & ".join(cells) + r" \\"
