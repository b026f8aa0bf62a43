"""Loads what a run of our own detected, and what was there, as arrays and as hotcoco takes them. Reads only."""

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import BadZipFile

import msgspec
import numpy as np
from numpy.typing import NDArray

from detrun.comparison import Run
from detrun.comparison.matching import Detected, Truth


class NoDetectionsError(Exception):
    """Detections or annotations that cannot be had; the message is a short reason."""


class _Id(msgspec.Struct, frozen=True):
    id: int


class _Box(msgspec.Struct, frozen=True):
    image_id: int
    category_id: int
    bbox: tuple[float, float, float, float]
    area: float | None = None
    iscrowd: int = 0


class _Annotations(msgspec.Struct, frozen=True):
    images: list[_Id]
    categories: list[_Id]
    annotations: list[_Box]


class Index(NamedTuple):
    """Ids in order, whose places are the indices of `Truth` and `Detected`."""

    images: NDArray[np.int64]
    categories: NDArray[np.int64]


class Stored(NamedTuple):
    """Where an evaluation of ours lies: what it found, and what was there."""

    detections: Path
    changed_at_ns: int
    annotations: str
    sha256: str
    iou_type: str


def stored(run: Run) -> Stored:
    """The files of the selected evaluation.

    Raises:
        NoDetectionsError: it is no run of ours, or the detections are gone.
    """
    path = detections_file(run)
    return Stored(path, path.stat().st_mtime_ns, *_annotation_file(run), run.iou_type)


def detections_file(run: Run) -> Path:
    """Where the detections of the selected evaluation are stored.

    Raises:
        NoDetectionsError: it is no run of ours, or the file is gone.
    """
    if run.file is None or run.setting is None or run.iou_type != "bbox":
        raise NoDetectionsError("its detections are not stored")
    path = run.file.parent / run.setting.detections
    if not path.is_file():
        raise NoDetectionsError(f"{path.name} is gone")
    return path


def arrays(run: Run) -> tuple[Truth, Detected]:
    """Ground truth and detections of the selected evaluation, by index.

    Raises:
        NoDetectionsError: either is gone, damaged, or no longer what was scored.
    """
    index, truth = _truth(*_annotation_file(run))
    rows = detection_rows(detections_file(run))
    image, image_known = places(index.images, rows[:, 0])
    category, category_known = places(index.categories, rows[:, 6])
    known = image_known & category_known
    return truth, Detected(image[known], category[known], rows[known, 1:5], rows[known, 5])


def matched(files: Stored) -> Any:
    """hotcoco's `COCOeval` of an evaluation, matched and not yet accumulated. Detections have ids from 1, by row.

    Raises:
        NoDetectionsError: detections or annotations are gone, damaged, or no longer what was scored.
    """
    import hotcoco

    annotation_bytes(files)
    rows = detection_rows(files.detections)
    try:
        truth = hotcoco.COCO(files.annotations)
        evaluation = hotcoco.COCOeval(truth, _results(truth, rows), files.iou_type)
        evaluation.evaluate()
    except (ValueError, KeyError, OSError, RuntimeError) as error:
        raise NoDetectionsError(f"hotcoco cannot use them: {error}") from None
    return evaluation


def annotation_bytes(files: Stored) -> bytes:
    """The annotation file's content.

    Raises:
        NoDetectionsError: it is gone, or no longer what was scored.
    """
    return _content(files.annotations, files.sha256)


def _annotation_file(run: Run) -> tuple[str, str]:
    assert run.setting is not None
    return run.setting.ground_truth.path, run.setting.ground_truth.sha256


def detection_rows(path: Path) -> NDArray[np.float64]:
    """(N, 7) image id, left, top, width, height, score, category id.

    Raises:
        NoDetectionsError: the file is damaged.
    """
    try:
        with path.open("rb") as file, np.load(file) as arrays:
            columns = (arrays["image_id"], *arrays["bbox"].T, arrays["score"], arrays["category_id"])
            return np.column_stack([column.astype(np.float64) for column in columns])
    except (ValueError, KeyError, OSError, EOFError, BadZipFile):
        raise NoDetectionsError(f"{path.name} is damaged") from None


@lru_cache(maxsize=4)
def _truth(path: str, sha256: str) -> tuple[Index, Truth]:
    try:
        table = msgspec.json.decode(_content(path, sha256), type=_Annotations)
    except msgspec.MsgspecError as error:
        raise NoDetectionsError(f"{path} cannot be used: {error}") from None
    index = Index(*(np.array(sorted(row.id for row in rows), np.int64) for rows in (table.images, table.categories)))
    boxes = table.annotations
    image, image_known = places(index.images, np.array([box.image_id for box in boxes]))
    category, category_known = places(index.categories, np.array([box.category_id for box in boxes]))
    corners = np.array([box.bbox for box in boxes], np.float64).reshape(-1, 4)
    areas = np.array([box.bbox[2] * box.bbox[3] if box.area is None else box.area for box in boxes])
    crowd = np.array([bool(box.iscrowd) for box in boxes])
    known = image_known & category_known
    counts = len(index.images), len(index.categories)
    return index, Truth(image[known], category[known], corners[known], areas[known], crowd[known], *counts)


def _content(path: str, sha256: str) -> bytes:
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise NoDetectionsError(f"cannot read {path}: {error.strerror}") from None
    if hashlib.sha256(content).hexdigest() != sha256:
        raise NoDetectionsError(f"{path} has changed since")
    return content


def places(ids: NDArray[np.int64], wanted: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Where each wanted id stands among sorted ids, and whether it does."""
    places = np.minimum(np.searchsorted(ids, wanted), max(0, len(ids) - 1)).astype(np.int64)
    return places, ids[places] == wanted if len(ids) else np.zeros(len(wanted), bool)


def _results(truth: Any, rows: NDArray[np.float64]) -> Any:
    """Detections as hotcoco takes them; it takes no empty array."""
    if len(rows):
        return truth.load_res(rows)
    empty = type(truth)()
    empty.dataset = {**truth.dataset, "annotations": []}
    empty.createIndex()
    return empty
