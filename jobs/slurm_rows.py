"""What squeue and sacct print, as values. Apart from `jobs.slurm`, which needs submitit. Pure."""

from datetime import datetime

import msgspec

QUEUE_COLUMNS = "%i|%T|%S|%Z|%r"
HISTORY_COLUMNS = "JobID,State,ElapsedRaw,ExitCode,Start,End,WorkDir"


class QueueRow(msgspec.Struct, frozen=True, kw_only=True):
    """One job as squeue shows it. `start_at` is when it started or is expected to, Unix seconds."""

    job_id: str
    state: str
    reason: str
    start_at: float | None
    folder: str


class HistoryRow(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt of a job as sacct shows it."""

    job_id: str
    state: str
    elapsed_s: int
    exit_code: str
    started_at: float | None
    ended_at: float | None
    folder: str


def queue_rows(text: str) -> list[QueueRow]:
    """The rows of `squeue --noheader --array --format=QUEUE_COLUMNS`."""
    rows = []
    for line in text.splitlines():
        if line.count("|") >= 4:
            job_id, state, start, folder, reason = line.split("|", 4)
            rows.append(
                QueueRow(
                    job_id=job_id, state=state, reason=reason.replace("None", ""), start_at=_unix(start), folder=folder
                )
            )
    return rows


def history_rows(text: str) -> list[HistoryRow]:
    """The rows of `sacct -P -n --format=HISTORY_COLUMNS`, attempts of a job in order of time."""
    rows = []
    for line in text.splitlines():
        if line.count("|") >= 6:
            job_id, state, elapsed, exit_code, start, end, folder = line.split("|", 6)
            times = {"started_at": _unix(start), "ended_at": _unix(end)}
            elapsed_s = int(elapsed or 0)
            rows.append(
                HistoryRow(job_id=job_id, state=state, elapsed_s=elapsed_s, exit_code=exit_code, folder=folder, **times)
            )
    return rows


def index(job_id: str) -> int:
    """A job's place in its array, 0 for a job that is alone."""
    tail = job_id.partition("_")[2]
    return int(tail) if tail.isdigit() else 0


def _unix(text: str) -> float | None:
    """Slurm's local time, `None` for `N/A` and `Unknown`."""
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return None
