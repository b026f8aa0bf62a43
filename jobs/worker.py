"""The worker: one process per node that starts torchrun, watches it, and decides how the attempt ends.

Slurm or the local queue start it through submitit. It appends to `events.jsonl` (the head node) or
`events.node<i>.jsonl` (the others). Promises: a signal that says "save and stop" reaches every rank, also
one that is still importing torch; a job is put back exactly once and only when it should run on; when one
rank fails the others end and the cause is on record.
"""

import os
import shutil
import signal
import time
from pathlib import Path
from types import FrameType
from typing import Any

import msgspec

from jobs import failure, launch, place, records, staging
from jobs.errors import CheckError, SchedulerError
from jobs.event_log import RETRY, EventLog
from jobs.place import Meeting, Place
from jobs.ranks import Ranks
from jobs.records import HEARTBEAT_S
from jobs.resources import Resources
from jobs.rundir import RunDir
from jobs.staging import Staging
from jobs.stopping import FAILED, Stop, requeue_slurm, why

_TICK_S = 0.2
_HANG_CHECK_S = 5.0
_STAGING_NEWS_S = 5.0
_AFTER_REQUEUE_S = 60.0
# What of the grace time is left for putting the job back where ranks do not end by themselves.
_REQUEUE_SHARE = 0.25


class Worker:
    """What submitit pickles: a run directory's path and nothing else."""

    def __init__(self, run: Path) -> None:
        self.run = str(run)

    def __call__(self) -> None:
        run = RunDir(Path(self.run))
        job = run.job()
        assert job is not None, f"{run.job_json} was written before the job was submitted"
        exit_code = Attempt(run, job.resources, place.here(job.executor)).go()
        if exit_code:
            raise SystemExit(exit_code)


