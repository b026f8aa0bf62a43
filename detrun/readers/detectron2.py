"""detectron2: the table and the `copypaste` lines of its evaluators, and `metrics.json`. All in percent.

It writes `nan` where COCO says -1: the ground truth has nothing in that slice. Its logs count steps, not epochs.
The first Detectron, whose `copypaste` lines call the tasks `box` and `mask`, writes fractions.
"""

import re
from collections.abc import Iterable, Iterator

from detrun.readers.evaluation import FULL_RANGE, row_name
from detrun.readers.events import Event, Family, Kind, Summary, Surroundings
from detrun.readers.json_line import object_in
from detrun.readers.number import ABSENT, Number, printed, stated, whole

_SHOWN = re.compile(r"Evaluation results for (bbox|segm|keypoints)|copypaste: Task: (bbox|segm|keypoints|box|mask)\b")
_FIRST_DETECTRON = {"box": "bbox", "mask": "segm"}
_COPYPASTE = re.compile(r"copypaste:\s*(.+)")
_JSON_KEY = re.compile(r"(?:\w+/)*(bbox|segm)/(AP\w*|AR\w*@\d+)")
_RECALL = re.compile(r"AR(?P<area>[sml]?)@(?P<limit>\d+)")
_TASK = re.compile(r"copypaste: Task: (\w+)")
_LINES_BELOW, _TASK_REACH = 5, 2000
_AREAS = {"": "all", "s": "small", "m": "medium", "l": "large"}
_PRECISIONS = {"AP", "AP50", "AP75", "APs", "APm", "APl"}


def read(text: str, around: Surroundings) -> Iterator[Event]:
    """The events of one line, with the table or the values below it."""
    if found := _SHOWN.search(text):
        task = found[1] or found[2]
        yield Kind(_FIRST_DETECTRON.get(task, task))
        yield from _table(around, found[1])
    elif "copypaste:" in text:
        yield from _copypaste(text, around)
    elif "/AP" in text:
        yield from _metrics_json(text)


def _table(around: Surroundings, iou_type: str | None) -> Iterator[Event]:
    """The table under `Evaluation results for`: a line of names, a rule, a line of values."""
    rows = [line for line in around.after(_LINES_BELOW) if line.count("|") > 2]
    if iou_type and len(rows) >= 3:
        yield from _summary("table", _cells(rows[0]), _cells(rows[2]), iou_type)


def _copypaste(text: str, around: Surroundings) -> Iterator[Event]:
    """A line of names and, below it, one of values; above them the task, whose word tells percent from fractions."""
    below = [found[1] for line in around.after(_LINES_BELOW) if (found := _COPYPASTE.search(line))]
    names = _COPYPASTE.search(text)
    if names and below and names[1].startswith("AP,"):
        tasks = _TASK.findall(around.before()[-_TASK_REACH:])
        percent = not tasks or tasks[-1] not in _FIRST_DETECTRON
        yield from _summary("copypaste", names[1].split(","), below[0].split(","), "", percent=percent)


def _metrics_json(text: str) -> Iterator[Event]:
    record = object_in(text) or {}
    values: dict[str, dict[str, Number]] = {}
    for key, value in record.items():
        found = _JSON_KEY.fullmatch(key)
        name = _name(found[2]) if found else None
        number = _percent(value)
        if found and name and number:
            values.setdefault(found[1], {})[name] = number
    for iou_type, metrics in values.items():
        step = whole(record.get("iteration"))
        yield Summary(source=f"{FAMILY.name} json", values=metrics, iou_type=iou_type, step=step)


def _summary(
    form: str, names: Iterable[str], values: Iterable[str], iou_type: str, *, percent: bool = True
) -> Iterator[Event]:
    metrics = {}
    for name, text in zip(names, values, strict=False):
        known, number = _name(name.strip()), _number(text.strip(), percent=percent)
        if known and number:
            metrics[known] = number
    if metrics:
        yield Summary(source=f"{FAMILY.name} {form}", values=metrics, iou_type=iou_type)


def _name(text: str) -> str | None:
    if text in _PRECISIONS:
        return text
    found = _RECALL.fullmatch(text)
    return row_name("AR", FULL_RANGE, _AREAS[found["area"]], found["limit"]) if found else None


def _number(text: str, *, percent: bool) -> Number | None:
    return Number(ABSENT, None, percent=percent) if text == "nan" else printed(text, percent=percent)


def _percent(value: object) -> Number | None:
    if isinstance(value, float) and value != value:
        return Number(ABSENT, None, percent=True)
    return stated(value, percent=True)


def _cells(line: str) -> list[str]:
    return line[line.find("|") + 1 : line.rfind("|")].split("|")


FAMILY = Family(
    name="detectron2",
    markers=(b"valuat", b"copypaste: ", b"/AP"),
    read_around=read,
    looks_ahead=True,
)
