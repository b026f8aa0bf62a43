"""ultralytics' `results.csv`: one line an epoch, under a header whose names are padded with spaces."""

from collections.abc import Iterable, Iterator

from detrun.readers.assemble import sessions_of
from detrun.readers.draft import Draft
from detrun.readers.evaluation import Log
from detrun.readers.source import text_of
from detrun.readers.ultralytics import FAMILY, columns, summaries

_HEADER_KEYWORD = "metrics/mAP"


def is_results_csv(head: bytes) -> bool:
    """Whether a file begins with such a header, as its first line that is not empty."""
    first = head.lstrip().split(b"\n", 1)[0]
    return b"," in first and _HEADER_KEYWORD.encode() in first


def read(chunks: Iterable[bytes]) -> list[Log]:
    """The run that a `results.csv` tells of; no log where no line of it holds a metric."""
    drafts: list[Draft] = []
    damaged = 0
    for cells in _records(chunks):
        found = list(_drafts(cells, len(drafts)))
        drafts += found
        damaged += not found
    evaluations = (draft.finished(session=session, expected=0) for draft, session in sessions_of(drafts))
    flags = (f"damaged: {damaged} lines hold no metric",) if damaged else ()
    return [Log(families=(FAMILY.name,), evaluations=tuple(evaluations), flags=flags)] if drafts else []


def _records(chunks: Iterable[bytes]) -> Iterator[list[tuple[str, str]]]:
    """Each line as (column, cell) pairs. A header in the midst of a file, from a resumed run, is taken up."""
    header: list[str] = []
    for line in (line for chunk in chunks for line in chunk.split(b"\n") if line.strip()):
        cells = [cell.strip() for cell in text_of(line).split(",")]
        if any(cell.startswith(_HEADER_KEYWORD) for cell in cells):
            header = cells
        else:
            yield list(zip(header, cells, strict=False))


def _drafts(record: list[tuple[str, str]], start: int) -> Iterator[Draft]:
    where = columns([name for name, _ in record])
    for summary in summaries(dict(record), where, [cell for _, cell in record]):
        draft = Draft(iou_type=summary.iou_type, titles=(), session=1, start=start, quiet=False)
        draft.add_summary(summary)
        yield draft
