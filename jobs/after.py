"""Runs that come after others: `--after RUN`, and `model.init=@RUN`, which starts from another run's best weights."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from jobs.errors import RunError
from jobs.overview import status
from jobs.plan import Executor
from jobs.rundir import RunDir
from jobs.select import one, select

WAITED_FOR = ("pending", "running", "stalled", "requeued")


def best_of(word: str, runs: Path) -> tuple[str, str]:
    """The best checkpoint of the one run that a word names, there or yet to come, and the run's id.

    Raises:
        RunError: the word names no run, or several.
    """
    directory = one(word, runs)
    return str(directory.checkpoints / "best.pt"), directory.id


def unfinished(ids: Iterable[str], runs: Path, executor: Executor) -> tuple[str, ...]:
    """Those runs that a submission has to wait for; done ones are none.

    Raises:
        RunError: one of them will never be done, or belongs to another executor.
    """
    wanted = sorted(set(ids))
    waited_for = []
    for row in status(wanted, runs=runs).runs if wanted else ():
        if row.state in WAITED_FOR:
            if row.executor != executor:
                raise RunError(
                    f"{row.id} is on {row.executor}, and cannot be waited for on {executor}", f"--on {row.executor}"
                )
            waited_for.append(row.id)
        elif row.state != "done":
            raise RunError(f"cannot come after {row.id}: it is {row.state}", f"`detrun retry {row.id}` first")
    return tuple(waited_for)


def named(words: Sequence[str], runs: Path) -> tuple[str, ...]:
    """The ids of the runs that `--after` names."""
    return tuple(directory.id for directory in select(words, runs)) if words else ()


def job_ids(ids: Iterable[str], runs: Path) -> tuple[str, ...]:
    """The job ids of runs that wait or run."""
    jobs = (RunDir(runs / run_id).job() for run_id in ids)
    return tuple(job.job_id for job in jobs if job and job.job_id)
