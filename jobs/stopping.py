"""Why a job was told to stop, and whether it should run on: a question for `scontrol`, since signals do not say.

Slurm sends SIGTERM for preemption and for scancel alike, and a requeue in the wrong case brings a cancelled
job back to life.
"""

import os
import signal
import subprocess
import time

import msgspec

from jobs.errors import SchedulerError
from jobs.place import Place
from jobs.rundir import RunDir

PREEMPTED = "preempted"
_REQUEUE_WAITS_S = (0.0, 2.0, 5.0, 10.0)


class Stop(msgspec.Struct, frozen=True, kw_only=True):
    """A stop: why, whether the ranks should save, and whether this worker must put the job back itself.

    Where it is `preempted` and does not end in time, Slurm puts it back.
    """

    reason: str
    save: bool = True
    requeue: bool = True

    @property
    def preempted(self) -> bool:
        return self.reason == PREEMPTED


# srun sends SIGTERM to the other nodes' workers when one has ended with an error (`--kill-on-bad-exit`).
FAILED = Stop(reason="another node failed", save=False, requeue=False)


def why(run: RunDir, place: Place, number: int | None) -> Stop:
    """What a signal meant; `None` is the local queue's time limit."""
    if run.cancelled.exists():
        return Stop(reason="cancelled", save=False, requeue=False)
    if place.executor == "local":
        return Stop(reason="time limit" if number in (None, signal.SIGUSR2) else signal.Signals(number).name)
    return _from_slurm(_show_job(place.job_id), number, int(os.environ.get("SLURM_RESTART_COUNT", "0")))


def _from_slurm(job: dict[str, str], number: int | None, restarts: int) -> Stop:
    """What `scontrol show job` makes of a signal.

    Measured on Slurm 22.05: while a preempted job has its grace time it is RUNNING with a PreemptTime; one that Slurm
    requeues by itself is COMPLETING and its Restarts went up; one that is cancelled is COMPLETING and they did not.
    """
    running = job.get("JobState", "RUNNING") == "RUNNING"
    if running and job.get("PreemptTime", "None") not in ("None", "Unknown"):
        return Stop(reason=PREEMPTED)
    if running:
        return Stop(reason="time limit" if number == signal.SIGUSR2 else "SIGTERM")
    if int(job.get("Restarts", "0")) > restarts:
        return Stop(reason="requeued by Slurm", requeue=False)
    if job.get("Reason") == "TimeLimit":
        return Stop(reason="time limit")
    return Stop(reason="cancelled by scancel", requeue=False)


def requeue_slurm(job_id: str) -> None:
    """Put this job back into the queue; Slurm then ends it.

    Raises:
        SchedulerError: Slurm refused, or did not answer four times.
    """
    words = ""
    for wait_s in _REQUEUE_WAITS_S:
        time.sleep(wait_s)
        done = subprocess.run(["scontrol", "requeue", job_id], capture_output=True, text=True, timeout=60, check=False)
        if done.returncode == 0:
            return
        words = done.stderr.strip()
    raise SchedulerError(f"could not requeue the job: {words}", "`detrun retry` resumes it")


def _show_job(job_id: str) -> dict[str, str]:
    """The fields of `scontrol show job`, empty where it does not answer."""
    command = ["scontrol", "show", "job", job_id, "-o"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except subprocess.TimeoutExpired:
        return {}
    pairs = (field.partition("=") for field in done.stdout.split())
    return {name: value for name, _, value in pairs}
