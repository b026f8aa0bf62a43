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
import psutil

from detector.records import Event, decode_lines, encode
from jobs import failure, launch, place, processes, procfs, records
from jobs.errors import SchedulerError
from jobs.place import Meeting, Place
from jobs.records import HEARTBEAT_S
from jobs.resources import Resources
from jobs.rundir import RunDir
from jobs.stopping import Stop, requeue_slurm, why

_TICK_S = 0.2
_HANG_CHECK_S = 5.0
_AFTER_REQUEUE_S = 60.0


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
        self.caught: int | None = None
        self.stop: Stop | None = None
        self.hung: str | None = None
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
            exit_code = self._supervise(meeting)
            return self._close(exit_code)
        finally:
            shutil.rmtree(self.control, ignore_errors=True)

    def _catch(self, number: int, _: FrameType | None) -> None:
        self.caught = self.caught or number

    def _open(self) -> Meeting:
        if not self.place.is_head:
            meeting = place.join_meeting(self.run, self.place)
            self.attempt = meeting.attempt
        else:
            self.attempt = 1 + sum(event.event == "start" for event in self._head_events())
            meeting = place.call_meeting(self.run, self.place, self.attempt)
        self._record("start", job_id=self.place.job_id, pid=os.getpid(), nodes=list(self.place.nodes))
        return meeting

    def _supervise(self, meeting: Meeting) -> int | None:
        """Start torchrun and watch it to its end; `None` where a stop came first."""
        self._tick()
        if self.stop:
            return None
        agent_log = launch.agent_log(self.run, self.attempt, self.place.node)
        agent_log.parent.mkdir(parents=True, exist_ok=True)
        config = msgspec.json.decode(self.run.config_json.read_bytes())
        with agent_log.open("ab") as log:
            torchrun = subprocess.Popen(
                launch.command(self.run, config, self.needs, self.place, meeting),
                env=launch.environment(self.run, self.needs, self.place, meeting, self.control),
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

    def _tick(self) -> None:
        now = time.monotonic()
        if now >= self.next_beat:
            self.next_beat = now + HEARTBEAT_S
            self._record("heartbeat")
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
            processes.kill(processes.marked(self.run.path, self.place.node))
            raise SystemExit(1)

    def _look_for_stop(self, now: float) -> None:
        local_limit_s = self.needs.time_min * 60 - self.needs.grace_s
        timed_out = self.place.executor == "local" and now - self.started > local_limit_s
        if self.caught is None and not timed_out:
            return
        self.stop = why(self.run, self.place, self.caught)
        self.stop_deadline = now + self.needs.grace_s
        (self.control / "stop").write_text(self.stop.reason)
        self._record("stopping", reason=self.stop.reason)

    def _tell_ranks(self, now: float) -> None:
        """Pass the stop on to ranks that can hear it; those that start later find the stop file."""
        assert self.stop is not None
        overdue = self.place.executor == "local" and now > self.stop_deadline
        living = processes.marked(self.run.path, self.place.node)
        if overdue or not self.stop.save:
            processes.kill(living)
            return
        for process in living:
            if process.pid not in self.told and procfs.catches(process.pid, signal.SIGUSR2):
                self.told.add(process.pid)
                _signal(process, signal.SIGUSR2)

    def _look_for_hang(self) -> None:
        """A rank beats at every step; ranks that wait for it in a collective stop beating a step later."""
        beats = {path.name.removeprefix("beat_"): path.stat().st_mtime for path in self.control.glob("beat_*")}
        if not beats:
            return
        rank, last = min(beats.items(), key=lambda item: item[1])
        silent_s = time.time() - last
        if silent_s > self.needs.hang_min * 60:
            self.hung = f"rank {rank} made no step for {silent_s / 60:.0f} min"
            processes.kill(processes.marked(self.run.path, self.place.node))

    def _close(self, exit_code: int | None) -> int:
        if self.run.cancelled.exists():
            self._record("cancelled")
            return 0
        outcome = self._outcome()
        if self.stop and (exit_code in (None, 0) or (self.place.executor == "local" and outcome != "done")):
            return self._stopped(outcome)
        if exit_code == 0 and not self.hung:
            if self.place.is_head:
                self._record("done")
            return 0
        return self._failed(exit_code or 1)

    def _stopped(self, outcome: str) -> int:
        """The ranks saved, or had nothing to save, or the grace time was too short for it."""
        assert self.stop is not None
        if outcome == "done":
            if self.place.is_head:
                self._record("done")
            return 0
        if self.stop.requeue and self.place.is_head:
            return self._requeue(self.stop.reason, self.needs.max_requeues)
        return 0

    def _failed(self, exit_code: int) -> int:
        logs = launch.node_logs(self.run, self.attempt, self.place.node)
        agent_log = launch.agent_log(self.run, self.attempt, self.place.node)
        cause = failure.find(logs, agent_log, exit_code)
        if self.hung:
            cause = failure.Cause(reason=self.hung)
        rank = None
        if cause.local_rank is not None:
            rank = self.place.node * self.needs.procs_per_node + cause.local_rank
        if cause.retriable and not self.place.is_head:
            time.sleep(_AFTER_REQUEUE_S)
            return 1
        if cause.retriable and self._count("requeued", "retry:") < self.needs.retries:
            return self._requeue(f"retry: {cause.reason}", self.needs.retries)
        self._record("failed", reason=cause.reason, rank=rank, exit_code=cause.exit_code, echo=cause.echo or None)
        return 1

    def _requeue(self, reason: str, limit: int) -> int:
        prefix = "retry:" if reason.startswith("retry:") else ""
        times = self._count("requeued", prefix)
        if times >= limit:
            self._record("failed", reason=f"{reason}, after {times} requeues (max_requeues = {limit})")
            return 1
        self._record("requeued", reason=reason)
        if self.place.executor == "local":
            return 0
        try:
            requeue_slurm(self.place.job_id)
        except SchedulerError as error:
            self._record("failed", reason=str(error))
            return 1
        time.sleep(_AFTER_REQUEUE_S)
        return 0

    def _outcome(self) -> str:
        try:
            return (self.control / "outcome").read_text()
        except FileNotFoundError:
            return ""

    def _head_events(self) -> list[Event]:
        return decode_lines(self.run.events.read_bytes(), Event) if self.run.events.exists() else []

    def _count(self, name: str, prefix: str) -> int:
        return sum(
            event.event == name
            and (event.reason or "").startswith(prefix)
            and bool(prefix) == (event.reason or "").startswith("retry:")
            for event in self._head_events()
        )

    def _record(self, name: str, **fields: Any) -> None:
        event = Event(t=time.time(), event=name, attempt=self.attempt, host=self.place.host, **fields)
        path = self.run.events if self.place.is_head else self.run.path / f"events.node{self.place.node}.jsonl"
        with path.open("ab") as file:
            file.write(encode(event))


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return
