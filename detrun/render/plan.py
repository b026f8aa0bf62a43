"""The screens of `detrun submit`: a plan, and what became of it. Pure."""

from detrun.render import words
from detrun.render.grid import Cell, Column, Grid, render
from jobs.overrides import show
from jobs.plan import Plan
from jobs.prepare import Prepared


def planned(prepared: Prepared) -> str:
    """What a submission would do."""
    todo = {run.id for run in prepared.todo}
    rows = [
        [Cell(run.id), *_varied(prepared.plan, run.overrides), Cell(_fate(prepared, run.id, run.id in todo))]
        for run in prepared.plan.runs
    ]
    return f"{_headline(prepared)}\n{_table(prepared, 'WOULD', rows)}"


def sent(prepared: Prepared, jobs: dict[str, str]) -> str:
    """What a submission did."""
    rows = []
    for run in prepared.plan.runs:
        if run.id in jobs:
            fate = f"submitted as job {jobs[run.id]}" if jobs[run.id] else "submitted to this machine's queue"
        else:
            fate = f"left alone: {prepared.standing[run.id]}"
        rows.append([Cell(run.id), *_varied(prepared.plan, run.overrides), Cell(fate)])
    return f"{_headline(prepared)}\n{_table(prepared, 'FATE', rows)}"


def _headline(prepared: Prepared) -> str:
    plan, needs = prepared.plan, prepared.plan.resources
    count = len(plan.runs)
    where = plan.executor + (f", partition {needs.partition}" if needs.partition and plan.executor == "slurm" else "")
    nodes = "1 node" if needs.nodes == 1 else f"{needs.nodes} nodes"
    if needs.gpus:
        each = f"{needs.gpus} GPU" if needs.gpus == 1 else f"{needs.gpus} GPUs"
        hours = f" · at most {words.number(plan.gpu_hours)} GPU-hours"
    else:
        each, hours = f"{needs.procs} CPU process" + ("es" if needs.procs > 1 else ""), ""
    limit = f"{needs.time_min} min" if needs.time_min < 120 else f"{needs.time_min / 60:.3g} h"
    runs = "1 run" if count == 1 else f"{count} runs"
    return f"Plan: {runs} · {where} · {nodes} x {each} · {limit} limit{hours} · code {prepared.code.label}"


def _table(prepared: Prepared, last: str, rows: list[list[Cell]]) -> str:
    columns = [Column("RUN"), *(Column(key) for key in prepared.plan.varied), Column(last)]
    return render(Grid(columns, rows))


def _varied(plan: Plan, overrides: dict[str, object]) -> list[Cell]:
    return [Cell(show(overrides[key])) for key in plan.varied]


def _fate(prepared: Prepared, run: str, wanted: bool) -> str:
    state = prepared.standing[run]
    if not wanted:
        return f"be left alone: {state}"
    return "start" if state is None or state == "planned" else f"resume ({state})"
