"""The tables below the comparison: AP per class, and what each kind of error costs. Pure."""

from detrun.comparison import Comparison
from detrun.render.grid import Cell, Column, Grid
from detrun.render.report.cells import signed
from detrun.render.words import metric


def classes_grid(comparison: Comparison) -> Grid:
    """A row for each category: AP in each arm, and differences from the baseline."""
    arms = [arm for arm in comparison.arms if any(arm.name in row.ap for row in comparison.classes)]
    others = [arm for arm in arms if not arm.is_baseline and comparison.baseline]
    titles = [Column("CLASS")] + [Column(f"AP {arm.name}", right=True) for arm in arms]
    titles += [Column(f"Δ {arm.name}", right=True) for arm in others]
    rows = []
    for row in comparison.classes:
        cells = [Cell(row.name)] + [Cell(metric(row.ap.get(arm.name))) for arm in arms]
        rows.append(cells + [Cell(signed(row.deltas.get(arm.name))) for arm in others])
    return Grid(titles, rows)


def errors_grid(comparison: Comparison) -> Grid:
    """A row for each arm: the AP50 that it would gain without each kind of error."""
    kinds = list(dict.fromkeys(kind for row in comparison.errors for kind in row.costs))
    titles = [Column("AP50 LOST TO")] + [Column(kind, right=True) for kind in kinds]
    rows = [[Cell(row.arm)] + [Cell(metric(row.costs.get(kind))) for kind in kinds] for row in comparison.errors]
    return Grid(titles, rows)
