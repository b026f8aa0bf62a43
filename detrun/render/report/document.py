"""The report as one JSON object, schema 1. Metrics that are not known are null; -1 stays -1. Pure.

Every run is in `runs`, whatever its state; `arms` are the rows of the table, `flags` what is not comparable.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from detector.records import CLASS_METRICS, METRICS
from detrun.comparison import Arm, Comparison, Run
from detrun.readers.evaluation import Evaluation, rows_of_metrics

SCHEMA = 1


def render(comparison: Comparison) -> str:
    """The object, on one line."""
    return msgspec.json.encode(document(comparison)).decode()


def document(comparison: Comparison) -> dict[str, Any]:
    """The object as plain JSON types."""
    return {
        "schema": SCHEMA,
        "runs": [_run(run) for run in comparison.runs],
        "flags": list(comparison.flags),
        "iou_type": comparison.iou_type,
        "baseline": comparison.baseline,
        "arms": [_arm(arm) for arm in comparison.every_arm],
        "varying": list(comparison.varying),
        "setting": list(comparison.setting),
        "notes": list(comparison.notes),
        "classes": msgspec.to_builtins(comparison.classes),
        "errors": msgspec.to_builtins(comparison.errors),
        "unread": msgspec.to_builtins(comparison.unread),
    }


def _run(run: Run) -> dict[str, Any]:
    selected = run.selected
    return {
        "name": run.name,
        "source": run.source,
        "iou_type": run.iou_type,
        "evaluations": len(run.evaluations),
        "epoch": selected.epoch if selected else None,
        "selected": run.selected_by,
        "metrics": _twelve(run.metrics),
        "history": [_point(each) for each in run.evaluations],
        "flags": list(run.flags),
        "id": run.id,
        "state": run.state,
        "other_rows": _other_rows(selected) if selected else {},
        "config": dict(run.config),
        "columns": dict(run.columns),
    }


def _point(evaluation: Evaluation) -> dict[str, Any]:
    return {
        "epoch": evaluation.epoch,
        "metrics": _twelve(evaluation.metrics),
        "step": evaluation.step,
        "seconds": evaluation.seconds,
        "images": evaluation.images,
        "session": evaluation.session,
        "flags": list(evaluation.flags),
    }


def _other_rows(evaluation: Evaluation) -> dict[str, float]:
    """Printed rows that are none of the twelve, such as AR at IoU .50."""
    twelve = set(rows_of_metrics(tuple(evaluation.rows)).values())
    return {name: value for name, value in evaluation.rows.items() if name not in twelve}


def _arm(arm: Arm) -> dict[str, Any]:
    return {
        "name": arm.name,
        "runs": [run.name for run in arm.runs],
        "n": len(arm.runs),
        "ranked": all(run.state == "done" for run in arm.runs),
        "baseline": arm.is_baseline,
        "metrics": _twelve(arm.metrics),
        "sd": _twelve(arm.sd),
        "deltas": _twelve(arm.deltas),
        "intervals": {name: [bounds.lower, bounds.upper] for name, bounds in arm.intervals.items()},
        "verdict": arm.verdict,
    }


def _twelve(metrics: Mapping[str, float]) -> dict[str, float | None]:
    """The twelve, and a classifier's two where there are any."""
    of_classes = {metric: metrics[metric] for metric in CLASS_METRICS if metric in metrics}
    return {metric: metrics.get(metric) for metric in METRICS} | of_classes
