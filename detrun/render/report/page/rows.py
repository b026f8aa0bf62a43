"""The page's table: every column that some arm has a value in, with the text and the value of each cell. Pure."""

from collections.abc import Sequence
from typing import Any

from detector.records import METRICS
from detrun.comparison import Arm, Comparison, Run, Value
from detrun.comparison.table import columns_of, value_of_arm
from detrun.readers.number import ABSENT
from detrun.render.report.cells import Cell, run_state, signed
from detrun.render.report.columns import Column, columns
from detrun.render.words import NOTHING, iso, number

# Curves are drawn; what the page says elsewhere needs no column.
_LEFT_OUT = ("name", "curve", "iou_type", "selected", "flags")
_TITLES = {"RUN": "run", "STATE": "state", "SEEDS": "seeds", "EPOCH": "epoch", "VERDICT": "verdict"}
_MADE = ("n", "delta", "other", "verdict")
_NUMBERS = ("delta", "other")


def table(comparison: Comparison, asked: Sequence[str] = ()) -> dict[str, Any]:
    """`columns` and `rows` of the table; a column is `shown` where it tells something, or where it was asked for.

    Raises:
        UserError: a column that was asked for does not exist.
    """
    if not comparison.every_arm:
        return {"columns": [], "rows": []}
    shown = [column.key for column in columns(comparison, asked)]
    every = dict.fromkeys([*shown, *_MADE, *columns_of(comparison.runs)])
    known = columns(comparison, [key for key in every if key not in _LEFT_OUT])[1:]
    known = [column for column in known if column.key in shown or _tells(column)]
    return {
        "columns": [_column(column, shown) for column in known],
        "rows": [_row(arm, place, known, comparison) for place, arm in enumerate(comparison.every_arm)],
    }


def _tells(column: Column) -> bool:
    return any(cell.text not in ("", NOTHING) for cell in column.cells)


def _column(column: Column, shown: Sequence[str]) -> dict[str, Any]:
    return {
        "key": column.key,
        "title": _TITLES.get(column.title, column.title),
        "number": column.is_number or column.key in _NUMBERS,
        "metric": column.key in METRICS,
        "shown": column.key in shown,
    }


def _row(arm: Arm, place: int, known: Sequence[Column], comparison: Comparison) -> dict[str, Any]:
    first = arm.runs[0]
    return {
        "name": arm.name,
        "runs": [run.name for run in arm.runs],
        "ranked": place < len(comparison.arms),
        "baseline": arm.is_baseline,
        "state": run_state(first),
        "verdict": arm.verdict,
        "flags": list(arm.flags),
        "sources": [run.source for run in arm.runs],
        "cells": {column.key: _cell(column, place, arm, comparison) for column in known},
        "differences": {name: [signed(value), value] for name, value in arm.deltas.items()},
    }


def _cell(column: Column, place: int, arm: Arm, comparison: Comparison) -> list[Any]:
    """Text, value to sort by, and marks: `*` best, `~` within seed noise."""
    cell: Cell = column.cells[place]
    value = _value(column.key, arm, comparison)
    text = iso(value) if column.key == "created_at" and isinstance(value, float) and value else cell.text
    return [text, value, "*" if cell.best else "~" if cell.noise else ""]


def _value(key: str, arm: Arm, comparison: Comparison) -> Value:
    if key == "delta":
        return arm.deltas.get("AP")
    if key == "n":
        return len(arm.runs)
    if key == "other":
        return _other(arm.runs[0], comparison)
    value = arm.verdict if key == "verdict" else value_of_arm(arm, key)
    if key in ("gpu_hours", "images_per_s") and isinstance(value, float):
        return float(number(value))
    return None if key in METRICS and value == ABSENT else value


def _other(run: Run, comparison: Comparison) -> float | None:
    other = run.last if comparison.selected_by == "best" else run.best
    return other.metrics.get("AP") if other else None
