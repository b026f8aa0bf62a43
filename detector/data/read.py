"""Reads a split in whatever layout it lies. Reads annotations, and image headers where no annotation has the sizes."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from detector.config import Data
from detector.data.coco import read_coco
from detector.data.digits import resolve_root
from detector.data.index import CocoIndex
from detector.data.instances import ground_truth
from detector.data.layout import Format, Name, locate, recognise
from detector.data.report import DataReport
from detector.data.user_cache import keep
from detector.data.voc import read_voc
from detector.data.yolo import read_yolo


@dataclass(frozen=True, kw_only=True)
class Annotated:
    """A split as its annotations have it; `coco` is its COCO file, where that is its layout."""

    layout: Format
    index: CocoIndex
    report: DataReport
    coco: Path | None = None

    def ground_truth(self) -> Path:
        """What detections are compared with: its own COCO file, else one written to the user's cache.

        The written one is named by its content, which is the same for the same annotations on any machine. It is
        needed too where the data are a node's copy, which a later report cannot see.
        """
        if self.coco is not None and "DETRUN_DATA_ROOT" not in os.environ:
            return self.coco
        content = self.coco.read_bytes() if self.coco else ground_truth(self.index)
        return keep(f"annotations/{hashlib.sha256(content).hexdigest()[:16]}.json", content)


def read_split(data: Data, split: Name) -> Annotated:
    """The train or the val split that a configuration names.

    Raises:
        UserError: the root, a folder or an annotation file is missing, or is no use.
    """
    root = resolve_root(data.root)
    layout = recognise(data, root)
    if layout == "yolo":
        index, report = read_yolo(data, root, split)
        return Annotated(layout=layout, index=index, report=report)
    files = locate(data, root, split, layout)
    if layout == "voc":
        index, report = read_voc(root, files)
        return Annotated(layout=layout, index=index, report=report)
    index, report = read_coco(*files)
    return Annotated(layout=layout, index=index, report=report, coco=files.annotations)
