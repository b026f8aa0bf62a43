"""One question to each scheduler for all runs, never more often than every few seconds.

Answers of squeue are kept for a moment in the user's cache folder, so that `--watch` in ten terminals costs
the controller no more than one. A scheduler that does not answer is reported, not waited for.
"""

import fcntl
import os
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from jobs import pool, records
from jobs.errors import RunError, SchedulerError
from jobs.facts import Facts
from jobs.slurm_rows import HistoryRow, QueueRow, index
from jobs.state import Scheduler

FRESH_S = 3.0


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """squeue's last answer, as kept on disk. `rows` stay when a later call fails, with `asked_at` of their own."""

    asked_at: float
    tried_at: float
    error: str
    rows: list[QueueRow]


def ask(known: Sequence[Facts]) -> Scheduler:
    """What the schedulers say about those runs whose files do not settle it."""
    open_runs = [facts for facts in known if facts.job is not None and not facts.settled]
    on_slurm = [facts for facts in open_runs if facts.job and facts.job.executor == "slurm"]
    host = socket.gethostname()
    queued = _queued() if len(on_slurm) < len(open_runs) else ()
    if not on_slurm:
        return Scheduler(queued=queued, host=host)
    answer = _queue(sorted({facts.run.user for facts in on_slurm}))
    rows = {(row.folder, index(row.job_id)): row for row in answer.rows}
    ok = not answer.error
    history = _history(on_slurm, rows) if ok else {}
    return Scheduler(
        ok=ok, error=answer.error, asked_at=answer.asked_at, slurm=rows, history=history, queued=queued, host=host
    )


def _queued() -> tuple[str, ...]:
    return tuple(entry.run for entry in pool.waiting(pool.home()).values())


def _queue(users: list[str]) -> Answer:
    """squeue's answer, at most `FRESH_S` old where it answers at all."""
    kept = _cache("squeue", [os.environ.get("SLURM_CONF", ""), *users])
    last = _read(kept)
    if last and _is_fresh(last):
        return last
    with _turn(kept.with_suffix(".lock"), wait=last is None) as mine:
        last = _read(kept)
        if last and (_is_fresh(last) or not mine):
            return last
        answer = _ask_squeue(users, last)
        _write(kept, answer)
    return answer


def _ask_squeue(users: list[str], last: Answer | None) -> Answer:
    from jobs import slurm

    now = time.time()
    try:
        return Answer(asked_at=now, tried_at=now, error="", rows=slurm.queue(users))
    except SchedulerError as error:
        old = last or Answer(asked_at=now, tried_at=now, error="", rows=[])
        return Answer(asked_at=old.asked_at, tried_at=now, error=str(error), rows=old.rows)


def _is_fresh(answer: Answer) -> bool:
    return 0 <= time.time() - answer.tried_at < FRESH_S


@contextmanager
def _turn(path: Path, *, wait: bool) -> Iterator[bool]:
    """Whether it is this process that asks; others that look at the same moment take the last answer.

    Without a cache that can be written everybody asks.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a")
    except OSError:
        yield True
        return
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
            return
        yield True


def _history(on_slurm: Sequence[Facts], rows: dict[tuple[str, int], QueueRow]) -> dict[tuple[str, int], HistoryRow]:
    """sacct's last word on jobs that squeue no longer knows; nothing where there is no accounting."""
    gone = [facts.job for facts in on_slurm if facts.job and (facts.job.folder, facts.job.index) not in rows]
    ids = sorted({job.job_id.split("_")[0] for job in gone if job.job_id})
    if not ids:
        return {}
    from jobs import slurm

    try:
        found = slurm.history(ids, min(job.submitted_at for job in gone) - 60)
    except SchedulerError:
        return {}
    return {(row.folder, index(row.job_id)): row for row in found}


def _cache(name: str, words: list[str]) -> Path:
    from jobs.plan import digest

    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "detrun"
    return base / f"{name}-{digest(words)[:12]}.json"


def _read(path: Path) -> Answer | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Answer)
    except (OSError, msgspec.MsgspecError):
        return None


def _write(path: Path, answer: Answer) -> None:
    """A cache that cannot be written is no reason to fail."""
    try:
        records.write(path, msgspec.json.encode(answer))
    except RunError:
        return
