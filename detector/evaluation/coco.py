"""COCO's metrics of some detections by a named engine: twelve numbers in full precision, for all and per class.

Metrics as in Lin et al., "Microsoft COCO", and https://cocodataset.org/#detection-eval. `hotcoco` and `pycocotools`
give the same bits; the reference is pycocotools.
"""

import contextlib
import hashlib
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from detector.errors import UserError
from detector.evaluation.detections import Detections
from detector.records import METRICS, ClassMetrics, Engine, GroundTruth

MAX_DETECTIONS = 100

# Rows of `METRICS` as slices of the engines' arrays: (AP or AR, IoU index, area index, maxDets index).
_SLICES: dict[str, tuple[str, int | None, int, int]] = {
    "AP": ("AP", None, 0, 2),
    "AP50": ("AP", 0, 0, 2),
    "AP75": ("AP", 5, 0, 2),
    "APs": ("AP", None, 1, 2),
    "APm": ("AP", None, 2, 2),
    "APl": ("AP", None, 3, 2),
    "AR1": ("AR", None, 0, 0),
    "AR10": ("AR", None, 0, 1),
    "AR100": ("AR", None, 0, 2),
    "ARs": ("AR", None, 1, 2),
    "ARm": ("AR", None, 2, 2),
    "ARl": ("AR", None, 3, 2),
}


class Score(NamedTuple):
    """What an engine says; -1 where the ground truth has nothing in a slice."""

    metrics: dict[str, float]
    per_class: list[ClassMetrics]
    engine: Engine


class Judge:
    """An annotation file loaded once, ready to score detections on its images.

    Raises:
        UserError: the engine refuses the file.
    """

    def __init__(self, annotations: Path, engine: str) -> None:
        import importlib

        self.module = importlib.import_module("hotcoco" if engine == "hotcoco" else "pycocotools.coco")
        self.engine = Engine(name=engine, version=_version(engine))
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                self.truth = self.module.COCO(str(annotations))
        except (ValueError, KeyError, OSError, RuntimeError) as error:
            raise UserError(f"{annotations}: {engine} cannot use it: {error}") from None
        self.ground_truth = _describe(annotations, self.truth)

    def score(self, detections: Detections) -> Score:
        """COCO's twelve numbers; no detections at all give 0 where there is ground truth and -1 where not."""
        arrays, stats = self._evaluated(detections)
        category_ids = sorted(self.truth.cats)
        per_class = [
            ClassMetrics(id=int(each), name=self.truth.cats[each]["name"], metrics=_of_class(arrays, place))
            for place, each in enumerate(category_ids)
        ]
        return Score(dict(zip(METRICS, stats, strict=True)), per_class, self.engine)

    def _evaluated(self, detections: Detections) -> tuple[dict[str, Any], list[float]]:
        with contextlib.redirect_stdout(io.StringIO()):
            found = self._load(detections)
            evaluation = self._evaluation(found)
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
        return evaluation.eval, [float(value) for value in evaluation.stats]

    def _load(self, detections: Detections) -> Any:
        if len(detections.score) == 0:
            # Neither engine takes an empty array.
            empty = self.module.COCO()
            empty.dataset = {**self.truth.dataset, "annotations": []}
            empty.createIndex()
            return empty
        return self.truth.loadRes(detections.rows())

    def _evaluation(self, found: Any) -> Any:
        if self.engine.name == "hotcoco":
            return self.module.COCOeval(self.truth, found, "bbox")
        from pycocotools.cocoeval import COCOeval

        return COCOeval(self.truth, found, "bbox")


def table(metrics: Mapping[str, float]) -> list[str]:
    """The twelve lines that every COCO tool prints, with five decimals."""
    lines = []
    for name, (kind, iou, area, limit) in _SLICES.items():
        title = "Average Precision  (AP)" if kind == "AP" else "Average Recall     (AR)"
        overlap = "0.50:0.95" if iou is None else f"{0.5 + 0.05 * iou:.2f}     "
        size, most = ("all", "small", "medium", "large")[area], (1, 10, MAX_DETECTIONS)[limit]
        lines.append(f" {title} @[ IoU={overlap} | area={size:>6} | maxDets={most:>3} ] = {metrics[name]:.5f}")
    return lines


def _of_class(arrays: dict[str, Any], place: int) -> dict[str, float]:
    return {name: _mean(arrays, place, *where) for name, where in _SLICES.items()}


def _mean(arrays: dict[str, Any], place: int, kind: str, iou: int | None, area: int, limit: int) -> float:
    ious = slice(None) if iou is None else slice(iou, iou + 1)
    values: NDArray[np.float64] = (
        arrays["precision"][ious, :, place, area, limit] if kind == "AP" else arrays["recall"][ious, place, area, limit]
    )
    known = values[values > -1]
    return float(np.mean(known)) if known.size else -1.0


def _describe(path: Path, truth: Any) -> GroundTruth:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return GroundTruth(
        path=str(path),
        sha256=digest,
        images=len(truth.imgs),
        annotations=len(truth.anns),
        categories=len(truth.cats),
    )


def _version(engine: str) -> str:
    from importlib.metadata import version

    return version(engine)
