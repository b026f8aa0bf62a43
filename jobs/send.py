"""Effects of a submission: run directories first, then their jobs."""

import getpass
import itertools
import socket
import sys
import time
from collections.abc import Sequence
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from detector.errors import UserError
from jobs import after, rundir, snapshot
from jobs.errors import SchedulerError
from jobs.handover import Batch, free_folder, hand_over, reserve_folder
from jobs.plan import PlannedRun
from jobs.prepare import Prepared, Request, prepare
from jobs.records import Run, side_by_side
from jobs.rundir import CODE, RunDir

if TYPE_CHECKING:
    from jobs import slurm

_VERSIONED = ("detrun", "torch", "torchvision", "hotcoco", "pycocotools", "submitit", "numpy")


def submit(recipe: str, **options: Any) -> dict[str, str]:
    """Plan a recipe and submit what of it is not done or going already.

    Args:
        recipe: a shipped recipe's name, or a file.
        **options: the other fields of `jobs.prepare.Request`, such as `sets`, `seeds`, `on` and `resources`.

    Returns:
        Job ids by run id, `""` where a run waits in the local queue.

    Raises:
        UserError: one of its kinds; see `jobs.errors`.
    """
    return send(prepare(Request(recipe=recipe, **options)))


def send(prepared: Prepared) -> dict[str, str]:
    """Write the run directories and submit them; returns their job ids, `""` where a run waits in the local queue.

    Raises:
        CheckError, RunError: something is missing; nothing was written.
        SchedulerError: Slurm would refuse it; nothing was written.
    """
    if not prepared.todo:
        return {}
    for problem in refusals(prepared):
        raise problem
    place = snapshot.save(prepared.code, prepared.runs, prepared.project)
    jobs: dict[str, str] = {}
    for part in _parts(prepared):
        directories = side_by_side(lambda run: _write_run(prepared, run, place), part)
        batch = Batch(
            executor=prepared.plan.executor,
            resources=prepared.plan.resources,
            folder=reserve_folder(prepared.runs, _name(prepared)),
            code=prepared.code.files,
            after=prepared.after[part[0].id],
        )
        jobs |= hand_over(directories, batch)
    return jobs


def refusals(prepared: Prepared) -> list[UserError]:
    """What stands against a submission: missing data or room, and what Slurm says of the script (`--test-only`)."""
    found = list(prepared.problems)
    if prepared.plan.executor == "slurm" and prepared.todo and not found:
        from jobs import slurm

        try:
            slurm.test(_first_submission(prepared))
        except SchedulerError as error:
            found.append(error)
    return found


def script(prepared: Prepared) -> str:
    """The first batch script of a submission to Slurm, to the byte what `send` submits."""
    from jobs import slurm

    return slurm.script(_first_submission(prepared))


def _first_submission(prepared: Prepared) -> "slurm.Submission":
    from jobs import slurm

    part = _parts(prepared)[0]
    folder = free_folder(prepared.runs, _name(prepared))
    return slurm.Submission(
        name=folder.name,
        folder=folder,
        code=prepared.runs / CODE / snapshot.place_name(prepared.code),
        resources=prepared.plan.resources,
        runs=tuple(prepared.runs / run.id for run in part),
        after=after.job_ids(prepared.after[part[0].id], prepared.runs),
    )


def _parts(prepared: Prepared) -> list[Sequence[PlannedRun]]:
    """Portions that fit one Slurm array and wait for the same runs."""
    size = len(prepared.todo)
    if prepared.plan.executor == "slurm":
        from jobs import slurm

        size = slurm.array_max(size)
    groups = itertools.groupby(prepared.todo, key=lambda run: prepared.after[run.id])
    alike = [list(group) for _, group in groups]
    return [group[start : start + size] for group in alike for start in range(0, len(group), size)]


def _name(prepared: Prepared) -> str:
    return prepared.plan.sweep or prepared.plan.runs[0].id


def _write_run(prepared: Prepared, run: PlannedRun, place: Path) -> RunDir:
    """A run's records; those of a run that is there already stay as they are, but for its code."""
    directory = RunDir(prepared.runs / run.id)
    if not directory.run_json.exists():
        rundir.create(directory.path, _record(prepared, run), run.config)
    elif prepared.fresh:
        rundir.set_aside(directory)
    directory.cancelled.unlink(missing_ok=True)
    snapshot.link(place, directory.code)
    return directory


def _record(prepared: Prepared, run: PlannedRun) -> Run:
    return Run(
        id=run.id,
        recipe=prepared.plan.recipe,
        sweep=prepared.plan.sweep,
        overrides=run.overrides,
        digest=run.digest,
        created_at=time.time(),
        command_line=sys.argv,
        cwd=str(Path.cwd()),
        user=getpass.getuser(),
        host=socket.gethostname(),
        code=prepared.code,
        versions=_versions(),
        resources=prepared.plan.resources,
        trainer=_trainer(run.config),
        workdir=prepared.workdir,
    )


def _trainer(config: dict[str, Any]) -> str | None:
    """The script or module that a recipe's command starts."""
    words = [word for word in config.get("command", ()) if word != "-m"]
    return Path(words[0]).name if words else None


@cache
def _versions() -> dict[str, str]:
    return {name: _version(name) for name in _VERSIONED} | {"python": sys.version.split()[0]}


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""
