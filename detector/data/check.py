"""Everything worth knowing about a data set before it is trained on. Reads every file, writes nothing.

Sizes of boxes are COCO's: small below 32 x 32 pixels, large from 96 x 96, by the area that the annotations give.
"""

import hashlib
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import msgspec
import numpy as np

from detector.config import Data
from detector.data.digits import resolve_root
from detector.data.folder import FolderIndex, read_folders
from detector.data.image import is_whole
from detector.data.index import SAME_CATEGORIES, CocoIndex
from detector.data.layout import SPLITS, recognise, shows_classes
from detector.data.read import read_split
from detector.data.report import HARMLESS, KINDS, Finding
from detector.data.scan import checked, scan_images
from detector.errors import UserError

SCHEMA = 1

# Told how many images of how many have been read.
Progress = Callable[[int, int], None]

_MEDIUM, _LARGE = 32**2, 96**2


class Problem(msgspec.Struct, kw_only=True):
    """One kind of finding: what it is, what becomes of it, and every place that has it."""

    kind: str
    what: str
    fate: str
    harmless: bool
    places: tuple[str, ...]


class ClassCount(msgspec.Struct, kw_only=True):
    """One class: boxes apart from crowds, crowds, and images with any of both."""

    name: str
    boxes: int
    crowds: int
    images: int


class Size(msgspec.Struct, kw_only=True):
    """How many images have a width and a height."""

    width: int
    height: int
    images: int


class SplitCheck(msgspec.Struct, kw_only=True):
    """One split. `box_sizes` counts small, medium and large boxes; `image_sizes` has the most frequent first.

    Both are empty where images lie in folders of classes, and there are no boxes.
    """

    split: str
    source: str
    images: int
    classes: list[ClassCount]
    box_sizes: dict[str, int]
    image_sizes: list[Size]
    problems: list[Problem]


class Check(msgspec.Struct, kw_only=True):
    """A data set; `errors` (problem and hint) are what keeps a run from training on it, none where it can."""

    schema: int = SCHEMA
    root: str
    layout: str
    splits: list[SplitCheck]
    errors: list[tuple[str, str]]


def check(data: Data, progress: Progress) -> Check:
    """Look at a data set, each file of it.

    Raises:
        UserError: there is no such root, or it shows no layout.
    """
    if shows_classes(data):
        return _check_classes(data, progress)
    layout = recognise(data, resolve_root(data.root))
    result = Check(root=data.root, layout=layout, splits=[], errors=[])
    indices: dict[str, CocoIndex] = {}
    seen: dict[bytes, str] = {}
    for split in SPLITS:
        try:
            annotated = read_split(data, split)
            index, report = checked(annotated.index, annotated.report, [scan_images(annotated.index)])
        except UserError as error:
            result.errors.append((str(error), error.hint))
            continue
        contents = _contents(index, seen, progress)
        result.splits.append(_described(split, report.source, index, (*report.findings, *contents)))
        result.errors += [*_boxless(split, index), *_broken(data, split, contents[0])]
        indices[split] = index
    if len(indices) == len(SPLITS) and (differ := indices["train"].differences(indices["val"])):
        result.errors.append((f"the splits have other categories: {differ}", SAME_CATEGORIES))
    return result


def _check_classes(data: Data, progress: Progress) -> Check:
    """Images in folders of classes."""
    result = Check(root=data.root, layout="classes", splits=[], errors=[])
    try:
        indices = read_folders(data)
    except UserError as error:
        result.errors.append((str(error), error.hint))
        return result
    seen: dict[bytes, str] = {}
    for split, index in zip(SPLITS, indices, strict=True):
        contents = _contents(index, seen, progress)
        counts = np.bincount(index.labels, minlength=len(index.classes)).tolist()
        rows = zip(index.classes, counts, strict=True)
        result.splits.append(
            SplitCheck(
                split=split,
                source=str(index.root),
                images=len(index),
                classes=[ClassCount(name=name, boxes=0, crowds=0, images=count) for name, count in rows],
                box_sizes={},
                image_sizes=[],
                problems=[_problem(finding) for finding in contents if finding.places],
            )
        )
        result.errors += _broken(data, split, contents[0])
    return result


def _contents(index: CocoIndex | FolderIndex, seen: dict[bytes, str], progress: Progress) -> tuple[Finding, Finding]:
    """The files that are no whole image, and those with the content of one seen in a split before."""
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        told = []
        for content in pool.map(lambda at: _content(index, at), range(len(index))):
            told.append(content)
            progress(len(told), len(index))
    names = [index.name(position) for position in range(len(index))]
    broken = tuple(name for name, (whole, _) in zip(names, told, strict=True) if not whole)
    repeated = tuple(
        f"{name} is {seen[digest]}" for name, (_, digest) in zip(names, told, strict=True) if digest and digest in seen
    )
    seen |= {digest: name for name, (_, digest) in zip(names, told, strict=True) if digest}
    return Finding(kind="broken_files", places=broken), Finding(kind="in_both_splits", places=repeated)


def _content(index: CocoIndex | FolderIndex, position: int) -> tuple[bool, bytes]:
    try:
        data = index.content(position)
    except OSError:
        return False, b""
    return is_whole(data), hashlib.blake2b(data.data, digest_size=16).digest()


def _described(split: str, source: str, index: CocoIndex, findings: tuple[Finding, ...]) -> SplitCheck:
    areas = index.areas[~index.crowd]
    sizes, counts = np.unique(index.sizes, axis=0, return_counts=True)
    by_count = sorted(zip(counts.tolist(), sizes.tolist(), strict=True), key=lambda pair: (-pair[0], pair[1]))
    return SplitCheck(
        split=split,
        source=source,
        images=len(index),
        classes=_classes(index),
        box_sizes={
            "small": int((areas < _MEDIUM).sum()),
            "medium": int(((areas >= _MEDIUM) & (areas < _LARGE)).sum()),
            "large": int((areas >= _LARGE).sum()),
        },
        image_sizes=[Size(width=size[0], height=size[1], images=count) for count, size in by_count],
        problems=[_problem(finding) for finding in findings if finding.places],
    )


def _problem(finding: Finding) -> Problem:
    what, fate = KINDS[finding.kind]
    return Problem(
        kind=finding.kind, what=what, fate=fate, harmless=finding.kind in HARMLESS, places=tuple(finding.places)
    )


def _classes(index: CocoIndex) -> list[ClassCount]:
    classes = len(index.category_names)
    owners = np.repeat(np.arange(len(index)), np.diff(index.box_starts))
    pairs = np.unique(np.stack([owners, index.labels]), axis=1)
    boxes = np.bincount(index.labels[~index.crowd], minlength=classes).tolist()
    crowds = np.bincount(index.labels[index.crowd], minlength=classes).tolist()
    images = np.bincount(pairs[1], minlength=classes).tolist()
    rows = zip(index.category_names, boxes, crowds, images, strict=True)
    return [ClassCount(name=name, boxes=box, crowds=crowd, images=image) for name, box, crowd, image in rows]


def _boxless(split: str, index: CocoIndex) -> Iterator[tuple[str, str]]:
    if not (~index.crowd).any():
        yield f"the {split} split has no box", "crowds and difficult objects alone teach nothing and measure nothing"


def _broken(data: Data, split: str, finding: Finding) -> Iterator[tuple[str, str]]:
    broken = len(finding.places)
    if broken > data.max_bad_images:
        problem = f"{broken} files of the {split} split are no whole images; more than {data.max_bad_images} end a run"
        yield problem, "mend them, or allow more: --set data.max_bad_images=N"
