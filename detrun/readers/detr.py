"""DETR and its descendants (Deformable DETR, DINO, RT-DETR, D-FINE): JSON lines with COCO's `stats`, and `best_stat`.

`test_coco_eval_bbox` and `test_coco_eval_masks` hold the twelve numbers in COCO's order and full precision.
"""

import re
from collections.abc import Iterator

from detector.records import METRICS
from detrun.readers.events import Event, Fact, Family, Summary
from detrun.readers.json_line import object_in
from detrun.readers.number import NUMBER, Number, printed, stated, whole

_TYPES = {"test_coco_eval_bbox": "bbox", "test_coco_eval_masks": "segm"}
_BEST = re.compile(r"best_stat:\s*\{'epoch':\s*(?P<epoch>\d{1,9}),\s*'coco_eval_bbox':\s*(?P<ap>" + NUMBER + ")")


def read(text: str) -> Iterator[Event]:
    """The events of one line."""
    if "coco_eval_" not in text:
        return
    if "best_stat" in text:
        yield from _best(text)
        return
    record = object_in(text) or {}
    for key, iou_type in _TYPES.items():
        values = _stats(record.get(key))
        if values:
            epoch = whole(record.get("epoch"))
            yield Summary(source=f"{FAMILY.name} json", values=values, iou_type=iou_type, epoch=epoch)
    parameters = whole(record.get("n_parameters"))
    if parameters:
        yield Fact("parameters", parameters)


def _stats(stats: object) -> dict[str, Number]:
    """COCO's twelve numbers by name; faster-coco-eval adds two more behind them."""
    if not isinstance(stats, list) or len(stats) not in (12, 14):
        return {}
    numbers = zip(METRICS, map(stated, stats[:12]), strict=True)
    return {metric: number for metric, number in numbers if number is not None}


def _best(text: str) -> Iterator[Event]:
    """RT-DETR repeats the best AP after each epoch; it makes that epoch's rows precise."""
    found = _BEST.search(text)
    ap = printed(found["ap"], full=True) if found else None
    if found and ap:
        yield Summary(source="best_stat", values={"AP": ap}, iou_type="bbox", epoch=int(found["epoch"]), alone=False)


FAMILY = Family(name="detr", markers=(b"eval_",), read=read)
