"""JSON objects inside log lines: after any prefix, with bare NaN, cut short or damaged."""

import json
from typing import Any

import msgspec

_DECODER = json.JSONDecoder()


def object_in(text: str) -> dict[str, Any] | None:
    """The first JSON object that stands in a line, None where there is none or it is damaged."""
    start = text.find("{")
    if start < 0:
        return None
    text = text[start:].rstrip()
    try:
        found = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        found = _tolerantly(text)
    return found if isinstance(found, dict) else None


def _tolerantly(text: str) -> object:
    """With NaN and Infinity, and with something behind the object."""
    try:
        return _DECODER.raw_decode(text)[0]
    except (ValueError, RecursionError):
        return None
