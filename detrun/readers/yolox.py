"""YOLOX: what its log has beside COCO's summary: the start of each session, and the best AP in percent."""

import re
from collections.abc import Iterator

from detrun.readers.events import Best, Event, Family, Session
from detrun.readers.number import NUMBER, printed

_BEST = re.compile(r"Training of experiment is done and the best AP is (" + NUMBER + ")")


def read(text: str) -> Iterator[Event]:
    """The events of one line."""
    if "exp value:" in text:
        yield Session()
        return
    found = _BEST.search(text)
    best = printed(found[1], percent=True) if found else None
    if best:
        yield Best(best)


FAMILY = Family(name="yolox", markers=(b"best AP is", b"exp value:"), read=read)
