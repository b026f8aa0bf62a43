"""Reads one file of any family, chosen by what it holds, never by its name."""

from itertools import chain
from pathlib import Path

import msgspec

from detrun.readers import json_document, results_csv
from detrun.readers.assemble import assemble
from detrun.readers.evaluation import Log, Unread
from detrun.readers.scan import scan
from detrun.readers.source import Source, SourceError


def read_file(path: Path) -> list[Log] | Unread:
    """Every run that a file tells of, or why it tells of none. Never raises for what a file holds."""
    if not path.is_file():
        return Unread(source=str(path), reason="not a file")
    source = Source(path)
    try:
        logs = _read(source)
    except SourceError as error:
        return Unread(source=str(path), reason=str(error))
    if not logs:
        return Unread(source=str(path), reason=source.damage or "no evaluation in it")
    if source.damage:
        return [msgspec.structs.replace(log, flags=(*log.flags, f"damaged: {source.damage}")) for log in logs]
    return logs


def _read(source: Source) -> list[Log]:
    chunks = source.chunks()
    head = next(chunks, b"")
    chunks = chain([head], chunks)
    if results_csv.is_results_csv(head):
        return results_csv.read(chunks)
    if json_document.is_document(head):
        if logs := json_document.read(chunks):
            return logs
        chunks = chain(source.chunks())
    return assemble(scan(chunks))
