"""The summary that COCO's evaluation prints, in all its spellings: pycocotools, NVIDIA's fork, faster-coco-eval,
hotcoco, LVIS, mmdetection's proposals, and copies whose spaces collapsed.

The rows are described at https://cocodataset.org/#detection-eval. Prefixes (ranks, timestamps, loggers) do not
matter: rows are searched for, wherever in a line they stand.
"""

import re
from collections.abc import Iterator
from functools import lru_cache

from detrun.readers.evaluation import row_name
from detrun.readers.events import Event, Family, Kind, Row, Starting
from detrun.readers.number import NUMBER

_ROW = re.compile(
    r"Average\s+(?:Precision|Recall)\s*\((AP|AR)\)\s*@\[\s*IoU=\s*(?P<iou>[\d.]+(?:\s*:\s*[\d.]+)?)\s*\|"
    r"\s*area=\s*(?P<area>[A-Za-z]+)\s*\|\s*maxDets=\s*(?P<limit>-?\d+|all)\s*"
    r"(?:\|?\s*catIds=\s*(?P<categories>\w+)\s*)?\]\s*=\s*(?P<value>" + NUMBER + r"|-?nan\b|$)?"
)
_KIND = re.compile(r"(?:IoU metric:|valuate annotation type|valuating)\s+\**(bbox|segm|keypoints)\b")
_START = re.compile(r"valuate annotation type|per image evaluation|IoU metric:")
_UNLIMITED = "all"
_AREAS = {"s": "small", "m": "medium", "l": "large"}


def read(text: str) -> Iterator[Event]:
    """The events of one line."""
    if "IoU=" in text:
        yield from _rows(text)
        return
    if found := _KIND.search(text):
        yield Kind(found[1])
    if _START.search(text):
        yield Starting()


@lru_cache(maxsize=4096)
def _rows(text: str) -> tuple[Row, ...]:
    """The rows in a line: more than one where writers ran into each other."""
    return tuple(
        Row(_name(found), (found["value"] or "").strip())
        for found in _ROW.finditer(text)
        if found["value"] is not None or not text[found.end() :].strip()
    )


def _name(found: re.Match[str]) -> str:
    area = found["area"].lower()
    limit = _UNLIMITED if found["limit"].startswith("-") else found["limit"]
    categories = found["categories"]
    if categories and categories != "all":
        limit += f"/{categories}"
    return row_name(found[1], _iou(found["iou"]), _AREAS.get(area, area), limit)


def _iou(text: str) -> str:
    """`0.5`, `0.50` and `.50` are the same threshold."""
    parts = [part.strip() for part in text.split(":")]
    return ":".join(f"{float(part):.2f}" if re.fullmatch(NUMBER, part) else part for part in parts)


FAMILY = Family(
    name="coco summary",
    markers=(b"IoU", b"valuat"),
    read=read,
)
