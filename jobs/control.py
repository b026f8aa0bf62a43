"""Ending runs and starting them again: `cancel` and `retry`."""

import socket
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from jobs import after, pool, processes, records
from jobs.errors import RunError
from jobs.handover import Batch, hand_over, reserve_folder
from jobs.overview import Status, status
from jobs.plan import Executor
from jobs.rundir import RunDir, default_runs
from jobs.state import ENDED

RETRIABLE = ("planned", "failed", "cancelled", "lost")


class Cancelled(msgspec.Struct, frozen=True, kw_only=True):
    """`cancelled.json`: who asked a run to end. Its presence is the order."""

    t: float
    host: str


def cancel(selectors: Sequence[str], *, runs: Path | None = None) -> list[str]:
    """End runs and every process of theirs; returns the ids of those that had not ended by themselves.

    The order is written first, so that a worker that gets a signal knows it is not to requeue.

    Raises:
        RunError: a selector names no run, or a run of another machine's local queue.
        SchedulerError: scancel failed.
    """
    where = runs or default_runs()
    going = [row for row in status(selectors, runs=where).runs if row.state not in (*ENDED, "planned")]
    directories = [RunDir(Path(row.path)) for row in going]
    for directory in directories:
        _refuse_foreign(directory)
    for directory in directories:
        records.write_record(directory.cancelled, Cancelled(t=time.time(), host=socket.gethostname()))
    on_slurm = [row.job_id for row in going if row.executor == "slurm" and row.job_id]
    if on_slurm:
        from jobs import slurm

        slurm.cancel(on_slurm)
    for directory in directories:
        job = directory.job()
        if job and job.executor == "local":
            pool.remove(pool.home(), directory.path.resolve())
            processes.end(directory.path)
    return [row.id for row in going]


def retry(selectors: Sequence[str], *, runs: Path | None = None) -> dict[str, str]:
    """Start runs again from their last checkpoints, with the resources and the code of their last submission.

    Returns:
        The new job ids by run id.

    Raises:
        RunError: a selector names no run, or one that is still going or done.
    """
    where = (runs or default_runs()).absolute()
    known: Status = status(selectors, runs=where)
    for row in known.runs:
        if row.state not in RETRIABLE:
            raise RunError(f"{row.id} is {row.state}; only a run that ended early can be tried again")
    groups: dict[tuple[object, ...], list[RunDir]] = {}
    for row in known.runs:
        directory = RunDir(where / row.id)
        job = directory.job()
        if job is None:
            raise RunError(f"{row.id} was never submitted", f"`detrun submit {row.recipe}` with its options submits it")
        key = (job.executor, directory.code.resolve(), msgspec.json.encode(job.resources, order="sorted"), *job.after)
        groups.setdefault(key, []).append(directory)
    jobs: dict[str, str] = {}
    for directories in groups.values():
        jobs |= _again(directories, where)
    return jobs


def _again(directories: Sequence[RunDir], runs: Path) -> dict[str, str]:
    job = directories[0].job()
    assert job is not None
    executor: Executor = "slurm" if job.executor == "slurm" else "local"
    waits_for = after.unfinished(job.after, runs, executor)
    for directory in directories:
        directory.cancelled.unlink(missing_ok=True)
    stem, _, number = job.name.rpartition(".")
    batch = Batch(
        executor=executor,
        resources=job.resources,
        folder=reserve_folder(runs, stem if number.isdigit() else job.name),
        code=job.code,
        after=waits_for,
    )
    return hand_over(directories, batch)


def _refuse_foreign(directory: RunDir) -> None:
    job = directory.job()
    if job and job.executor == "local" and job.host != socket.gethostname():
        raise RunError(f"{directory.id} runs on {job.host}", f"`detrun cancel` it there: ssh {job.host}")
