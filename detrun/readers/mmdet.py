"""mmdetection 2 (text and `.log.json`) and 3 (mmengine's text and `vis_data/*.json`): `bbox_mAP`, `coco/bbox_mAP`.

Both round to three decimals before they log, whatever they print. AR is absent unless the log has `AR@100`.
"""

import re
from collections.abc import Iterator

from detrun.readers.evaluation import FULL_RANGE, row_name
from detrun.readers.events import Event, Family, Summary
from detrun.readers.json_line import object_in
from detrun.readers.number import NUMBER, Number, printed, whole

_VALUE = re.compile(
    r"(?<![\w-])(?:\w+/)?(?:(?P<type>bbox|segm)_mAP(?P<part>_50|_75|_s|_m|_l)?|AR(?P<area>_[sml])?@(?P<limit>\d+))"
    r"\"?:\s*(?P<value>" + NUMBER + ")"
)
_COPYPASTE = re.compile(r"(?P<type>bbox|segm)_mAP_copypaste\"?:\s*\"?(?P<values>(?:-?[\d.]+\s+){5}-?[\d.]+)")
_PLACE = re.compile(r"\b(?:Epoch|Iter)\s?\((?:val|test)\)\s*\[(\d{1,9})\]")
_METRICS = {None: "AP", "_50": "AP50", "_75": "AP75", "_s": "APs", "_m": "APm", "_l": "APl"}
_AREAS = {None: "all", "_s": "small", "_m": "medium", "_l": "large"}
_DECIMALS = 3

_ByType = dict[str, dict[str, Number]]


def read(text: str) -> Iterator[Event]:
    """The events of one line. Where a line holds the values twice, as text and to copy, they are read once."""
    named = _named(text)
    epoch, step = _place(text)
    form = "line" if named else "copypaste"
    for iou_type, values in (named or _copypaste(text)).items():
        yield Summary(source=f"{FAMILY.name} {form}", values=values, iou_type=iou_type, epoch=epoch, step=step)


def _named(text: str) -> _ByType:
    found: _ByType = {}
    for match in _VALUE.finditer(text):
        if match["type"]:
            _put(found, match["type"], _METRICS[match["part"]], match["value"])
        else:
            name = row_name("AR", FULL_RANGE, _AREAS[match["area"]], match["limit"])
            _put(found, "bbox", name, match["value"])
    return found


def _copypaste(text: str) -> _ByType:
    found: _ByType = {}
    for match in _COPYPASTE.finditer(text):
        for metric, word in zip(_METRICS.values(), match["values"].split(), strict=True):
            _put(found, match["type"], metric, word)
    return found


def _put(found: _ByType, iou_type: str, name: str, text: str) -> None:
    number = printed(text)
    if number is not None:
        found.setdefault(iou_type, {})[name] = number._replace(decimals=_DECIMALS)


def _place(text: str) -> tuple[int | None, int | None]:
    """Epoch and step. mmengine's JSON has a `step` alone, which counts whatever its loop counts."""
    if found := _PLACE.search(text):
        count = int(found[1])
        return (count, None) if "Epoch" in found[0] else (None, count)
    record = object_in(text) or {}
    return whole(record.get("epoch")), whole(record.get("step"))


FAMILY = Family(name="mmdetection", markers=(b"_mAP", b"AR@"), read=read)
