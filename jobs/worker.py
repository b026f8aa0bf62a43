"""The worker: one process per node that starts torchrun, watches it, and decides how the attempt ends.

Slurm or the local queue start it through submitit. It appends to `events.jsonl` (the head node) or
`events.node<i>.jsonl` (the others). Promises: a signal that says "save and stop" reaches every rank, also
one that is still importing torch; a job is put back exactly once and only when it should run on; when one
rank fails the others end and the cause is on record.
"""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from types import FrameType
from typing import Any

import msgspec

from jobs import failure, launch, place, processes, procfs, records, staging
from jobs.errors import CheckError, SchedulerError
from jobs.event_log import RETRY, EventLog
from jobs.place import Meeting, Place
from jobs.records import HEARTBEAT_S
from jobs.resources import Resources
from jobs.rundir import RunDir
from jobs.staging import Staging
from jobs.stopping import Stop, requeue_slurm, why

_TICK_S = 0.2
_HANG_CHECK_S = 5.0
_STAGING_NEWS_S = 5.0
_AFTER_REQUEUE_S = 60.0
# What of the grace time is left for putting the job back where ranks do not end by themselves.
_REQUEUE_SHARE = 0.25
# Our trainer's handler first; another one may know only what Slurm and Kubernetes send.
_STOP_SIGNALS = (signal.SIGUSR2, signal.SIGUSR1, signal.SIGTERM)


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
        self.staging: Staging | None = None
        self.torchrun: subprocess.Popen[bytes] | None = None
        self.cut_short = False
        self.caught: int | None = None
        self.stop: Stop | None = None
        self.hung: failure.Cause | None = None
        self.told: set[int] = set()
        self.started = time.monotonic()
        self.next_beat = 0.0
        self.next_hang_check = 0.0
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR2):
            signal.signal(number, self._catch)
        signal.signal(signal.SIGCONT, signal.SIG_DFL)

    def go(self) -> int:
        """Run the attempt to its end and return the exit code of this node's worker."""
        meeting = self._open()
        try:
            if self.log.requeues > self.needs.max_requeues + self.needs.retries:
                return self._fail(f"started {self.log.requeues + 1} times (max_requeues = {self.needs.max_requeues})")
            return self._close(self._supervise(meeting))
        except CheckError as error:
            return self._fail(str(error))
        finally:
            shutil.rmtree(self.control, ignore_errors=True)

    def _catch(self, number: int, _: FrameType | None) -> None:
        self.caught = self.caught or number

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
        agent_log = launch.agent_log(self.run, self.log.attempt, self.place.node)
        agent_log.parent.mkdir(parents=True, exist_ok=True)
        root = self.staging.root if self.staging else None
        with agent_log.open("ab") as log:
            self.torchrun = torchrun = subprocess.Popen(
                launch.command(self.run, self.config, self.needs, self.place, meeting, root),
                env=launch.environment(self.run, self.needs, self.place, meeting, self.control, root),
                cwd=launch.folder(self.run, self.run.run().workdir),
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
            )
        while torchrun.poll() is None:
            self._tick()
            time.sleep(_TICK_S)
        processes.kill(processes.marked(self.run.path, self.place.node))
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
            self._look_for_hang()

    def _give_way(self) -> None:
        """End where a newer attempt has begun: Slurm requeues a job whose node it lost, and that node may still run."""
        meeting = records.read_record(self.run.path / "rendezvous.json", Meeting)
        if meeting is not None and meeting.key != self.place.key:
            processes.kill(processes.marked(self.run.path, self.place.node, self.place.key))
            raise SystemExit(1)

    def _look_for_stop(self, now: float) -> None:
        local_limit_s = self.needs.time_min * 60 - self.needs.grace_s
        timed_out = self.place.executor == "local" and now - self.started > local_limit_s
        if self.caught is None and not timed_out:
            return
        self.stop = why(self.run, self.place, self.caught)
        self.stop_deadline = now + (1 - _REQUEUE_SHARE) * self.needs.grace_s
        (self.control / "stop").write_text(self.stop.reason)
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
            processes.kill(processes.marked(self.run.path, self.place.node))
            return
        for rank in processes.children(self.torchrun.pid) if self.torchrun else ():
            heard = [number for number in _STOP_SIGNALS if procfs.catches(rank.pid, number)]
            if rank.pid not in self.told and heard:
                self.told.add(rank.pid)
                processes.send(rank, heard[0])

    def _look_for_hang(self) -> None:
        """Every rank beats at every step; all soon wait for one that hangs, so its state has to tell which it is."""
        beats = [path.stat().st_mtime for path in self.control.glob("beat_*")]
        if not beats or (silent_s := time.time() - min(beats)) <= self.needs.hang_min * 60:
            return
        living = processes.marked(self.run.path, self.place.node)
        self.hung = failure.hang(living, silent_s)
        processes.kill(living)

    def _close(self, exit_code: int | None) -> int:
        if self.run.cancelled.exists():
            self.log.record("cancelled")
            return 0
        outcome = self._outcome()
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
            time.sleep(_AFTER_REQUEUE_S)
            return 1
        if cause.retriable and self.log.retries < self.needs.retries:
            return self._requeue(RETRY + cause.reason)
        return self._fail(cause.reason, rank=rank, exit_code=cause.exit_code, echo=cause.echo or None)

    def _fail(self, reason: str, **fields: Any) -> int:
        self.log.record("failed", reason=reason, **fields)
        return 1

    def _requeue(self, reason: str) -> int:
        limit = self.needs.max_requeues
        if not reason.startswith(RETRY) and self.log.requeues - self.log.retries >= limit:
            return self._fail(f"{reason}, after {limit} requeues (max_requeues = {limit}); `detrun retry` goes on")
        self.log.record("requeued", reason=reason)
        if self.place.executor == "local":
            return 0
        try:
            requeue_slurm(self.place.job_id)
        except SchedulerError as error:
            return self._fail(str(error))
        time.sleep(_AFTER_REQUEUE_S)
        return 0

    def _outcome(self) -> str:
        try:
            return (self.control / "outcome").read_text()
        except FileNotFoundError:
            return ""
