"""The val images on which runs disagree most, with ground truth and detections. Reads detections and annotations.

An image's score is F1: of the detections with a score of at least .3 those are right that are matched to ground truth
of their class at IoU .5 as COCO matches, and F1 is twice the right ones over detections and ground truth together.
Where there is neither, it is 1. Runs disagree by the difference between the highest and the lowest of their scores.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from detrun.comparison import Arm, Run
from detrun.comparison.bootstrap import Progress
from detrun.comparison.detections import (
    NoDetectionsError,
    Stored,
    annotation_bytes,
    detection_rows,
    matched,
    places,
    stored,
)

IOU, SCORE = 0.5, 0.3
# What is never looked at need not be kept.
LOWEST_SCORE = 0.05
# So many files are looked for to tell a folder.
_ASKED = 8

Outcome = Literal["right", "wrong", "uncounted"]
Box = tuple[float, float, float, float]
_OUTCOMES: dict[str | None, Outcome] = {"tp": "right", "fp": "wrong", None: "uncounted"}


class There(msgspec.Struct, frozen=True, kw_only=True):
    """Ground truth: left, top, width, height in pixels of the image; index of the category."""

    box: Box
    category: int
    crowd: bool


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """A detection; `uncounted` ones lie on a crowd. `truth` is the place of what it was matched to."""

    box: Box
    category: int
    score: float
    outcome: Outcome
    truth: int | None


class Image(msgspec.Struct, frozen=True, kw_only=True):
    """A val image, and what each arm found in it, highest scores first. Width and height as annotated."""

    name: str
    path: Path
    width: int
    height: int
    truth: tuple[There, ...]
    found: Mapping[str, tuple[Found, ...]]


class Gallery(msgspec.Struct, frozen=True, kw_only=True):
    """Images, largest disagreement first; `reason` says why there are none."""

    arms: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    images: tuple[Image, ...] = ()
    reason: str = ""


class _ImageRow(msgspec.Struct, frozen=True):
    id: int
    file_name: str
    width: int
    height: int


class _Category(msgspec.Struct, frozen=True):
    id: int
    name: str


class _Annotation(msgspec.Struct, frozen=True):
    id: int
    image_id: int
    category_id: int
    bbox: Box
    iscrowd: int = 0


class _Annotations(msgspec.Struct, frozen=True):
    images: list[_ImageRow]
    categories: list[_Category]
    annotations: list[_Annotation]


class _View(NamedTuple):
    """What one run found.

    Attributes:
        rows: (N, 7) as `detrun.comparison.detections.detection_rows` gives them.
        outcomes: N words.
        matches: annotation ids by row, of the right ones.
    """

    rows: NDArray[np.float64]
    outcomes: list[Outcome]
    matches: Mapping[int, int]


def gallery(arms: Sequence[Arm], most: int, progress: Progress) -> Gallery:
    """At most `most` images on which the first runs of some arms disagree; of one arm, those that it finds hardest.

    Arms whose detections are gone, or that were scored on other annotations than the first, are left out.
    """
    if most < 1:
        return Gallery(reason="none were asked for")
    files, reasons = _stored(arms)
    if not files:
        return Gallery(reason="; ".join(reasons))
    first = next(iter(files))
    try:
        table = msgspec.json.decode(annotation_bytes(files[first]), type=_Annotations)
        views = _views(files, progress)
    except (NoDetectionsError, msgspec.MsgspecError) as error:
        return Gallery(reason=str(error))
    ordered = _by_disagreement(table, list(views.values()))[: 4 * most]
    run = next(arm.runs[0] for arm in arms if arm.name == first)
    folder = _image_folder(run, files[first], [row.file_name for row in ordered[:_ASKED]])
    chosen = [row for row in ordered if (folder / row.file_name).is_file()][:most]
    if not chosen:
        return Gallery(reason=f"the images of the val set are not in {folder}")
    categories = sorted(table.categories, key=lambda category: category.id)
    images = [_image(row, folder, table, [category.id for category in categories], views) for row in chosen]
    names = tuple(category.name for category in categories)
    return Gallery(arms=tuple(views), categories=names, images=tuple(images))


def _stored(arms: Sequence[Arm]) -> tuple[dict[str, Stored], list[str]]:
    """The files of each arm's first run, of those that share the first one's annotations."""
    files: dict[str, Stored] = {}
    reasons = []
    for arm in arms:
        try:
            each = stored(arm.runs[0])
        except NoDetectionsError as error:
            reasons.append(f"{arm.name}: {error}")
            continue
        if not files or each.sha256 == next(iter(files.values())).sha256:
            files[arm.name] = each
    return files, reasons


def _views(files: Mapping[str, Stored], progress: Progress) -> dict[str, _View]:
    views = {}
    for name, each in files.items():
        views[name] = _view(each)
        progress(len(views) / len(files))
    return views


@lru_cache(maxsize=8)
def _view(files: Stored) -> _View:
    rows = detection_rows(files.detections)
    known = matched(files).image_diagnostics(iou_thr=IOU, score_thr=0.0)
    statuses = known["dt_status"]
    outcomes = [_OUTCOMES[statuses.get(number)] for number in range(1, len(rows) + 1)]
    return _View(rows, outcomes, {number - 1: match for number, match in known["dt_match"].items()})


def _by_disagreement(table: _Annotations, views: Sequence[_View]) -> list[_ImageRow]:
    """All images, largest disagreement first, and among equal ones those with the lowest scores."""
    images = sorted(table.images, key=lambda row: row.id)
    ids = np.array([row.id for row in images], np.int64)
    truth = np.array([box.image_id for box in table.annotations if not box.iscrowd], np.int64)
    place, known = places(ids, truth)
    truths = np.bincount(place[known], minlength=len(ids))
    scores = np.array([_f1(view, ids, truths) for view in views])
    against = scores.min(axis=0) if len(views) > 1 else 0.0
    disagreement = scores.max(axis=0) - against if len(views) > 1 else 1.0 - scores[0]
    return [images[number] for number in np.lexsort((ids, scores.sum(axis=0), -disagreement))]


def _f1(view: _View, ids: NDArray[np.int64], truths: NDArray[np.int64]) -> NDArray[np.float64]:
    """(I,) the score of each image, given sorted image ids and how much ground truth that counts each has."""
    outcomes = np.array(view.outcomes)
    place, known = places(ids, view.rows[:, 0].astype(np.int64))
    counted = known & (view.rows[:, 5] >= SCORE) & (outcomes != "uncounted")
    found, right = (np.bincount(place[kept], minlength=len(ids)) for kept in (counted, counted & (outcomes == "right")))
    either = found + truths
    scores: NDArray[np.float64] = np.divide(2.0 * right, either, out=np.ones(len(ids)), where=either > 0)
    return scores


def _image(
    row: _ImageRow, folder: Path, table: _Annotations, category_ids: list[int], views: Mapping[str, _View]
) -> Image:
    label = {number: place for place, number in enumerate(category_ids)}
    boxes = [box for box in table.annotations if box.image_id == row.id and box.category_id in label]
    place = {box.id: number for number, box in enumerate(boxes)}
    truth = tuple(There(box=box.bbox, category=label[box.category_id], crowd=bool(box.iscrowd)) for box in boxes)
    return Image(
        name=row.file_name,
        path=folder / row.file_name,
        width=row.width,
        height=row.height,
        truth=truth,
        found={name: _found(view, row.id, label, place) for name, view in views.items()},
    )


def _found(view: _View, image_id: int, label: Mapping[int, int], place: Mapping[int, int]) -> tuple[Found, ...]:
    mine = np.flatnonzero((view.rows[:, 0] == image_id) & (view.rows[:, 5] >= LOWEST_SCORE))
    found = []
    for number in mine[np.argsort(-view.rows[mine, 5], kind="stable")].tolist():
        _, left, top, width, height, score, category = view.rows[number].tolist()
        if int(category) in label:
            found.append(
                Found(
                    box=(left, top, width, height),
                    category=label[int(category)],
                    score=score,
                    outcome=view.outcomes[number],
                    truth=place.get(view.matches.get(number, -1)),
                )
            )
    return tuple(found)


def _image_folder(run: Run, files: Stored, names: Sequence[str]) -> Path:
    """Where the val images lie: `data.val_images` in `data.root`, else the first usual folder with one of some names.

    A built-in data set's root is where its annotations were read.
    """
    root, images = str(run.config.get("data.root") or ""), str(run.config.get("data.val_images") or "")
    annotations = Path(files.annotations)
    base = annotations.parent.parent if root.startswith("builtin:") or not root else Path(root).expanduser()
    spelled = [name + year for name in ("val", "valid", "test") for year in ("", "2017", "2014")]
    usual = [form.format(name) for form in ("images/{}", "{}", "{}/images") for name in spelled]
    folders = [base / images] if images else [base / name for name in (*usual, "images", "JPEGImages", "")]
    folders += [] if images else [annotations.parent]
    return next((folder for folder in folders if any((folder / name).is_file() for name in names)), folders[0])
