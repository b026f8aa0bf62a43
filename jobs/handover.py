"""Written runs go to an executor: `job.json` first, the job second, so that a crash between the two can be mended.

It leaves a run without a job id; `status` finds its job by the submission's folder, and submitting again completes
what has none.
"""

import getpass
import os
import socket
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from jobs import pool, records
from jobs.after import job_ids
from jobs.errors import SchedulerError
from jobs.plan import Executor
from jobs.records import Job
from jobs.resources import Resources
from jobs.rundir import SUBMISSIONS, RunDir
from jobs.slurm_rows import index


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """Runs that go together: one folder, one script, one array. `after` are ids of runs in the same runs folder."""

    executor: Executor
    resources: Resources
    folder: Path
    code: str
    after: tuple[str, ...] = ()


def hand_over(directories: Sequence[RunDir], batch: Batch) -> dict[str, str]:
    """Give runs to their executor; returns their job ids, `""` where a run waits in the local queue.

    Raises:
        SchedulerError: Slurm refused; the runs are as they were before.
    """
    earlier = [directory.job() for directory in directories]
    _end_earlier(earlier)
    numbered = list(enumerate(directories))
    jobs = records.side_by_side(lambda pair: _write_job(pair[1], batch, pair[0]), numbered)
    if batch.executor == "local":
        return _to_queue(directories, jobs)
    try:
        return _to_slurm(directories, jobs, batch)
    except SchedulerError:
        for directory, before in zip(directories, earlier, strict=True):
            _restore(directory, before)
        raise


def free_folder(runs: Path, name: str) -> Path:
    """The folder that the next submission of a name will have."""
    taken = runs / SUBMISSIONS / name
    number = 1
    while taken.exists():
        number += 1
        taken = runs / SUBMISSIONS / f"{name}.{number}"
    return taken


def reserve_folder(runs: Path, name: str) -> Path:
    """Make a submission's folder that nobody else has.

    Raises:
        RunError: the runs folder cannot be written.
    """
    while True:
        folder = free_folder(runs, name)
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as error:
            raise records.unwritable(folder, error) from None
        return folder


def _to_slurm(directories: Sequence[RunDir], jobs: Sequence[Job], batch: Batch) -> dict[str, str]:
    from jobs import slurm

    submission = slurm.Submission(
        name=batch.folder.name,
        folder=batch.folder,
        code=directories[0].code.resolve(),
        resources=batch.resources,
        runs=tuple(directory.path for directory in directories),
        after=job_ids(batch.after, directories[0].path.parent),
    )
    text = slurm.script(submission).encode()
    records.side_by_side(lambda directory: records.write(directory.script, text), directories)
    ids = slurm.submit(submission)
    known = [msgspec.structs.replace(job, job_id=job_id) for job, job_id in zip(jobs, ids, strict=True)]
    pairs = list(zip(directories, known, strict=True))
    records.side_by_side(lambda pair: records.write_record(pair[0].job_json, pair[1]), pairs)
    return {directory.id: job_id for directory, job_id in zip(directories, ids, strict=True)}


def _to_queue(directories: Sequence[RunDir], jobs: Sequence[Job]) -> dict[str, str]:
    from jobs import local

    for directory, job in zip(directories, jobs, strict=True):
        entry = pool.Entry(
            run=str(directory.path.resolve()),
            python=sys.executable,
            environment=dict(os.environ),
            group=job.name,
            limit=job.resources.max_parallel,
            after=[str((directory.path.parent / run).resolve()) for run in job.after],
        )
        pool.add(pool.home(), f"{time.time_ns()}-{directory.id}", entry)
    local.ensure()
    return {directory.id: "" for directory in directories}


def _end_earlier(jobs: Sequence[Job | None]) -> None:
    """Of a run that has ended, Slurm may still hold or have put back a job; two would share its directory.

    Where squeue does not answer, that job finds out by itself.
    """
    places = {(job.folder, job.index) for job in jobs if job and job.executor == "slurm"}
    if not places:
        return
    from jobs import slurm

    with suppress(SchedulerError):
        rows = slurm.queue([getpass.getuser()])
        if left := [row.job_id for row in rows if (row.folder, index(row.job_id)) in places]:
            slurm.cancel(left)


def _write_job(directory: RunDir, batch: Batch, index: int) -> Job:
    job = Job(
        executor=batch.executor,
        name=batch.folder.name,
        folder=str(batch.folder),
        submitted_at=time.time(),
        resources=batch.resources,
        host=socket.gethostname(),
        index=index,
        code=batch.code,
        attempts_before=max((event.attempt for event in directory.all_events()), default=0),
        after=list(batch.after),
    )
    records.write_record(directory.job_json, job)
    return job


def _restore(directory: RunDir, job: Job | None) -> None:
    """A submission that Slurm refused never was."""
    if job is None:
        directory.job_json.unlink()
    else:
        records.write_record(directory.job_json, job)
