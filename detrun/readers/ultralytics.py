"""ultralytics' YOLOv5 to v11 and YOLOv7: the `all` row of the validation table, and the columns of `results.csv`.

Their AP is their own computation, close to COCO's and not equal to it, which every evaluation's flag says.
Only AP50 and AP are there; P and R are at one confidence and are not AR.
"""

import re
from collections.abc import Iterator, Mapping

from detrun.readers.events import Event, Family, Summary, Surroundings
from detrun.readers.number import NUMBER, Number, printed

OWN_AP = "engine: AP as ultralytics computes it, close to COCO's and not equal"

_ROW = re.compile(r"(?:^|\s)all\s+\d+\s+\d+\s+(?P<values>(?:" + NUMBER + r"\s*){4,8})$")
_HEADER = re.compile(r"Class\s+Images\s+\w+\s+(?P<columns>.*?mAP.*?)(?::\s|:?$)", re.MULTILINE)
_GROUP = re.compile(r"(?:(Box|Mask|Pose)\()?P\s+R\s+(mAP\S*)\s+(mAP[^\s)]*)")
_EPOCH = re.compile(r"^\s*(\d{1,9})/\d+\s+[\d.]+[GMK]B?\s", re.MULTILINE)
_AFTERWARDS = re.compile(r"Validating \S+best\S*|epochs completed in")
_TYPES = {"Box": "bbox", "Mask": "segm", "Pose": "keypoints", "": "bbox", "B": "bbox", "M": "segm", "P": "keypoints"}
_GROUP_SIZE = 4
_UNTITLED = ("bbox", "segm")

_COLUMN = re.compile(r"metrics/(?P<metric>mAP_0\.5|mAP_0\.5:0\.95|mAP50|mAP50-95)(?:\((?P<type>[BMP])\))?")
_METRICS = {"mAP_0.5": "AP50", "mAP50": "AP50", "mAP_0.5:0.95": "AP", "mAP50-95": "AP"}


def read(text: str, around: Surroundings) -> Iterator[Event]:
    """The events of one line."""
    row = _ROW.search(text.rstrip())
    if not row:
        return
    before = around.before()
    values, header = row["values"].split(), _header(before)
    groups = (
        [_TYPES[group[1] or ""] for group in _GROUP.finditer(header)]
        if header
        else _UNTITLED[: len(values) // _GROUP_SIZE]
    )
    flags = (OWN_AP,) if header else (OWN_AP, "columns: the table has no header; taken as P, R, mAP50, mAP50-95")
    afterwards = list(_AFTERWARDS.finditer(before))
    epochs = [found for found in _EPOCH.finditer(before) if not afterwards or found.start() > afterwards[-1].end()]
    for index, iou_type in enumerate(groups):
        metrics = _pair(values[index * _GROUP_SIZE + 2 : (index + 1) * _GROUP_SIZE])
        if metrics:
            yield Summary(
                source=FAMILY.name,
                values=metrics,
                iou_type=iou_type,
                epoch=int(epochs[-1][1]) if epochs else None,
                of_best=bool(afterwards) and not epochs,
                flags=flags,
            )


def _header(before: str) -> str:
    """The names of the table's columns behind the counts; older versions name F1 where newer ones have AP."""
    headers = list(_HEADER.finditer(before))
    return headers[-1]["columns"] if headers else ""


def _pair(words: list[str]) -> dict[str, Number]:
    numbers = zip(("AP50", "AP"), map(printed, words), strict=False)
    return {metric: number for metric, number in numbers if number is not None}


def columns(header: list[str]) -> dict[int, tuple[str, str]]:
    """The columns of a `results.csv` that hold AP: {column: (IoU type, metric)}; empty for another table."""
    found = {index: _COLUMN.fullmatch(name.strip()) for index, name in enumerate(header)}
    return {index: (_TYPES[name["type"] or ""], _METRICS[name["metric"]]) for index, name in found.items() if name}


def summaries(record: Mapping[str, str], where: dict[int, tuple[str, str]], cells: list[str]) -> Iterator[Summary]:
    """The evaluations in one line of a `results.csv`. `record` is the line by column name."""
    values: dict[str, dict[str, Number]] = {}
    for index, (iou_type, metric) in where.items():
        number = printed(cells[index]) if index < len(cells) else None
        if number:
            values.setdefault(iou_type, {})[metric] = number
    epoch = record.get("epoch", "").strip()
    for iou_type, metrics in values.items():
        yield Summary(
            source=FAMILY.name,
            values=metrics,
            iou_type=iou_type,
            epoch=int(epoch) if epoch.isdecimal() and len(epoch) < 10 else None,
            flags=(OWN_AP,),
        )


FAMILY = Family(name="ultralytics", markers=(b" all  ",), read_around=read)
