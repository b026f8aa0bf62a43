"""The columns of a comparison as people read them: what terminal, Markdown and LaTeX share. Pure."""

from collections.abc import Callable, Sequence

import msgspec

from detector.records import EVERY_METRIC
from detrun.comparison import Arm, Comparison
from detrun.comparison.table import columns_of, value_of_arm
from detrun.comparison.where import column_named
from detrun.render.report import cells
from detrun.render.report.cells import Cell, signed

# Columns that are made for the table rather than held by a run.
_MADE: dict[str, Callable[[Arm, Comparison], Cell]] = {
    "name": lambda arm, _: Cell(text=arm.name),
    "n": lambda arm, _: Cell(text=str(len(arm.runs))),
    "state": lambda arm, _: Cell(text=cells.run_state(arm.runs[0])),
    "delta": cells.delta_cell,
    "other": cells.other_cell,
    "curve": cells.curve_cell,
    "verdict": lambda arm, _: Cell(text=arm.verdict),
    "gpu_hours": lambda arm, _: cells.cost_cell(arm.columns.get("gpu_hours")),
    "images_per_s": lambda arm, _: cells.cost_cell(arm.columns.get("images_per_s")),
}
_TITLES = {
    "name": "RUN",
    "n": "SEEDS",
    "state": "STATE",
    "curve": "CURVE",
    "verdict": "VERDICT",
    "gpu_hours": "GPU-H",
    "images_per_s": "IMG/S",
    "epoch": "EPOCH",
}
_WORDS = ("name", "state", "curve", "verdict", "delta", "other")

# Where there is no room, the last of these goes first; columns that are not named here stay to the end.
_KEPT = (
    *("AP50", "AP75", "APs", "APm", "APl", "AR100", "other", "gpu_hours", "images_per_s", "curve"),
    *("AR10", "AR1", "ARm", "ARl", "ARs", "git_sha", "n", "parameters"),
)


class Column(msgspec.Struct, frozen=True, kw_only=True):
    """One column: a cell for each arm, ranked ones first. `rank` 0 stays; the highest is dropped first."""

    key: str
    title: str
    cells: tuple[Cell, ...]
    is_number: bool
    rank: int


def columns(comparison: Comparison, asked: Sequence[str] = ()) -> list[Column]:
    """The columns that tell something about a comparison; exactly those asked for, where some are.

    Raises:
        UserError: a column that was asked for does not exist.
    """
    keys = [_asked(word, comparison) for word in asked] if asked else _telling(comparison)
    return [_column(key, comparison, kept=bool(asked)) for key in ("name", *keys)]


def has_difference_row(comparison: Comparison) -> bool:
    """Whether the differences of all metrics stand in a row of their own: between two arms, without intervals."""
    two = len(comparison.arms) == 2 and not comparison.unranked
    return two and comparison.baseline is not None and not any(arm.intervals for arm in comparison.arms)


def difference_row(comparison: Comparison, shown: Sequence[Column]) -> list[str]:
    """The text of that row, by column."""
    deltas = next(arm.deltas for arm in comparison.arms if not arm.is_baseline)
    return ["Δ" if column.key == "name" else signed(deltas.get(column.key)) for column in shown]


def _telling(comparison: Comparison) -> list[str]:
    every = comparison.every_arm
    keys = ["state"] if comparison.unranked else []
    keys += ["n"] if len({len(arm.runs) for arm in every}) > 1 else []
    keys += [*comparison.varying, comparison.headline]
    keys += ["delta"] if comparison.baseline and not has_difference_row(comparison) else []
    others = [name for name in EVERY_METRIC if name != comparison.headline]
    keys += [name for name in others if any(name in arm.metrics for arm in every)]
    keys += ["other"] if any(cells.other_cell(arm, comparison).text for arm in every) else []
    keys += ["curve"] if any(len(arm.curve) > 1 for arm in every) else []
    return keys + [name for name in ("gpu_hours", "images_per_s") if any(arm.columns.get(name) for arm in every)]


def _asked(word: str, comparison: Comparison) -> str:
    known = dict.fromkeys(_MADE) | columns_of(comparison.runs)
    return column_named(word, known, "--columns")


def _column(key: str, comparison: Comparison, *, kept: bool) -> Column:
    if key in EVERY_METRIC:
        found = cells.metric_cells(key, comparison)
    elif key in _MADE:
        found = [_MADE[key](arm, comparison) for arm in comparison.every_arm]
    else:
        found = cells.value_cells([value_of_arm(arm, key) for arm in comparison.every_arm])
    made = {"other": "LAST" if comparison.selected_by == "best" else "BEST", "delta": f"Δ {comparison.headline}"}
    return Column(
        key=key,
        title=made.get(key) or _TITLES.get(key, key),
        cells=tuple(found),
        is_number=key not in _WORDS and not any(cell.text[:1].isalpha() for cell in found),
        rank=0 if kept or key not in _KEPT else 1 + _KEPT.index(key),
    )
