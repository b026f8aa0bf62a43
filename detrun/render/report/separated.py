"""The report for spreadsheets and scripts: one line a run, numbers in full precision, nothing cut. Pure."""

import csv
import io
from collections.abc import Iterator, Sequence

from detector.records import CLASS_METRICS, METRICS, OF_CLASSES
from detrun.comparison import Arm, Comparison, Run, Value
from detrun.comparison.table import columns_of, value_of_run
from detrun.comparison.where import column_named

_ARM = ("n", "mean_AP", "sd_AP", "delta_AP", "delta_AP_low", "delta_AP_high")


def comma_separated(comparison: Comparison, asked: Sequence[str] = ()) -> str:
    """RFC 4180 with newlines alone; a metric that is not known is empty.

    Raises:
        UserError: a column that was asked for does not exist.
    """
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(_table(comparison, asked))
    return out.getvalue().rstrip("\n")


def tab_separated(comparison: Comparison, asked: Sequence[str] = ()) -> str:
    """Tabs between cells; tabs and line ends inside them become spaces.

    Raises:
        UserError: a column that was asked for does not exist.
    """
    return "\n".join("\t".join(" ".join(cell.split()) for cell in row) for row in _table(comparison, asked))


def _table(comparison: Comparison, asked: Sequence[str]) -> list[list[str]]:
    header = ["name", *(_asked(word, comparison) for word in asked)] if asked else _usual(comparison)
    return [header, *(_line(arm, run, header) for arm, run in _runs(comparison))]


def _line(arm: Arm | None, run: Run, header: Sequence[str]) -> list[str]:
    of_arm = _of_arm(arm)
    return [_text(of_arm[name] if name in of_arm else value_of_run(run, name)) for name in header]


def _usual(comparison: Comparison) -> list[str]:
    seeds = any(len(arm.runs) > 1 for arm in comparison.every_arm)
    intervals = any(arm.intervals for arm in comparison.arms)
    arm = [name for name in _ARM if name.startswith("delta_AP_") and intervals]
    arm = [*(["arm", *_ARM[:3]] if seeds else []), *([_ARM[3]] if comparison.baseline else []), *arm]
    metrics = CLASS_METRICS if comparison.iou_type == OF_CLASSES else METRICS
    first, last = ["name", *comparison.varying, *metrics], ["epoch", "evaluations", "selected", "iou_type", "state"]
    return [*first, *arm, *last, "gpu_hours", "images_per_s", "source", "flags"]


def _asked(word: str, comparison: Comparison) -> str:
    known = columns_of(comparison.runs) | dict.fromkeys(["arm", *_ARM])
    return column_named(word, known, "--columns")


def _runs(comparison: Comparison) -> Iterator[tuple[Arm | None, Run]]:
    yield from ((arm, run) for arm in comparison.every_arm for run in arm.runs)
    yield from ((None, run) for run in comparison.without)


def _of_arm(arm: Arm | None) -> dict[str, Value]:
    if arm is None:
        return {}
    interval = arm.intervals.get("AP")
    return {
        "arm": arm.name,
        "n": len(arm.runs),
        "mean_AP": arm.metrics.get("AP"),
        "sd_AP": arm.sd.get("AP"),
        "delta_AP": arm.deltas.get("AP"),
        "delta_AP_low": interval.lower if interval else None,
        "delta_AP_high": interval.upper if interval else None,
    }


def _text(value: Value) -> str:
    return "" if value is None else repr(value) if isinstance(value, float) else str(value)
