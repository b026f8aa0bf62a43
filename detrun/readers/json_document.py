"""Whole JSON documents: Hugging Face's `trainer_state.json`, and `all_results.json` and the like; our own evaluations.

They are read at once, up to a stated size; a log in JSON lines is no such document.
"""

import json
from collections.abc import Iterable
from typing import Any

from detector.records import METRICS
from detrun.readers.assemble import sessions_of
from detrun.readers.draft import Draft
from detrun.readers.evaluation import Log
from detrun.readers.events import Summary
from detrun.readers.number import stated, whole
from detrun.readers.transformers import summary_of

LARGEST_BYTES = 64 << 20


def is_document(head: bytes) -> bool:
    """Whether a file begins as an object that its first line does not close."""
    first = head.lstrip().split(b"\n", 1)[0].rstrip()
    return first == b"{" or (first.startswith(b"{") and (b"log_history" in head or b'"iou_type"' in head))


def read(chunks: Iterable[bytes]) -> list[Log]:
    """The run that a document tells of; none where it is no JSON, too large, or about something else."""
    content = bytearray()
    for chunk in chunks:
        content += chunk
        if len(content) > LARGEST_BYTES:
            return []
    drafts = []
    for index, summary in enumerate(filter(None, map(_summary, _entries(bytes(content))))):
        draft = Draft(iou_type=summary.iou_type, titles=(), session=1, start=index, quiet=False)
        draft.add_summary(summary)
        drafts.append(draft)
    evaluations = tuple(draft.finished(session=session, expected=0) for draft, session in sessions_of(drafts))
    families = dict.fromkeys(source for draft in drafts for source in draft.summaries)
    return [Log(families=tuple(families), evaluations=evaluations)] if drafts else []


def _summary(entry: dict[str, Any]) -> Summary | None:
    return summary_of(entry) or _ours(entry)


def _ours(entry: dict[str, Any]) -> Summary | None:
    """An evaluation as this project's trainer records it."""
    held, iou_type = entry.get("metrics"), entry.get("iou_type")
    if not isinstance(held, dict) or not isinstance(iou_type, str):
        return None
    values = {metric: number for metric in METRICS if (number := stated(held.get(metric)))}
    if "AP" not in values:
        return None
    epoch, step = whole(entry.get("epoch")), whole(entry.get("step"))
    return Summary(source="detrun", values=values, iou_type=iou_type, epoch=epoch, step=step)


def _entries(content: bytes) -> list[dict[str, Any]]:
    """The entries of `log_history`; a document without one is an entry itself. NaN is taken, damage gives none."""
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        return []
    history = document.get("log_history", [document]) if isinstance(document, dict) else []
    return [entry for entry in history if isinstance(entry, dict)] if isinstance(history, list) else []
