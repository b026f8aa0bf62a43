"""Training loss of runs of our own over epochs, seconds and images. Reads `metrics.jsonl` and the first event."""

from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from statistics import fmean

import msgspec

from detector.records import Event, decode_lines
from detrun.comparison import Run, Value

MOST_POINTS = 300
_START_BYTES = 1 << 12


class LossCurve(msgspec.Struct, frozen=True, kw_only=True):
    """(N,) mean loss, and where: epochs done, seconds since the first start, images seen; `()` where not known."""

    epoch: tuple[float, ...] = ()
    seconds: tuple[float, ...] = ()
    images: tuple[int, ...] = ()
    loss: tuple[float, ...] = ()


class _Row(msgspec.Struct, frozen=True, kw_only=True):
    t: float
    epochs: int
    step: int
    steps: int
    loss: float | None


def loss_of(run: Run, most: int = MOST_POINTS) -> LossCurve:
    """The loss of a run, in at most `most` means over neighbouring rows; empty where there is none.

    Rows that a resumed run wrote a second time count as it wrote them last.
    """
    metrics, batch_size = Path(run.source) / "metrics.jsonl", run.config.get("optim.batch_size")
    try:
        written = metrics.stat()
    except OSError:
        return LossCurve()
    return _loss(metrics, written.st_size, batch_size, most) if run.ours else LossCurve()


@lru_cache(maxsize=1024)
def _loss(metrics: Path, _size: int, batch_size: Value, most: int) -> LossCurve:
    """Read once for each size that the file has had."""
    rows = _last_told(decode_lines(_bytes(metrics), _Row))
    groups = _groups([row for row in rows if row.loss is not None and row.steps > 0], most)
    ends = [group[-1] for group in groups]
    started = _started(metrics.with_name("events.jsonl"))
    return LossCurve(
        epoch=tuple(row.step / row.steps * row.epochs for row in ends),
        seconds=tuple(row.t - started for row in ends) if started is not None else (),
        images=tuple(row.step * batch_size for row in ends) if isinstance(batch_size, int) else (),
        loss=tuple(fmean(row.loss for row in group if row.loss is not None) for group in groups),
    )


def _last_told(rows: Sequence[_Row]) -> list[_Row]:
    """Steps in order: a row takes the place of those before it that are as far or further."""
    kept: list[_Row] = []
    for row in rows:
        while kept and kept[-1].step >= row.step:
            kept.pop()
        kept.append(row)
    return kept


def _groups(rows: Sequence[_Row], most: int) -> list[Sequence[_Row]]:
    """Neighbours, in `most` groups of about the same size or one row each."""
    count = min(most, len(rows))
    ends = [round(place * len(rows) / count) for place in range(count + 1)] if count else []
    return [rows[start:end] for start, end in pairwise(ends)]


def _started(path: Path) -> float | None:
    """When the first attempt started, Unix seconds."""
    events = decode_lines(_bytes(path, _START_BYTES), Event)
    return events[0].t if events else None


def _bytes(path: Path, most: int = -1) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(most)
    except OSError:
        return b""