class Attempt:
    """One attempt at a run, seen from one node."""

    def __init__(self, run: RunDir, needs: Resources, where: Place) -> None:
        self.run = run
        self.needs = needs
        self.place = where
        self.control = place.scratch(where)
        self.config: dict[str, Any] = msgspec.json.decode(run.config_json.read_bytes())
        self.log = EventLog(run, where)
        self.ranks = Ranks(run, needs, where, self.control)
        self.staging: Staging | None = None
        self.cut_short = False
        self.caught: int | None = None
        self.stop: Stop | None = None
        self.hung: failure.Cause | None = None
        self.started = time.monotonic()
        self.next_beat = 0.0
        self.next_hang_check = 0.0
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR2):
            signal.signal(number, self._catch)
        signal.signal(signal.SIGCONT, signal.SIG_DFL)

    def go(self) -> int:
        """Run the attempt to its end and return the exit code of this node's worker."""
        try:
            if self._called_off():
                return 0
            meeting = self._open()
            if self.log.requeues > self.needs.max_requeues + self.needs.retries:
                return self._fail(f"started {self.log.requeues + 1} times (max_requeues = {self.needs.max_requeues})")
            return self._close(self._supervise(meeting))
        except CheckError as error:
            return self._fail(str(error))
        finally:
            shutil.rmtree(self.control, ignore_errors=True)

    def _catch(self, number: int, _: FrameType | None) -> None:
        self.caught = self.caught or number

    def _called_off(self) -> bool:
        """Whether the run was cancelled or is a later job's: `scontrol requeue` brings back what had ended."""
        return self.run.cancelled.exists() or self._superseded()

    def _superseded(self) -> bool:
        job = self.run.job()
        return self.place.executor == "slurm" and job is not None and job.job_id not in ("", self.place.job_id)

    def _open(self) -> Meeting:
        if self.place.is_head:
            self.log.begin()
            meeting = place.call_meeting(self.run, self.place, self.log.attempt)
        else:
            meeting = place.join_meeting(self.run, self.place)
            self.log.attempt = meeting.attempt
        self.log.record("start", job_id=self.place.job_id, pid=os.getpid(), nodes=list(self.place.nodes))
        return meeting

    def _supervise(self, meeting: Meeting) -> int | None:
        """Start torchrun and watch it to its end; `None` where a stop came first.

        Raises:
            CheckError: the data cannot be copied to this node.
        """
        self._tick()
        self._stage()
        if self.stop:
            return None
        torchrun = self.ranks.start(self.config, meeting, self.staging.root if self.staging else None)
        while torchrun.poll() is None:
            self._tick()
            time.sleep(_TICK_S)
        if torchrun.returncode and self.stop is None:
            self._look_for_stop(time.monotonic())
        self.ranks.kill()
        return torchrun.returncode

    def _stage(self) -> None:
        """Copy the data to this node where that is asked for, and wait until every node has its copy."""
        source = staging.source_of(self.config)
        if self.needs.stage is None or source is None:
            return
        scratch = Path(os.path.expandvars(self.needs.stage))
        self.staging = Staging(Path(self.run.run().cwd) / source, scratch)
        self.staging.start()
        next_news = 0.0
        while self.staging.is_alive():
            self._tick()
            if self.stop:
                self.staging.give_up()
            elif time.monotonic() >= next_news:
                next_news = time.monotonic() + _STAGING_NEWS_S
                self.log.record("staging", reason=self.staging.words)
            time.sleep(_TICK_S)
        if self.staging.error:
            raise CheckError(self.staging.error)
        if self.staging.root:
            self.log.record("staged", reason=self.staging.words)
        while not self.stop and self.log.staged_nodes() < len(self.place.nodes):
            self._tick()
            time.sleep(_TICK_S)

    def _tick(self) -> None:
        now = time.monotonic()
        if now >= self.next_beat:
            self.next_beat = now + HEARTBEAT_S
            self.log.record("heartbeat")
            self._give_way()
        if self.stop is None:
            self._look_for_stop(now)
        if self.stop:
            self._tell_ranks(now)
        elif now >= self.next_hang_check:
            self.next_hang_check = now + _HANG_CHECK_S
            self.hung = self.ranks.end_hang() or self.hung

    def _give_way(self) -> None:
        """End where a newer attempt has begun: Slurm requeues a job whose node it lost, and that node may still run."""
        meeting = records.read_record(self.run.path / "rendezvous.json", Meeting)
        if self._superseded() or (meeting is not None and meeting.key != self.place.key):
            self.ranks.kill()
            raise SystemExit(1)

    def _look_for_stop(self, now: float) -> None:
        local_limit_s = self.needs.time_min * 60 - self.needs.grace_s
        timed_out = self.place.executor == "local" and now - self.started > local_limit_s
        if self.caught is None and not timed_out:
            return
        self.stop = FAILED if self.log.has_failed() else why(self.run, self.place, self.caught)
        self.stop_deadline = now + (1 - _REQUEUE_SHARE) * self.needs.grace_s
        self.log.record("stopping", reason=self.stop.reason)

    def _tell_ranks(self, now: float) -> None:
        """Pass the stop on to ranks that can hear it; those that start later find the stop file.

        Slurm itself ends the grace time of a preemption and requeues. Else ranks that do not end in time are cut short:
        the last checkpoint holds.
        """
        assert self.stop is not None
        overdue = self.stop.requeue and not self.stop.preempted and now > self.stop_deadline
        if overdue or not self.stop.save:
            self.cut_short = True
            self.ranks.kill()
        else:
            self.ranks.tell(self.stop.reason)

    def _close(self, exit_code: int | None) -> int:
        if self.run.cancelled.exists():
            self.log.record("cancelled")
            return 0
        outcome = self.ranks.outcome()
        if self.stop and outcome != "done" and (exit_code in (None, 0) or self.cut_short or "command" in self.config):
            return self._stopped(self.stop)
        if outcome == "stopped" and exit_code in (None, 0):
            return self._requeue("told to stop on another node") if self.place.is_head else 0
        if exit_code in (None, 0) and not self.hung:
            if self.place.is_head:
                self.log.record("done")
            return 0
        return self._failed(exit_code or 1)

    def _stopped(self, stop: Stop) -> int:
        """The ranks saved, or had nothing to save, or the grace time was too short for it.

        Another program than our trainer may end with any exit code when it is told to stop.
        """
        if stop.requeue and self.place.is_head:
            return self._requeue(stop.reason)
        return 0

    def _failed(self, exit_code: int) -> int:
        logs = launch.node_logs(self.run, self.log.attempt, self.place.node)
        agent_log = launch.agent_log(self.run, self.log.attempt, self.place.node)
        cause = self.hung or failure.find(logs, agent_log, exit_code)
        rank = None
        if cause.local_rank is not None:
            rank = self.place.node * self.needs.procs_per_node + cause.local_rank
        if cause.retriable and not self.place.is_head:
            self._await_end()
            return 1
        if cause.retriable and self.log.retries < self.needs.retries:
            return self._requeue(RETRY + cause.reason)
        return self._fail(cause.reason, rank=rank, exit_code=cause.exit_code, echo=cause.echo or None)

    def _fail(self, reason: str, **fields: Any) -> int:
        self.log.record("failed", reason=reason, **fields)
        return 1

    def _requeue(self, reason: str) -> int:
        """Put the job back, unless somebody has ended it since it was told to stop."""
        latest = why(self.run, self.place, self.caught)
        if not latest.requeue:
            self.log.record("stopping", reason=latest.reason)
            return 0
        limit = self.needs.max_requeues
        if not reason.startswith(RETRY) and self.log.requeues - self.log.retries >= limit:
            return self._fail(f"{reason}, after {limit} requeues (max_requeues = {limit}); `detrun retry` goes on")
        self.log.record("requeued", reason=reason)
        if self.place.executor == "local":
            return 0
        self.caught = None
        try:
            requeue_slurm(self.place.job_id)
        except SchedulerError as error:
            return self._fail(str(error))
        self._await_end()
        return 0

    def _await_end(self) -> None:
        """Stay until Slurm ends a job that was put back: one that ends before that counts as completed."""
        deadline = time.monotonic() + _AFTER_REQUEUE_S
        while self.caught is None and time.monotonic() < deadline:
            time.sleep(_TICK_S)
