"""Logs for the tests: summaries as COCO's evaluation prints them, and damage done to logs."""

import random
import re
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path

from detector.records import METRICS
from detrun.readers.evaluation import Evaluation, Log
from detrun.readers.file import read_file

ROWS = (
    ("Average Precision  (AP)", "0.50:0.95", "all", "100"),
    ("Average Precision  (AP)", "0.50", "all", "100"),
    ("Average Precision  (AP)", "0.75", "all", "100"),
    ("Average Precision  (AP)", "0.50:0.95", "small", "100"),
    ("Average Precision  (AP)", "0.50:0.95", "medium", "100"),
    ("Average Precision  (AP)", "0.50:0.95", "large", "100"),
    ("Average Recall     (AR)", "0.50:0.95", "all", "1"),
    ("Average Recall     (AR)", "0.50:0.95", "all", "10"),
    ("Average Recall     (AR)", "0.50:0.95", "all", "100"),
    ("Average Recall     (AR)", "0.50:0.95", "small", "100"),
    ("Average Recall     (AR)", "0.50:0.95", "medium", "100"),
    ("Average Recall     (AR)", "0.50:0.95", "large", "100"),
)
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")


def values(start: float) -> list[float]:
    """Twelve numbers, each a hundredth above the one before."""
    return [round(start + place / 100, 3) for place in range(len(ROWS))]


def lines(numbers: Sequence[float], decimals: int = 3) -> list[str]:
    """The twelve lines."""
    return [
        f" {title} @[ IoU={iou:<9} | area={area:>6} | maxDets={limit:>3} ] = {number:.{decimals}f}"
        for (title, iou, area, limit), number in zip(ROWS, numbers, strict=True)
    ]


def block(numbers: Sequence[float], decimals: int = 3) -> str:
    """The twelve lines as text."""
    return "\n".join(lines(numbers, decimals)) + "\n"


def read_text(folder: Path, text: str | bytes, name: str = "log.txt") -> list[Log]:
    """What a file with this text reads as."""
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    logs = read_file(path)
    assert isinstance(logs, list), logs
    return logs


def evaluations(folder: Path, text: str | bytes, iou_type: str = "bbox") -> list[Evaluation]:
    """The evaluations of a log of one run."""
    (log,) = read_text(folder, text)
    return [each for each in log.evaluations if each.iou_type == iou_type]


def twelve(evaluation: Evaluation) -> list[float]:
    return [evaluation.metrics[metric] for metric in METRICS]


def stated_numbers(text: str) -> set[float]:
    """Every number that stands in a text, as it stands and divided by 100; and -1 where it says nan."""
    found = {-1.0} if "nan" in text.lower() else set()
    for word in _NUMBER.findall(text):
        try:
            number = Decimal(word)
            found |= {float(number), float(number.scaleb(-2))}
        except (InvalidOperation, OverflowError, ArithmeticError):
            continue
    return found


def invented(logs: Sequence[Log], text: str) -> list[object]:
    """What the logs claim and the text does not hold: metrics, rows, epochs and steps."""
    held = stated_numbers(text)
    claims: list[object] = []
    for log in logs:
        for each in log.evaluations:
            claims += [value for value in each.metrics.values() if value not in held]
            claims += [value for value in each.rows.values() if value not in held]
            claims += [count for count in (each.epoch, each.step) if count is not None and float(count) not in held]
    return claims


def damaged(rng: random.Random, page: list[bytes], donors: Sequence[bytes]) -> list[bytes]:
    """Some lines of a log, each perhaps cut, repeated, swapped, spliced or with bytes changed."""
    out: list[bytes] = []
    for line in page:
        kind = rng.random()
        if kind < 0.5:
            out.append(line)
        elif kind < 0.7:
            out.append(_changed(rng, line))
        elif kind < 0.8:
            out.append(line[: rng.randrange(len(line) + 1)])
        elif kind < 0.87:
            out += [line, line]
        elif kind < 0.93:
            out.append(rng.choice(donors))
        elif kind < 0.97:
            at = rng.randrange(len(line) + 1)
            out.append(line[:at] + rng.choice(donors) + line[at:])
        else:
            out.insert(rng.randrange(len(out) + 1), line)
    return out


def _changed(rng: random.Random, line: bytes) -> bytes:
    changed = bytearray(line)
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(changed) + 1)
        kind = rng.random()
        if kind < 0.35 and at < len(changed):
            changed[at] = rng.randrange(256)
        elif kind < 0.6 and at < len(changed):
            del changed[at : at + rng.randint(1, 4)]
        elif kind < 0.85:
            changed[at:at] = rng.choice(
                (b"9", b".", b"-", b"nan", b"{", b"}", b"[", b'"', b"\x1b[1m", b"e5", b"\r", b"|")
            )
        else:
            changed[at:at] = bytes(rng.randrange(256) for _ in range(rng.randint(1, 4)))
    return bytes(changed)
