"""`detrun submit`: shows the plan, and sends it unless it is a dry run."""

import shlex
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from detector.errors import UserError
from detrun.options import Every, Json, RunsFolder

if TYPE_CHECKING:
    from jobs.prepare import Prepared

# Above this a person is asked before anything is sent.
_ASK_ABOVE_GPU_HOURS = 500.0


class On(StrEnum):
    """Where runs run."""

    auto = "auto"
    local = "local"
    slurm = "slurm"


def _recipes(incomplete: str) -> list[str]:
    from jobs.recipe import shipped

    return [name for name in shipped() if name.startswith(incomplete)]


def _keys(incomplete: str) -> list[str]:
    from detector.config import keys

    return [f"{key}=" for key in keys() if key.startswith(incomplete)]


def command(
    recipe: Annotated[
        str | None,
        typer.Argument(help="A recipe's name, or a TOML file.", autocompletion=_recipes, show_default=False),
    ] = None,
    sets: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="K=V[,V]", help="Set a key; several values make a sweep.", autocompletion=_keys),
    ] = None,
    seeds: Annotated[int | None, typer.Option("--seeds", metavar="N", help="Run N seeds of everything.")] = None,
    on: Annotated[On, typer.Option("--on", help="auto: Slurm where sbatch is on PATH, else this machine.")] = On.auto,
    nodes: Annotated[int | None, typer.Option("--nodes", min=1, help="Nodes per run.")] = None,
    gpus: Annotated[int | None, typer.Option("--gpus", min=0, help="GPUs per node; 0 trains on the CPU.")] = None,
    procs: Annotated[int | None, typer.Option("--procs", min=1, help="CPU processes per node with --gpus 0.")] = None,
    cpus: Annotated[int | None, typer.Option("--cpus", min=1, help="CPU cores per node.")] = None,
    mem_gib: Annotated[float | None, typer.Option("--mem-gib", help="Memory per node, GiB.")] = None,
    time: Annotated[str | None, typer.Option("--time", help="Time limit: 90 (minutes), 90m, 4h or 1-12:00:00.")] = None,
    partition: Annotated[str | None, typer.Option("--partition", help="Slurm partition.")] = None,
    account: Annotated[str | None, typer.Option("--account", help="Slurm account.")] = None,
    qos: Annotated[str | None, typer.Option("--qos", help="Slurm quality of service.")] = None,
    constraint: Annotated[str | None, typer.Option("--constraint", help="Slurm node features.")] = None,
    sbatch: Annotated[
        list[str] | None, typer.Option("--sbatch", metavar="K=V", help="Any other sbatch option.")
    ] = None,
    max_parallel: Annotated[
        int | None, typer.Option("--max-parallel", metavar="N", min=1, help="Runs of a sweep at once.")
    ] = None,
    setup: Annotated[
        list[str] | None, typer.Option("--setup", metavar="CMD", help="Shell line before the run, such as module load.")
    ] = None,
    stage: Annotated[
        str | None, typer.Option("--stage", metavar="DIR", help="Copy or unpack the data to this folder of each node.")
    ] = None,
    profile: Annotated[
        str | None, typer.Option("--profile", metavar="NAME", help="[profile.NAME] of ~/.config/detrun/config.toml.")
    ] = None,
    after: Annotated[
        list[str] | None, typer.Option("--after", metavar="RUN", help="Start when this run has ended well.")
    ] = None,
    folder: RunsFolder = None,
    dry_run: Annotated[bool, typer.Option("-n", "--dry-run", help="Show plan and script; send nothing.")] = False,
    watch: Annotated[bool, typer.Option("-w", "--watch", help="Watch the runs until they end.")] = False,
    every: Every = 2.0,
    force: Annotated[bool, typer.Option("--force", help="Run what is done again, from the start.")] = False,
    yes: Annotated[bool, typer.Option("-y", "--yes", help="Do not ask, however large the plan.")] = False,
    show_list: Annotated[bool, typer.Option("--list", help="List the recipes and exit.")] = False,
    as_json: Json = False,
) -> None:
    """Plan a recipe and submit it: one run, or a sweep. What is done or going already is left alone."""
    if show_list:
        _list(as_json)
        return
    if recipe is None:
        raise typer.BadParameter("which recipe? `detrun submit --list` shows those there are", param_hint="RECIPE")
    from jobs.prepare import Request, prepare

    given: dict[str, Any] = {
        "nodes": nodes,
        "gpus": gpus,
        "procs": procs,
        "cpus": cpus,
        "mem_gib": mem_gib,
        "time": time,
    }
    given |= {"partition": partition, "account": account, "qos": qos, "constraint": constraint}
    given |= {"stage": stage, "max_parallel": max_parallel, "setup": setup or None, "sbatch": _pairs(sbatch)}
    request = Request(
        recipe=recipe,
        sets=sets or (),
        seeds=seeds,
        on=on.value,
        resources={key: value for key, value in given.items() if value is not None},
        profile=profile,
        after=after or (),
        runs=folder,
        force=force,
    )
    prepared = prepare(request)
    if dry_run:
        _show_dry_run(prepared, as_json)
        return
    if not yes:
        _ask(prepared)
    _send(prepared, as_json)
    if watch:
        from detrun.status import watch_runs

        raise typer.Exit(watch_runs([run.id for run in prepared.plan.runs], prepared.runs, every))


