"""What the files of a run say, without asking any scheduler. Reads only; tolerant of torn and missing files."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any

import msgspec

from detector.records import Event, Metrics, decode_lines
from jobs import records
from jobs.errors import RunError
from jobs.rundir import RunDir

ENDS = ("done", "failed", "cancelled")
_TAIL_BYTES = 4096


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """The part of an evaluation's record that a table of runs shows."""

    epoch: int
    metrics: dict[str, float]


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """How much of a cluster a run takes."""

    nodes: int = 1
    gpus: int = 0


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """The part of `run.json` that a table of runs shows."""

    id: str
    recipe: str
    sweep: str | None
    overrides: dict[str, Any]
    user: str
    trainer: str | None = None
    resources: Shape


class Hold(msgspec.Struct, frozen=True, kw_only=True):
    """The part of `job.json` that tells where a run is; see `records.Job`."""

    executor: str
    folder: str
    submitted_at: float
    resources: Shape
    host: str
    index: int = 0
    job_id: str = ""
    attempts_before: int = 0


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """A run as its files tell it. Times are Unix seconds.

    `last` is the last event but heartbeats, `beat_at` the last sign of life, `node_s` the seconds that all
    attempts lasted, each counted until its last event.
    """

    run: Origin
    job: Hold | None
    attempts: int
    last: str
    reason: str
    started_at: float | None
    ended_at: float | None
    beat_at: float | None
    attempt_started_at: float | None
    node_s: float
    hosts: list[str]
    progress: Metrics | None
    evaluation: Summary | None
    cancelled: bool

    @property
    def settled(self) -> bool:
        """Whether the files alone say how it ended, so that nothing will change without a new submission."""
        return self.last in ENDS or self.cancelled


def gather(directory: RunDir) -> Facts:
    """Read one run's files.

    Raises:
        RunError: the run's own record is missing or broken.
    """
    run = records.read_record(directory.run_json, Origin)
    if run is None:
        raise RunError(f"{directory.path} is no run directory: it has no run.json")
    job = records.read_record(directory.job_json, Hold)
    events = directory.all_events(job.resources.nodes if job else 1)
    starts = [event for event in events if event.event == "start"]
    last = _verdict(events, job.attempts_before if job else 0)
    metrics = decode_lines(_tail(directory.metrics), Metrics)
    ended = last is not None and last.event in ENDS
    return Facts(
        run=run,
        job=job,
        attempts=max((event.attempt for event in starts), default=0),
        last=last.event if last else "",
        reason=_reason(last),
        started_at=starts[0].t if starts else None,
        ended_at=last.t if last and ended else None,
        beat_at=events[-1].t if events else None,
        attempt_started_at=starts[-1].t if starts else None,
        node_s=_seconds(events),
        hosts=list(starts[-1].nodes or []) if starts else [],
        progress=metrics[-1] if metrics else None,
        evaluation=last_evaluation(directory),
        cancelled=directory.cancelled.exists(),
    )


def last_evaluation(directory: RunDir) -> Summary | None:
    """The newest evaluation that is whole."""
    try:
        names = sorted((name for name in os.listdir(directory.evaluations) if name.endswith(".json")), reverse=True)  # noqa: PTH208
    except OSError:
        return None
    for name in names:
        summary = _summary(directory.evaluations / name)
        if summary:
            return summary
    return None


def losses(directory: RunDir, points: int = 8) -> list[float]:
    """The loss at evenly spaced rows of a run's metrics, for a sparkline."""
    try:
        size = directory.metrics.stat().st_size
        with directory.metrics.open("rb") as file:
            return [
                loss for loss in (_loss_at(file, size * part // points) for part in range(points)) if loss is not None
            ]
    except OSError:
        return []


def _loss_at(file: IO[bytes], offset: int) -> float | None:
    file.seek(offset)
    rows = decode_lines(file.read(2 * _TAIL_BYTES), Metrics)
    return rows[0].loss if rows else None


def _verdict(events: list[Event], attempts_before: int) -> Event | None:
    """The event that says how the last attempt of this submission stands.

    What the head node calls done is done, however torchrun ends on the others; a failure's true cause comes before
    its echoes.
    """
    attempt = max((event.attempt for event in events), default=0)
    telling = [event for event in events if event.attempt == attempt > attempts_before and event.event != "heartbeat"]
    done = [event for event in telling if event.event == "done"]
    if done:
        return done[-1]
    failures = [event for event in telling if event.event == "failed"]
    if failures and telling[-1].event in ("failed", "start", "staging", "staged", "stopping"):
        return min(failures, key=lambda event: (bool(event.echo), event.t))
    return telling[-1] if telling else None


def _reason(event: Event | None) -> str:
    if event is None:
        return ""
    where = f"rank {event.rank} on {event.host}: " if event.rank is not None else ""
    return where + (event.reason or "")


def _seconds(events: Iterable[Event]) -> float:
    """How long the attempts lasted, summed; each ends with its last event. A clock that is set back takes nothing."""
    total, before = 0.0, dict[int, float]()
    for event in events:
        total += max(0.0, event.t - before.get(event.attempt, event.t))
        before[event.attempt] = event.t
    return total


def _summary(path: Path) -> Summary | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Summary)
    except (OSError, msgspec.MsgspecError):
        return None


def _tail(path: Path) -> bytes:
    """The last whole lines of a file."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _TAIL_BYTES))
            return file.read()
    except OSError:
        return b""
