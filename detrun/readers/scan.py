"""Finds the lines of a log that hold an evaluation, in one pass and at the speed of a byte search.

In: clean chunks of text. Out: what the families read in each line that holds one of their markers, in order.
"""

from collections.abc import Generator, Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple

from detrun.readers import coco_summary, detectron2, detr, mlperf, mmdet, transformers, ultralytics, yolox
from detrun.readers.epochs import EpochTrail
from detrun.readers.events import Event, Family, Row, Summary
from detrun.readers.source import text_of

FAMILIES: tuple[Family, ...] = (
    coco_summary.FAMILY,
    mlperf.FAMILY,
    mmdet.FAMILY,
    detectron2.FAMILY,
    detr.FAMILY,
    yolox.FAMILY,
    ultralytics.FAMILY,
    transformers.FAMILY,
)

# Families that share a marker share the search for it.
_MARKERS = {
    marker: [index for index, family in enumerate(FAMILIES) if marker in family.markers]
    for every in FAMILIES
    for marker in every.markers
}
_BEFORE_BYTES = 1 << 16
_AFTER_BYTES = 1 << 12
_CACHED_BYTES = 1 << 9
_TELLING = (Row, Summary)


class Found(NamedTuple):
    """What a family reads in one line. What stands around it is to be asked before the scan goes on.

    Attributes:
        family: its name.
        events: what the line says, at least one thing.
        start, end: where the line lies, in bytes of clean text.
        unfinished: the log ends in this line, without a newline.
    """

    family: str
    events: tuple[Event, ...]
    start: int
    end: int
    unfinished: bool
    scanner: "_Scanner"

    def before(self) -> bytes:
        """The text between the evaluation read last and this line, its last 64 KiB."""
        return self.scanner.before(self.start)

    def epoch(self) -> int | None:
        """The epoch that the lines before it name."""
        return self.scanner.epoch(self.start)

    def is_quoted(self) -> bool:
        """Whether it is a quotation of Markdown."""
        return self.scanner.line_at(self.start).lstrip().startswith(b">")


def scan(chunks: Iterable[bytes]) -> Iterator[Found]:
    """Everything that the families read in a log, in order."""
    scanner = _Scanner()
    rest = b""
    for chunk in chunks:
        rest = yield from scanner.read(rest + chunk, last=False)
    if rest:
        yield from scanner.read(rest, last=True)


class _Scanner:
    """Where the scan stands: `_offset` bytes lie before the current chunk, `_tail` the last of them."""

    def __init__(self) -> None:
        self._trail = EpochTrail()
        self._chunk = b""
        self._offset = 0
        self._tail = b""
        self._evaluated = 0

    def read(self, chunk: bytes, *, last: bool) -> Generator[Found, None, bytes]:
        """Read one chunk; returns the end of it that must be seen again together with what follows."""
        self._chunk = chunk
        done = len(chunk)
        for start, index in _hits(chunk):
            family = FAMILIES[index]
            if family.looks_ahead and not last and start + _AFTER_BYTES > len(chunk):
                done = start
                break
            end = _line_end(chunk, start)
            place = self._offset + start
            if family.read_around:
                events = tuple(family.read_around(text_of(chunk[start:end]), _Around(self, place, self._offset + end)))
            else:
                events = _events(index, chunk[start:end])
            if events:
                yield Found(family.name, events, place, self._offset + end, end == len(chunk), self)
                if isinstance(events[0], _TELLING) or isinstance(events[-1], _TELLING):
                    self._evaluated = self._offset + end
        self._trail.leave(chunk, done)
        self._tail = (self._tail + chunk[max(0, done - _BEFORE_BYTES) : done])[-_BEFORE_BYTES:]
        self._offset += done
        return chunk[done:]

    def before(self, place: int) -> bytes:
        """The text between the evaluation read last and a place, its last 64 KiB."""
        start = place - self._offset
        since = max(self._evaluated - self._offset, start - _BEFORE_BYTES)
        return self._chunk[since:start] if since >= 0 else self._tail[since:] + self._chunk[:start]

    def after(self, place: int, count: int) -> list[str]:
        """The next lines that are not empty."""
        start = place - self._offset
        lines = text_of(self._chunk[start : start + _AFTER_BYTES]).split("\n")
        return [line for line in lines if line.strip()][:count]

    def line_at(self, place: int) -> bytes:
        """The line at a place, its first bytes."""
        start = place - self._offset
        return self._chunk[start : start + _CACHED_BYTES]

    def epoch(self, place: int) -> int | None:
        """The epoch that the lines before a place name."""
        return self._trail.before(self._chunk, place - self._offset)


class _Around(NamedTuple):
    """What stands around a line, for families that ask."""

    scanner: _Scanner
    start: int
    end: int

    def before(self) -> str:
        return text_of(self.scanner.before(self.start))

    def after(self, count: int) -> list[str]:
        return self.scanner.after(self.end, count)


def _events(index: int, line: bytes) -> tuple[Event, ...]:
    return _cached_events(index, line) if len(line) <= _CACHED_BYTES else _events_of(index, line)


def _events_of(index: int, line: bytes) -> tuple[Event, ...]:
    read = FAMILIES[index].read
    return tuple(read(text_of(line))) if read else ()


# Ranks and epochs repeat each other's lines.
_cached_events = lru_cache(maxsize=1 << 14)(_events_of)


def _hits(chunk: bytes) -> list[tuple[int, int]]:
    """The lines that hold a marker: where they start, and the family's index; each line once for each family."""
    hits: set[tuple[int, int]] = set()
    for marker, families in _MARKERS.items():
        position = chunk.find(marker)
        while position >= 0:
            start = chunk.rfind(b"\n", 0, position) + 1
            for index in families:
                hits.add((start, index))
            position = chunk.find(marker, _line_end(chunk, position))
    return sorted(hits)


def _line_end(chunk: bytes, start: int) -> int:
    end = chunk.find(b"\n", start)
    return len(chunk) if end < 0 else end
