"""MLPerf's log lines: `:::MLLOG`, `:::MLL` and `:::MLPv0.5.0`, of which `eval_accuracy` is AP in full precision.

The format is described at https://github.com/mlcommons/logging. Other benchmarks log their own accuracy under
the same key; lines that name a benchmark which detects nothing are left alone.
"""

import re
from collections.abc import Iterator

from detrun.readers.events import Event, Family, Summary
from detrun.readers.json_line import object_in
from detrun.readers.number import Number, printed, stated, whole

_ACCURACY = re.compile(r":::ML\S*.*?(?<![A-Za-z_])eval_accuracy\"?:?\s*(?P<payload>.*)")
_OLD = re.compile(r":::MLPv0\.5\.0 (?P<benchmark>\w+)")
_DETECTORS = {"ssd", "ssd300", "maskrcnn", "mask_rcnn", "object_detection", "single_stage_detector", "retinanet"}
_TYPES = {"BBOX": "bbox", "SEGM": "segm"}


def read(text: str) -> Iterator[Event]:
    """The events of one line."""
    found, old = _ACCURACY.search(text), _OLD.search(text)
    if not found or (old and old["benchmark"].lower() not in _DETECTORS):
        return
    record = object_in(text)
    if record is None:
        yield from _summaries(printed(found["payload"], full=True), None)
        return
    metadata = record.get("metadata")
    place = {**record, **metadata} if isinstance(metadata, dict) else record
    epoch = whole(place.get("epoch_num", place.get("epoch")))
    value = record.get("value")
    if isinstance(value, dict):
        for name, iou_type in _TYPES.items():
            yield from _summaries(stated(value.get(name)), epoch, iou_type)
    else:
        yield from _summaries(stated(value), epoch)


def _summaries(ap: Number | None, epoch: int | None, iou_type: str = "bbox") -> Iterator[Event]:
    if ap is not None:
        yield Summary(source=FAMILY.name, values={"AP": ap}, iou_type=iou_type, epoch=epoch)


FAMILY = Family(name="mlperf", markers=(b"eval_",), read=read)
