"""Hugging Face's Trainer: `'eval_map': 0.2896` in printed dicts, and `trainer_state.json`, `all_results.json`.

The metrics are torchmetrics' `MeanAveragePrecision`; `map_per_class` and the like are left alone.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from detrun.readers.events import Event, Family, Summary
from detrun.readers.number import NUMBER, Number, printed, stated, whole

_ITEM = re.compile(
    r"['\"](?:\w+?_)??(?P<name>map|mar)(?P<part>_\w+)?['\"]:\s*(?:tensor\()?['\"]?(?P<value>" + NUMBER + ")"
)
_EPOCH = re.compile(r"['\"]epoch['\"]:\s*['\"]?(" + NUMBER + ")")
_KEY = re.compile(r"(?:eval|test|val)_(map|mar)(_\w+)?")
_METRICS = {
    ("map", None): "AP",
    ("map", "_50"): "AP50",
    ("map", "_75"): "AP75",
    ("map", "_small"): "APs",
    ("map", "_medium"): "APm",
    ("map", "_large"): "APl",
    ("mar", "_1"): "AR1",
    ("mar", "_10"): "AR10",
    ("mar", "_100"): "AR100",
    ("mar", "_small"): "ARs",
    ("mar", "_medium"): "ARm",
    ("mar", "_large"): "ARl",
}


def read(text: str) -> Iterator[Event]:
    """The events of one line that holds a whole dict."""
    if "eval_map" not in text:
        return
    values = {}
    for found in _ITEM.finditer(text):
        metric = _METRICS.get((found["name"], found["part"]))
        number = printed(found["value"])
        if metric and number:
            values[metric] = number
    epoch = _EPOCH.search(text)
    if "AP" in values:
        yield Summary(source=FAMILY.name, values=values, epoch=whole(float(epoch[1])) if epoch else None)


def summary_of(entry: Mapping[str, Any]) -> Summary | None:
    """The evaluation in one entry of a `trainer_state.json`, or in a whole `all_results.json`."""
    values: dict[str, Number] = {}
    for key, value in entry.items():
        found = _KEY.fullmatch(key)
        metric = _METRICS.get((found[1], found[2])) if found else None
        number = stated(value)
        if metric and number:
            values[metric] = number
    if "AP" not in values:
        return None
    epoch, step = whole(entry.get("epoch")), whole(entry.get("step"))
    return Summary(source=FAMILY.name, values=values, epoch=epoch, step=step)


FAMILY = Family(name="transformers", markers=(b"eval_",), read=read)
