"""What a submission would do, looked at from all sides: the plan, the code, what is there already, what is amiss.

Reads much, writes nothing; `jobs.send` does the rest.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

from detector.errors import UserError
from jobs import after, checks, recipe, records, resources, settings, snapshot
from jobs.errors import ResourceError, RunError
from jobs.overview import status
from jobs.plan import Executor, Plan, PlannedRun
from jobs.plan import plan as make_plan
from jobs.recipe import Recipe
from jobs.records import Code, Run
from jobs.resources import Resources
from jobs.rundir import default_runs
from jobs.state import State


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked for. `resources` holds only what the caller set, in the keys of `[resources]`."""

    recipe: str
    sets: Sequence[str] = ()
    seeds: int | None = None
    on: Literal["auto", "local", "slurm"] = "auto"
    resources: dict[str, Any] = {}
    profile: str | None = None
    after: Sequence[str] = ()
    runs: Path | None = None
    force: bool = False


class Prepared(msgspec.Struct, frozen=True, kw_only=True):
    """A submission that was looked at.

    `standing` has the state of each planned run, `None` for a new one; `todo` are the runs that would be
    submitted; `after` has the runs that each of them waits for; `problems` keep them from it. `fresh` starts them
    from the beginning, whatever there is.
    """

    plan: Plan
    code: Code
    project: Path | None
    workdir: str
    runs: Path
    standing: dict[str, State | None]
    todo: tuple[PlannedRun, ...]
    after: dict[str, tuple[str, ...]]
    fresh: bool
    problems: tuple[UserError, ...]
    warnings: tuple[str, ...]


def prepare(request: Request) -> Prepared:
    """Plan a submission and look at what it needs; writes nothing.

    Raises:
        RecipeError, ConfigError, ResourceError: the request does not make sense.
        RunError: `force` on a run that is still going.
    """
    chosen = recipe.load(request.recipe)
    needs = _resources(chosen.resources, request)
    executor = _executor(request.on)
    runs = (request.runs or default_runs()).absolute()
    made = make_plan(
        chosen,
        sets=request.sets,
        seeds=request.seeds,
        executor=executor,
        resources=needs,
        cwd=Path.cwd(),
        owner=lambda run_id: _owner(runs, run_id),
        best_of=lambda word: after.best_of(word, runs),
    )
    project = snapshot.project_of(chosen.path) if chosen.command else None
    standing = _standing(made, runs)
    todo = tuple(run for run in made.runs if _wanted(run, standing[run.id], request.force))
    for_all = after.named(request.after, runs)
    return Prepared(
        plan=made,
        code=snapshot.inspect(project),
        project=project,
        workdir=str(chosen.path.parent.relative_to(project)) if project else "",
        runs=runs,
        standing=standing,
        todo=todo,
        after={run.id: after.unfinished((*for_all, *run.after), runs, executor) for run in todo},
        fresh=request.force,
        problems=tuple(_problems(chosen, made, runs)),
        warnings=tuple(checks.warnings(made)),
    )


def _problems(chosen: Recipe, made: Plan, runs: Path) -> list[UserError]:
    missing = checks.missing_script(chosen.command, chosen.path.parent) if chosen.command else []
    return missing + checks.problems(made, runs)


def _resources(base: Resources, request: Request) -> Resources:
    """The recipe's, then the profile's, then the caller's."""
    table: dict[str, Any] = msgspec.to_builtins(base)
    if request.profile:
        table |= resources_table(settings.profile(request.profile), f"profile {request.profile}")
    table |= resources_table(request.resources, "the command line")
    return resources.load(table, "resources")


def resources_table(table: dict[str, Any], where: str) -> dict[str, Any]:
    """The keys of a partial `[resources]` table, checked and in the units of `Resources`."""
    checked: dict[str, Any] = msgspec.to_builtins(resources.load(table, where))
    names = {"time_min" if key == "time" else key for key in table}
    return {key: value for key, value in checked.items() if key in names}


def _executor(on: str) -> Executor:
    if on not in ("auto", "local", "slurm"):
        raise ResourceError(f"--on {on}: no such executor", "use auto, local or slurm")
    if on == "auto":
        return "slurm" if shutil.which("sbatch") else "local"
    return "slurm" if on == "slurm" else "local"


def _owner(runs: Path, run_id: str) -> str | None:
    run = records.read_record(runs / run_id / "run.json", Run)
    return run.digest if run else None


def _standing(made: Plan, runs: Path) -> dict[str, State | None]:
    there = [run.id for run in made.runs if (runs / run.id / "run.json").exists()]
    known = {row.id: row.state for row in status(there, runs=runs).runs} if there else {}
    return {run.id: known.get(run.id) for run in made.runs}


def _wanted(run: PlannedRun, state: State | None, force: bool) -> bool:
    going = state in ("pending", "running", "stalled", "requeued")
    if force and going:
        raise RunError(f"{run.id} is {state}", f"`detrun cancel {run.id}` first")
    return not going and (state != "done" or force)
