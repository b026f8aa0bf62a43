"""AP of every category in every arm, largest gains and losses first. Reads the evaluations of runs of our own."""

import statistics
from collections.abc import Mapping

import msgspec

from detrun.comparison import Arm, ClassRow, Comparison
from detrun.readers.number import ABSENT
from detrun.readers.run_dir import read_record


def with_classes(comparison: Comparison) -> Comparison:
    """The comparison with a row for each category that any arm was scored on; a flag for each arm that has none."""
    by_arm = {arm.name: _of_arm(arm) for arm in comparison.arms}
    flags = [f"no AP per class: {name} does not store it" for name, known in by_arm.items() if not known]
    names = dict.fromkeys(name for known in by_arm.values() for name in known)
    rows = [_row(name, by_arm, comparison.baseline) for name in names]
    rows.sort(key=lambda row: (-max(map(abs, row.deltas.values()), default=0.0), -max(row.ap.values(), default=0.0)))
    return msgspec.structs.replace(comparison, classes=tuple(rows)).flagged(flags)


def _row(name: str, by_arm: Mapping[str, Mapping[str, float]], baseline: str | None) -> ClassRow:
    ap = {arm: known[name] for arm, known in by_arm.items() if name in known}
    base = ap.get(baseline or "", ABSENT)
    others = {arm: value for arm, value in ap.items() if arm != baseline and ABSENT not in (value, base)}
    return ClassRow(name=name, ap=ap, deltas={arm: value - base for arm, value in others.items()})


def _of_arm(arm: Arm) -> dict[str, float]:
    """Means over the arm's runs, of categories that all of them have; -1 where the val set has none."""
    records = [read_record(str(run.file)) if run.file else None for run in arm.runs]
    tables = [{row.name: row.metrics.get("AP", ABSENT) for row in record.per_class} for record in records if record]
    if len(tables) < len(records) or not tables:
        return {}
    shared = [name for name in tables[0] if all(name in table for table in tables)]
    return {name: statistics.fmean(table[name] for table in tables) for name in shared}
