"""Where runs of another program than our trainer stand: `status` rows filled from their logs. Reads only, but for a
file of what it read of runs that have ended.
"""

from pathlib import Path
from typing import Any

import msgspec

from detector.records import METRICS
from jobs import records
from jobs.errors import RunError
from jobs.overview import RunStatus, Status
from jobs.rundir import RunDir, stamp_of
from jobs.state import ENDED

# What programs call the number of epochs that they train for.
_TOTALS = ("epochs", "max_epochs", "num_epochs", "max_epoch")

Stamp = tuple[tuple[str, int, int], ...]


class _Progress(msgspec.Struct, frozen=True):
    """How far a run was, when its logs had this stamp; `epoch` counts the epochs that were evaluated from 1."""

    stamp: Stamp
    epoch: int | None = None
    step: int | None = None
    epochs: int | None = None
    metrics: dict[str, float] | None = None


class ForeignProgress:
    """Fills rows; a log that is as it was is not read again."""

    def __init__(self) -> None:
        self._known: dict[str, dict[str, _Progress]] = {}

    def fill(self, status: Status) -> Status:
        """The same rows, those of other programs with epoch and metrics."""
        fresh: set[str] = set()
        rows = [self._filled(row, fresh) if row.trainer else row for row in status.runs]
        for folder in fresh:
            _write(folder, self._known[folder])
        return msgspec.structs.replace(status, runs=rows)

    def _filled(self, row: RunStatus, fresh: set[str]) -> RunStatus:
        run = Path(row.path)
        folder = str(run.parent)
        if folder not in self._known:
            self._known[folder] = _read(folder)
        stamp = _stamp(run / "logs")
        known = self._known[folder].get(row.id)
        if known is None or known.stamp != stamp:
            known = self._known[folder][row.id] = _progress(run, stamp)
            if row.state in ENDED:
                fresh.add(folder)
        metrics: dict[str, float | None] = {name: (known.metrics or {}).get(name) for name in METRICS}
        return msgspec.structs.replace(
            row,
            epoch=known.epoch,
            epochs=known.epochs,
            step=known.step,
            metrics=metrics if known.metrics else None,
        )


def _progress(run: Path, stamp: Stamp) -> _Progress:
    from detrun.readers.foreign_run import evaluations_of

    config = msgspec.json.decode(RunDir(run).config_json.read_bytes())
    epochs = _total(config.get("params", {}))
    boxes = [each for each in evaluations_of(run) if each.iou_type == "bbox"]
    if not boxes:
        return _Progress(stamp, epochs=epochs)
    last = boxes[-1]
    from_zero = any(each.epoch == 0 for each in boxes)
    epoch = None if last.epoch is None else last.epoch + from_zero
    return _Progress(stamp, epoch=epoch, step=last.step, epochs=epochs, metrics=dict(last.metrics))


def _total(params: dict[str, Any]) -> int | None:
    for name, value in params.items():
        if name in _TOTALS and isinstance(value, int):
            return value
        if isinstance(value, dict) and (found := _total(value)) is not None:
            return found
    return None


def _stamp(logs: Path) -> Stamp:
    stamps = [(str(path.relative_to(logs)), stamp_of(str(path))) for path in sorted(logs.rglob("*.log"))]
    return tuple((name, *stamp) for name, stamp in stamps if stamp)


def _file(folder: str) -> Path:
    return Path(folder) / ".cache" / "foreign-1.msgpack"


def _read(folder: str) -> dict[str, _Progress]:
    try:
        return msgspec.msgpack.decode(_file(folder).read_bytes(), type=dict[str, _Progress])
    except (OSError, msgspec.MsgspecError):
        return {}


def _write(folder: str, known: dict[str, _Progress]) -> None:
    """Runs folders of other people cannot be written, and need not be."""
    try:
        records.write(_file(folder), msgspec.msgpack.encode(known))
    except RunError:
        return
