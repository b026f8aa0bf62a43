"""How a run stands: its files first, then what the scheduler says. Pure; facts, queue rows and the clock come in."""

from collections.abc import Mapping
from typing import Literal

import msgspec

from jobs import procfs
from jobs.facts import Facts
from jobs.records import HEARTBEAT_S
from jobs.slurm_rows import HistoryRow, QueueRow

State = Literal["planned", "pending", "running", "stalled", "requeued", "done", "failed", "cancelled", "lost"]
STATES: tuple[State, ...] = (
    "planned",
    "pending",
    "running",
    "stalled",
    "requeued",
    "done",
    "failed",
    "cancelled",
    "lost",
)
ENDED: tuple[State, ...] = ("done", "failed", "cancelled", "lost")

STALLED_S = 5 * HEARTBEAT_S
# A new job needs a moment until the scheduler shows it.
_SETTLING_S = 30.0

_WAITING = ("PENDING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "RESV_DEL_HOLD", "SPECIAL_EXIT")
_GOING = ("RUNNING", "COMPLETING", "CONFIGURING", "RESIZING", "SIGNALING", "STAGE_OUT", "STOPPED", "SUSPENDED")
_WORDS = {
    "TIMEOUT": "the time limit came before a checkpoint",
    "NODE_FAIL": "the node failed",
    "OUT_OF_MEMORY": "out of host memory",
    "BOOT_FAIL": "the node did not boot",
    "DEADLINE": "the deadline passed",
    "PREEMPTED": "preempted",
    "REVOKED": "revoked by Slurm",
}


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """A run's state, why, and when it starts or started if a scheduler knows.

    `job_id` is Slurm's, where the submission broke off before it was written down.
    """

    state: State
    reason: str = ""
    start_at: float | None = None
    job_id: str = ""


class Scheduler(msgspec.Struct, frozen=True, kw_only=True):
    """What the schedulers said, at `asked_at`.

    `slurm` and `history` are by (folder, index); `queued` are the runs that wait on this machine, in order. `ok`
    is `None` where there was nothing to ask.
    """

    ok: bool | None = None
    error: str = ""
    asked_at: float | None = None
    slurm: Mapping[tuple[str, int], QueueRow] = {}
    history: Mapping[tuple[str, int], HistoryRow] = {}
    queued: tuple[str, ...] = ()
    host: str = ""


def stand(facts: Facts, path: str, scheduler: Scheduler, now: float) -> Standing:
    """The state of one run."""
    if facts.last in ("done", "failed") and not facts.cancelled:
        return Standing(state="done" if facts.last == "done" else "failed", reason=facts.reason)
    if facts.cancelled or facts.last == "cancelled":
        return Standing(state="done" if facts.last == "done" else "cancelled", reason=facts.reason)
    if facts.job is None:
        return Standing(state="planned", reason="never submitted")
    if facts.job.executor == "slurm":
        return _on_slurm(facts, scheduler, now)
    return _on_machine(facts, path, scheduler, now)


def _on_slurm(facts: Facts, scheduler: Scheduler, now: float) -> Standing:
    assert facts.job is not None
    place = (facts.job.folder, facts.job.index)
    row = scheduler.slurm.get(place)
    if row is not None:
        return msgspec.structs.replace(_from_queue(facts, row, now), job_id=row.job_id)
    if not scheduler.ok:
        return _from_files(facts, now)
    if place in scheduler.history:
        return _ended(scheduler.history[place].state)
    if abs(now - facts.job.submitted_at) < _SETTLING_S:
        return Standing(state="pending", reason="just submitted")
    if not facts.job.job_id:
        return Standing(state="planned", reason="its submission broke off; submit it again")
    if facts.beat_at is not None and now - facts.beat_at < STALLED_S:
        return _from_files(facts, now)
    return Standing(state="lost", reason="Slurm no longer knows it and it left no record of its end")


def _from_queue(facts: Facts, row: QueueRow, now: float) -> Standing:
    word = row.state.split()[0]
    if word in _WAITING:
        state: State = "requeued" if _ran(facts) else "pending"
        return Standing(state=state, reason=row.reason, start_at=row.start_at)
    if word in _GOING:
        started = facts.attempt_started_at is not None and facts.last != "requeued"
        if started and word == "RUNNING" and facts.beat_at is not None and now - facts.beat_at > STALLED_S:
            return _stalled(facts, now)
        if facts.last == "requeued":
            return Standing(state="requeued", reason=facts.reason, start_at=row.start_at)
        reason = _doing(facts) if started else "starting"
        if word not in ("RUNNING", "CONFIGURING"):
            reason = word.lower()
        return Standing(state="running", reason=reason, start_at=row.start_at)
    return _ended(word)


def _ended(word: str) -> Standing:
    """What Slurm's accounting says where the queue has no row: that a job is over, or that it was sent just now."""
    word = word.split()[0]
    if word in _WAITING:
        return Standing(state="pending", reason="")
    if word in _GOING:
        return Standing(state="running", reason="starting")
    if word == "CANCELLED":
        return Standing(state="cancelled", reason="by scancel")
    if word == "COMPLETED":
        return Standing(state="lost", reason="the job ended and left no record of how")
    return Standing(state="failed", reason=_WORDS.get(word, f"Slurm says {word}"))


def _on_machine(facts: Facts, path: str, scheduler: Scheduler, now: float) -> Standing:
    assert facts.job is not None
    if facts.job.host != scheduler.host:
        return _from_files(facts, now)
    if path in scheduler.queued:
        place = scheduler.queued.index(path) + 1
        state: State = "requeued" if _ran(facts) else "pending"
        return Standing(state=state, reason=f"place {place} in the queue")
    leader = facts.job.job_id
    if leader and procfs.identity(int(leader.split("-")[0])) == leader:
        if facts.beat_at is not None and facts.last and now - facts.beat_at > STALLED_S:
            return _stalled(facts, now)
        reason = _doing(facts) if facts.progress or facts.last == "staging" else "starting"
        return Standing(state="running", reason=reason, start_at=facts.attempt_started_at)
    if abs(now - facts.job.submitted_at) < _SETTLING_S and not _ran(facts):
        return Standing(state="pending", reason="just submitted")
    if facts.last == "requeued" and facts.beat_at is not None and now - facts.beat_at < _SETTLING_S:
        return Standing(state="requeued", reason=facts.reason)
    return Standing(state="lost", reason="its process is gone and left no record of its end; `detrun retry` resumes it")


def _doing(facts: Facts) -> str:
    """What a running run does before it trains."""
    return f"staging: {facts.reason}" if facts.last == "staging" else ""


def _ran(facts: Facts) -> bool:
    """Whether this submission has started the run before."""
    return facts.job is not None and facts.attempts > facts.job.attempts_before


def _from_files(facts: Facts, now: float) -> Standing:
    """Without a scheduler: as the last sign of life has it."""
    if facts.last == "requeued":
        return Standing(state="requeued", reason=facts.reason)
    if facts.beat_at is None:
        return Standing(state="pending")
    if now - facts.beat_at > STALLED_S:
        return _stalled(facts, now)
    return Standing(state="running", start_at=facts.attempt_started_at)


def _stalled(facts: Facts, now: float) -> Standing:
    assert facts.beat_at is not None
    return Standing(
        state="stalled",
        reason=f"no sign of life for {_age(now - facts.beat_at)}",
        start_at=facts.attempt_started_at,
    )


def _age(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"
