"""The screen of `detrun status`: a table of runs, their totals and what to do next."""

import shlex
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from detrun.render import words
from detrun.render.grid import Cell, Column, Grid, on_terminal, render
from jobs.facts import losses
from jobs.overrides import show
from jobs.overview import RunStatus, Status
from jobs.rundir import RunDir, default_runs
from jobs.state import ENDED, STATES

# Ended runs that a terminal shows without --all.
_ENDED_SHOWN = 15

LOOKS = {
    "planned": ("○", "dim"),
    "pending": ("◌", "yellow"),
    "running": ("●", "green"),
    "stalled": ("◍", "magenta"),
    "requeued": ("↻", "yellow"),
    "done": ("✓", "blue"),
    "failed": ("✗", "red"),
    "cancelled": ("⊘", "dim"),
    "lost": ("?", "red"),
}


def overview(status: Status, *, show_all: bool) -> str:
    """The table, its totals, how old the scheduler's answer is, and what to do next."""
    if not status.runs:
        return "no runs here yet. Next: detrun submit digits" if on_terminal() else render(table([]))
    shown = status.runs if show_all or not on_terminal() else _recent(status.runs)
    parts = [render(table(shown))]
    if on_terminal():
        parts.append(footer(status, len(shown)))
    return "\n".join(parts)


def table(runs: Sequence[RunStatus]) -> Grid:
    """One line a run; columns that tell nothing are left out on a terminal."""
    now = time.time()
    varied = _varied(runs)
    many_recipes = len({run.recipe for run in runs}) > 1 or not varied
    spend = any(run.gpu_hours for run in runs)
    everything = not on_terminal()
    columns = [Column("RUN")]
    columns += [Column("RECIPE")] * (many_recipes or everything)
    columns += [Column(key, yields=True) for key in varied]
    columns += [Column("STATE"), Column("EPOCH", yields=True), Column("LOSS", yields=True)]
    columns += [Column("AP", right=True), Column("IMG/S", right=True)]
    columns += [Column("GPU-H", right=True)] * (spend or everything) + [Column("ETA", yields=True)]
    columns += [Column("JOB"), Column("STARTED"), Column("PATH")] * everything
    rows = []
    for run in runs:
        row = [Cell(run.id.rpartition("-")[2], "bold", raw=run.id)]
        row += [Cell(run.recipe)] * (many_recipes or everything)
        row += [Cell(show(run.overrides.get(key, words.NOTHING))) for key in varied]
        row += [_state(run), _epoch(run), _loss(run), _ap(run), _rate(run)]
        row += [Cell(words.number(run.gpu_hours or None), raw=f"{run.gpu_hours:.3f}")] * (spend or everything)
        row += [_eta(run, now)]
        row += [Cell(run.job_id or ""), Cell(words.iso(run.started_at)), Cell(run.path)] * everything
        rows.append(row)
    return Grid(columns, rows)


def footer(status: Status, shown: int) -> str:
    """Totals and the next command."""
    counts = Counter(run.state for run in status.runs)
    totals = " · ".join(f"{counts[state]} {state}" for state in STATES if counts[state])
    if shown < len(status.runs):
        totals += f" · {len(status.runs) - shown} not shown (--all)"
    lines = [totals + _scheduler(status)]
    following = _next(status.runs)
    return "\n".join(lines + ([f"Next: {following}"] if following else []))


def _recent(runs: Sequence[RunStatus]) -> list[RunStatus]:
    ended = [run for run in runs if run.state in ENDED][:_ENDED_SHOWN]
    kept = {run.id for run in ended}
    return [run for run in runs if run.state not in ENDED or run.id in kept]


def _varied(runs: Sequence[RunStatus]) -> list[str]:
    """Keys that were set differently in runs of one recipe."""
    keys: dict[str, set[str]] = {}
    for run in runs:
        for key, value in run.overrides.items():
            keys.setdefault(key, set()).add(repr(value))
    one_recipe = len({run.recipe for run in runs}) == 1
    return [key for key, values in keys.items() if len(values) > 1] if one_recipe else []


def _state(run: RunStatus) -> Cell:
    glyph, style = LOOKS[run.state]
    return Cell(f"{glyph} {run.state}", style, raw=run.state)


def _epoch(run: RunStatus) -> Cell:
    if run.epoch is None or not run.epochs:
        return Cell(words.NOTHING, raw="")
    text = f"{run.epoch}/{run.epochs}"
    return Cell(
        f"{text:<6} {words.bar(run.epoch / run.epochs)}" if run.state in ("running", "stalled") else text, raw=text
    )


def _loss(run: RunStatus) -> Cell:
    if run.loss is None:
        return Cell(words.NOTHING, raw="")
    trend = words.sparkline(losses(RunDir(Path(run.path)))) if on_terminal() else ""
    return Cell(f"{words.number(run.loss)} {trend}".rstrip(), raw=repr(run.loss))


def _ap(run: RunStatus) -> Cell:
    if run.metrics and "top1" in run.metrics:
        return Cell(f"top1 {words.metric(run.metrics['top1'])}", "bold", raw=f"top1={run.metrics['top1']!r}")
    ap = run.metrics.get("AP") if run.metrics else None
    return Cell(words.metric(ap), "bold" if ap is not None else "", raw="" if ap is None else repr(ap))


def _rate(run: RunStatus) -> Cell:
    return Cell(words.number(run.images_per_s), raw="" if run.images_per_s is None else f"{run.images_per_s:.2f}")


def _eta(run: RunStatus, now: float) -> Cell:
    """What is left, when it starts, or why it is as it is."""
    if run.state == "running" and run.eta_s is not None and not run.reason:
        return Cell(words.duration(run.eta_s), raw=f"{run.eta_s:.0f}")
    if run.state in ("pending", "requeued") and run.start_at:
        why = f" ({run.reason})" if run.reason else ""
        return Cell(f"start ~{words.clock(run.start_at, now)}{why}", raw=words.iso(run.start_at))
    if run.state == "done":
        took = run.ended_at - run.started_at if run.ended_at and run.started_at else None
        return Cell(f"took {words.duration(took)}" if took else "", "dim", raw="")
    return Cell(run.reason, LOOKS[run.state][1] if run.state in ("failed", "lost", "stalled") else "dim")


def _scheduler(status: Status) -> str:
    scheduler = status.scheduler
    if not scheduler.ok:
        old = f", its last answer is {words.age(scheduler.age_s)} old" if scheduler.age_s else ""
        return f"     slurm does not answer: {scheduler.error}{old}"
    return f"     slurm asked {words.age(scheduler.age_s)} ago" if scheduler.age_s is not None else ""


def _next(runs: Sequence[RunStatus]) -> str:
    for state, verb in (("failed", "logs"), ("lost", "retry"), ("stalled", "logs"), ("running", "logs -f")):
        named = [run for run in runs if run.state == state]
        if named:
            return f"detrun {verb} {named[0].id.rpartition('-')[2]}{runs_option(named[0])}"
    if any(run.state in ("pending", "requeued") for run in runs):
        return "detrun status --watch"
    done = [run for run in runs if run.state == "done"]
    return f"detrun report {done[0].recipe}{runs_option(done[0])}" if done else ""


def runs_option(run: RunStatus) -> str:
    """What to add so that a command typed here finds the run."""
    folder = Path(run.path).parent
    return "" if folder == default_runs().absolute() else f" --runs {shlex.quote(str(folder))}"
