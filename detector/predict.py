"""A run's best checkpoint on any images: `python -m detector.predict RUN_DIR --out DIR IMAGE...`. Does I/O.

Into the folder go `results.json`, in COCO's results format, and each image with its boxes drawn. An image's id is the
number that its name is, where all names are numbers as in COCO, else its place in the list, from 1. Images are put on
the input as in evaluation; not covered: images that do not fit in memory, and more than one process.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import msgspec
import numpy as np
import torch

from detector.data.header import UNREADABLE, read_header
from detector.data.image import Pixels, decode
from detector.data.index import CocoIndex, Int64, starts
from detector.data.loader import ImageBatches
from detector.data.sampler import EvalSampler
from detector.errors import UserError
from detector.evaluation import detections as boxes
from detector.evaluation.detections import Detections
from detector.trained import best

_GOLDEN_TURN = 0.61803398875


def main() -> int:
    """Predict as the command line says; the exit code."""
    parser = argparse.ArgumentParser(prog="detector.predict")
    parser.add_argument("run", type=Path)
    parser.add_argument("images", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--threshold", type=float, default=0.3)
    options = parser.parse_args()
    try:
        for line in predict(options.run, options.images, options.out, options.threshold):
            print(line)  # noqa: T201
    except UserError as error:
        print(f"error: {error}\nhint: {error.hint}" if error.hint else f"error: {error}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


def predict(run: Path, images: Sequence[Path], out: Path, threshold: float) -> list[str]:
    """Find objects in images, write `results.json` with all of them and pictures with those above a score.

    Returns:
        A line per image: its id, its objects above the score, the picture.

    Raises:
        UserError: the run has no evaluated checkpoint, or a file is no image.
    """
    trained = best(run)
    settings = trained.settings
    if settings.task != "detect":
        raise UserError(f"{run} classifies images, and finds nothing in them")
    by_name = {row.name: row.id for row in trained.evaluation.per_class}
    ids = np.array([by_name[name] for name in trained.classes], dtype=np.int64)
    index = _index(images, ids, trained.classes)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = trained.model.to(device).eval()
    batches = ImageBatches(index, settings, train=False)
    found = []
    for draw in EvalSampler(images=len(index), config=settings):
        batch = batches[draw]
        with torch.inference_mode():
            found.append(boxes.of_batch(model(batch.images.to(device).float() / 255), batch, ids))
    whole = boxes.joined(found)
    out.mkdir(parents=True, exist_ok=True)
    (out / "results.json").write_bytes(msgspec.json.encode(whole.records()))
    return list(_drawn(index, images, whole, out, threshold))


def _index(images: Sequence[Path], category_ids: Int64, names: Sequence[str]) -> CocoIndex:
    """The images as a data set without boxes."""
    paths = [str(path.absolute()).encode() for path in images]
    numbers = [int(path.stem) if path.stem.isdecimal() else 0 for path in images]
    numbered = all(path.stem.isdecimal() for path in images) and len(set(numbers)) == len(images)
    return CocoIndex(
        folder=Path("/"),
        image_ids=np.array(numbers if numbered else range(1, len(images) + 1), dtype=np.int64),
        names=b"".join(paths),
        name_starts=starts([len(path) for path in paths]),
        sizes=np.array([_size(path) for path in images], dtype=np.int32),
        box_starts=np.zeros(len(images) + 1, dtype=np.int64),
        boxes=np.empty((0, 4), np.float32),
        labels=np.empty(0, np.int32),
        crowd=np.empty(0, np.bool_),
        areas=np.empty(0, np.float32),
        category_ids=category_ids,
        category_names=tuple(names),
    )


def _size(path: Path) -> tuple[int, int]:
    try:
        size = read_header(path).shown
        decode(np.fromfile(path, dtype=np.uint8), path)
    except UNREADABLE as error:
        raise UserError(f"{path} is no image that can be read: {error}") from None
    return size


def _drawn(index: CocoIndex, images: Sequence[Path], whole: Detections, out: Path, threshold: float) -> Iterator[str]:
    names = dict(index.categories)
    for number, path in zip(index.image_ids.tolist(), images, strict=True):
        pixels = decode(np.fromfile(path, dtype=np.uint8), path)[:, :, ::-1].copy()
        rows = np.flatnonzero((whole.image_id == number) & (whole.score >= threshold))
        for row in rows[::-1]:
            label = f"{names[int(whole.category_id[row])]} {whole.score[row]:.2f}"
            _draw(pixels, whole.bbox[row].tolist(), label, int(whole.category_id[row]))
        picture = out / f"{number}_{path.stem}.jpg"
        cv2.imwrite(str(picture), pixels)
        yield f"{number}\t{len(rows)}\t{picture}"


def _draw(pixels: Pixels, bbox: list[float], label: str, category: int) -> None:
    """A box and its label, in place; neighbouring categories get colours far apart."""
    hue = int(180 * (category * _GOLDEN_TURN % 1))
    colour = cv2.cvtColor(np.array([[[hue, 200, 230]]], dtype=np.uint8), cv2.COLOR_HSV2BGR)[0, 0].tolist()
    left, top, width, height = (round(side) for side in bbox)
    cv2.rectangle(pixels, (left, top), (left + width, top + height), colour, 2)
    cv2.putText(pixels, label, (left + 2, max(top - 4, 12)), cv2.FONT_HERSHEY_SIMPLEX, 0.45, colour, 1, cv2.LINE_AA)


if __name__ == "__main__":
    sys.exit(main())
