"""Builds runs and comparisons for the tests without files."""

from collections.abc import Mapping, Sequence
from typing import Any

from report_runs import metrics_of

from detector.records import Engine, GroundTruth
from detrun.comparison import Comparison, Run
from detrun.comparison.runs import best_of, last_of
from detrun.comparison.table import Question, compare
from detrun.readers.evaluation import Evaluation
from detrun.readers.run_dir import Setting


def setting(**changes: Any) -> Setting:
    truth = GroundTruth(
        path="val.json",
        sha256=changes.pop("sha256", "a" * 64),
        images=changes.pop("images", 72),
        annotations=1,
        categories=1,
    )
    engine = Engine(name="hotcoco", version=changes.pop("version", "1.3.0"))
    known = {"image_size": 416, "max_detections": 100, "detections": "epoch_0001.npz"} | changes
    return Setting(engine=engine, ground_truth=truth, **known)


def run(
    name: str,
    aps: Sequence[float],
    *,
    config: Mapping[str, Any] | None = None,
    state: str = "done",
    by: str = "last",
    metrics: Sequence[Mapping[str, float]] | None = None,
    **more: Any,
) -> Run:
    """A run with an evaluation for each AP; ours if it has a configuration."""
    tables = metrics or [metrics_of(ap) for ap in aps]
    evaluations = tuple(
        Evaluation(iou_type="bbox", metrics=table, epoch=place) for place, table in enumerate(tables, 1)
    )
    last, best = last_of(evaluations), best_of(evaluations)
    fields: dict[str, Any] = {
        "id": name,
        "source": f"/logs/{name}.txt",
        "config": config or {},
        "setting": setting() if config else None,
        "ours": config is not None,
    }
    return Run(
        name=name,
        iou_type="bbox",
        evaluations=evaluations,
        selected=best if by == "best" else last,
        last=last,
        best=best,
        selected_by=by,  # type: ignore[arg-type]
        state=state,
        **(fields | more),
    )


def seeds(name: str, aps: Sequence[float], **config: Any) -> list[Run]:
    """Runs of ours that differ in their seed alone."""
    return [run(f"{name}{seed}", [ap], config=config | {"seed": seed}) for seed, ap in enumerate(aps)]


def compared(*runs: Run, **question: Any) -> Comparison:
    return compare(runs, Question(**question))


def names(comparison: Comparison) -> list[str]:
    return [arm.name for arm in comparison.arms]