def _send(prepared: "Prepared", as_json: bool) -> None:
    from jobs.send import send

    for line in prepared.warnings:
        typer.echo(f"warning: {line}", err=True)
    jobs = send(prepared)
    if as_json:
        _echo_json(prepared, jobs, None, [])
        return
    from detrun.render import plan as screen

    typer.echo(screen.sent(prepared, jobs))
    typer.echo(f"Next: {_next_command(prepared)}", err=True)


def _next_command(prepared: "Prepared") -> str:
    runs = "" if prepared.runs == Path.cwd() / "runs" else f" --runs {shlex.quote(str(prepared.runs))}"
    return f"detrun status --watch{runs}"


def _show_dry_run(prepared: "Prepared", as_json: bool) -> None:
    """The plan, the script, and on stderr what a real submission here would stumble over."""
    from jobs.send import refusals
    from jobs.send import script as script_of

    script, problems = None, refusals(prepared)
    if prepared.plan.executor == "slurm" and prepared.todo:
        script = script_of(prepared)
    if as_json:
        _echo_json(prepared, {}, script, problems)
    else:
        from detrun.render import plan as screen

        typer.echo(screen.planned(prepared))
        if script:
            typer.echo(script)
    for line in prepared.warnings:
        typer.echo(f"warning: {line}", err=True)
    for problem in problems:
        hint = f" ({problem.hint})" if problem.hint else ""
        typer.echo(f"warning: this machine would refuse it: {problem}{hint}", err=True)
    typer.echo("Nothing submitted. Leave out --dry-run to submit.", err=True)


def _ask(prepared: "Prepared") -> None:
    hours = prepared.plan.gpu_hours
    if hours > _ASK_ABOVE_GPU_HOURS and sys.stdin.isatty():
        from detrun.render import plan as screen

        typer.echo(screen.planned(prepared), err=True)
        runs = "1 run" if len(prepared.todo) == 1 else f"{len(prepared.todo)} runs"
        typer.confirm(f"{runs}, at most {hours:.0f} GPU-hours. Submit?", abort=True, err=True)


def _echo_json(prepared: "Prepared", jobs: dict[str, str], script: str | None, problems: list[UserError]) -> None:
    import msgspec

    plan = prepared.plan
    todo = {run.id for run in prepared.todo}
    runs: list[dict[str, Any]] = [
        {
            "id": run.id,
            "overrides": run.overrides,
            "state": prepared.standing[run.id],
            "submit": run.id in todo,
            "job_id": jobs.get(run.id) or None,
            "path": str(prepared.runs / run.id),
        }
        for run in plan.runs
    ]
    value = {
        "schema": 1,
        "recipe": plan.recipe,
        "executor": plan.executor,
        "sweep": plan.sweep,
        "resources": plan.resources,
        "gpu_hours": plan.gpu_hours,
        "runs": runs,
        "script": script,
        "warnings": list(prepared.warnings),
        "problems": [str(problem) for problem in problems],
    }
    typer.echo(msgspec.json.encode(value).decode())


def _list(as_json: bool) -> None:
    from jobs import recipe

    described = {name: recipe.load(name).description for name in recipe.shipped()}
    if as_json:
        import msgspec

        typer.echo(msgspec.json.encode({"schema": 1, "recipes": described}).decode())
        return
    width = max(map(len, described))
    typer.echo("\n".join(f"{name:<{width}}  {text}" for name, text in described.items()))


def _pairs(options: list[str] | None) -> dict[str, str] | None:
    if not options:
        return None
    pairs = {}
    for option in options:
        key, equals, value = option.lstrip("-").partition("=")
        if not key:
            raise typer.BadParameter(f"{option!r} is not K=V", param_hint="--sbatch")
        pairs[key] = value if equals else ""
    return pairs
