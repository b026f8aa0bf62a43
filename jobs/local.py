"""The local queue's dispatcher: hands this machine's GPUs and cores to waiting runs, one after the other.

`ensure` starts it, detached, where none lives; it ends when nothing waits or runs. At most one lives for a user
and machine, held by a file lock, so two submissions never hand out the same GPU. A run is started through
submitit's local executor and does not depend on the dispatcher: if that dies, the next one takes over.
"""

import fcntl
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import IO

import msgspec

from detector.records import Event, encode
from jobs import pool, processes, procfs, records
from jobs.errors import RunError
from jobs.pool import Entry, Machine
from jobs.resources import Resources
from jobs.rundir import SUBMISSIONS, RunDir
from jobs.worker import Worker

_TICK_S = 0.3
_LINGER_TICKS = 10
_MACHINE_S = 5.0
# submitit counts a job's time itself; the worker does it better, so submitit gets a year.
_YEAR_MIN = 365 * 24 * 60


def ensure() -> None:
    """Start a dispatcher unless one lives. Call it after adding to the queue."""
    folder = pool.home()
    with pool.lock(folder):
        if _lives(folder):
            return
        with (folder / "dispatcher.log").open("ab") as log:
            subprocess.Popen(
                [sys.executable, "-m", "jobs.local", str(folder)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd="/",
            )


class Dispatcher:
    """One pass after the other over the queue; all its state is on disk."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.children: dict[str, subprocess.Popen[bytes]] = {}
        self.machine = Machine(gpus=(), cpus=0)
        self.asked = float("-inf")

    def serve(self, claim: IO[str]) -> None:
        """Work until nothing waits or runs. The claim ends inside the lock, so that no submission is missed."""
        idle = 0
        while True:
            with pool.lock(self.folder):
                idle = 0 if self.step() else idle + 1
                if idle == _LINGER_TICKS:
                    claim.close()
                    return
            time.sleep(_TICK_S)

    def step(self) -> bool:
        """Clear away what ended, start what fits; whether anything is left to do."""
        for path, entry in pool.running(self.folder).items():
            if not self._runs(entry):
                self._clear(path, entry)
        waiting, running = pool.waiting(self.folder), pool.running(self.folder)
        have = self._have() if waiting else Machine(gpus=(), cpus=0)
        for path, entry in waiting.items():
            verdict = self._ready(entry, list(running.values()))
            if verdict == "never":
                path.unlink()
            elif verdict == "now":
                gpus = self._fitting(entry, list(running.values()), have)
                if gpus is None:
                    break
                started = self._start(path, entry, gpus)
                running[started[0]] = started[1]
        return bool(waiting or running)

    def _have(self) -> Machine:
        """The machine, asked anew every few seconds because others use its GPUs too."""
        if time.monotonic() >= self.asked + _MACHINE_S:
            self.asked, self.machine = time.monotonic(), pool.machine()
        return self.machine

    def _runs(self, entry: Entry) -> bool:
        child = self.children.get(entry.leader)
        if child is not None and child.poll() is not None:
            del self.children[entry.leader]
        return procfs.identity(int(entry.leader.split("-")[0])) == entry.leader

    def _clear(self, path: Path, entry: Entry) -> None:
        """A run ended: end what it left behind, and queue it again where its worker asked for that."""
        run = RunDir(Path(entry.run))
        processes.end(run.path, grace_s=0.0)
        if _last_event(run) == "requeued" and not run.cancelled.exists():
            again = msgspec.structs.replace(entry, gpus=[], leader="")
            pool.add(self.folder, f"{time.time_ns()}-{run.id}", again)
        path.unlink()

    def _ready(self, entry: Entry, running: list[Entry]) -> str:
        """`now`, `later`, or `never` where the run is gone or what it waits for has failed."""
        run = RunDir(Path(entry.run))
        if run.cancelled.exists() or not run.run_json.exists():
            return "never"
        if entry.limit is not None and sum(other.group == entry.group for other in running) >= entry.limit:
            return "later"
        ends = [_last_event(RunDir(Path(other))) for other in entry.after]
        if any(end in ("failed", "cancelled") for end in ends):
            _refuse(run, "a run that it comes after did not end well")
            return "never"
        return "now" if all(end == "done" for end in ends) else "later"

    def _fitting(self, entry: Entry, running: list[Entry], have: Machine) -> list[int] | None:
        """The GPUs for a run, `None` while there is no room."""
        needs = _needs(entry)
        busy = {gpu for other in running for gpu in other.gpus}
        free = [gpu for gpu in have.gpus if gpu not in busy]
        cores = sum(pool.cpus_of(_needs(other), have) for other in running)
        if len(free) < needs.gpus or cores + pool.cpus_of(needs, have) > have.cpus:
            return None
        return free[: needs.gpus]

    def _start(self, path: Path, entry: Entry, gpus: list[int]) -> tuple[Path, Entry]:
        child = _launch(entry, gpus)
        leader = procfs.identity(child.pid) or f"{child.pid}-gone"
        self.children[leader] = child
        run = RunDir(Path(entry.run))
        job = run.job()
        if job:
            records.write_record(run.job_json, msgspec.structs.replace(job, job_id=leader))
        started = msgspec.structs.replace(entry, gpus=gpus, leader=leader)
        place = self.folder / "running" / path.name
        records.write(place, msgspec.json.encode(started))
        path.unlink()
        return place, started


def _launch(entry: Entry, gpus: list[int]) -> "subprocess.Popen[bytes]":
    """Start a run through submitit in the environment that it was submitted from."""
    from submitit import LocalExecutor

    run = RunDir(Path(entry.run))
    needs = _needs(entry)
    executor = LocalExecutor(folder=run.path.parent / SUBMISSIONS / entry.group, python=needs.python or entry.python)
    executor.update_parameters(
        timeout_min=_YEAR_MIN,
        gpus_per_node=len(gpus),
        visible_gpus=gpus,
        stderr_to_stdout=True,
        setup=list(needs.setup),
    )
    ours = dict(os.environ)
    os.environ.clear()
    os.environ.update(entry.environment | processes.marks(run.path, 0) | {"PYTHONPATH": _path(run, entry)})
    try:
        job = executor.submit(Worker(run.path))
    finally:
        os.environ.clear()
        os.environ.update(ours)
    child: subprocess.Popen[bytes] = job._process
    return child


def _path(run: RunDir, entry: Entry) -> str:
    return os.pathsep.join([str(run.code.resolve()), *filter(None, [entry.environment.get("PYTHONPATH")])])


def _needs(entry: Entry) -> Resources:
    job = RunDir(Path(entry.run)).job()
    if job is None:
        raise RunError(f"{entry.run} is queued and has no job.json")
    return job.resources


def _last_event(run: RunDir) -> str:
    """The last event that says how a run stands, heartbeats aside."""
    events = [event.event for event in run.all_events() if event.event != "heartbeat"]
    return events[-1] if events else ""


def _refuse(run: RunDir, reason: str) -> None:
    attempt = 1 + max((event.attempt for event in run.all_events()), default=0)
    with run.events.open("ab") as file:
        file.write(encode(Event(t=time.time(), event="failed", attempt=attempt, reason=reason)))


def _lives(folder: Path) -> bool:
    """Whether a dispatcher holds its lock."""
    with (folder / "dispatcher.lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _main(folder: Path) -> None:
    with (folder / "dispatcher.lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        Dispatcher(folder).serve(file)


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
