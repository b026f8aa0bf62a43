"""Where every run stands: files of the run directories, and one call to each scheduler that is concerned."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from detector.records import METRICS
from jobs import kept, scheduler
from jobs.facts import Facts
from jobs.rundir import RunDir, default_runs
from jobs.select import select
from jobs.state import ENDED, Standing, State, stand

SCHEMA = 1


class RunStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One run as `detrun status --json` shows it; `None` for what is not known.

    `epoch` is the one in progress or the last, `loss` the mean since the last log line, `metrics` the last
    evaluation's (the twelve, and of a classifier top-1 and top-5), `gpu_hours` over all attempts (of CPU nodes for a
    run without GPUs: 0). `trainer` names the program of a recipe with a command, and is `None` for our own. Times are
    Unix seconds.
    """

    id: str
    recipe: str
    sweep: str | None
    state: State
    executor: str | None
    job_id: str | None
    reason: str
    epoch: int | None
    epochs: int | None
    step: int | None
    loss: float | None
    images_per_s: float | None
    eta_s: float | None
    metrics: dict[str, float | None] | None
    gpu_hours: float
    attempts: int
    started_at: float | None
    ended_at: float | None
    start_at: float | None
    submitted_at: float | None
    hosts: list[str]
    overrides: dict[str, Any]
    trainer: str | None
    path: str


class SchedulerStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the scheduler answered; `ok` is true where there was nothing to ask. `age_s` is its answer's."""

    ok: bool
    error: str | None
    age_s: float | None


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to `status`: its JSON form is documented in the README."""

    schema: int = SCHEMA
    runs: list[RunStatus]
    scheduler: SchedulerStatus


def status(selectors: Sequence[str] = (), *, runs: Path | None = None, state: str | None = None) -> Status:
    """Where runs stand, newest first or in the order named.

    Args:
        selectors: ids, prefixes, recipes, sweeps, `@last`; all runs where empty.
        runs: the runs folder, `$DETRUN_RUNS` or `./runs` by default.
        state: keep only runs in this state.

    Raises:
        RunError: a selector names no run, or the runs folder cannot be read.
    """
    directories = select(selectors, runs or default_runs())
    gathered = list(zip(directories, kept.gather_all(directories), strict=True))
    answer = scheduler.ask([each for _, each in gathered])
    now = time.time()
    # The local queue knows runs by their real paths; finding one out costs a look at every folder above it.
    real = {parent: parent.resolve() for parent in {directory.path.parent for directory in directories}}
    rows = [
        _row(directory, each, stand(each, str(real[directory.path.parent] / directory.id), answer, now))
        for directory, each in gathered
    ]
    age_s = max(0.0, now - answer.asked_at) if answer.asked_at is not None else None
    return Status(
        runs=[row for row in rows if state in (None, row.state)],
        scheduler=SchedulerStatus(ok=answer.ok is not False, error=answer.error or None, age_s=age_s),
    )


def _row(directory: RunDir, known: Facts, standing: Standing) -> RunStatus:
    run, job, progress = known.run, known.job, known.progress
    evaluation = known.evaluation
    ended = standing.state in ENDED
    needs = job.resources if job else run.resources
    return RunStatus(
        id=run.id,
        recipe=run.recipe,
        sweep=run.sweep,
        state=standing.state,
        executor=job.executor if job else None,
        job_id=(job.job_id.split("-")[0] if job else "") or standing.job_id or None,
        reason=standing.reason,
        epoch=progress.epoch if progress else None,
        epochs=progress.epochs if progress else None,
        step=progress.step if progress else None,
        loss=progress.loss if progress else None,
        images_per_s=progress.images_per_s if progress else None,
        eta_s=_eta_s(known) if standing.state == "running" else None,
        metrics=dict.fromkeys(METRICS) | evaluation.metrics if evaluation else None,
        gpu_hours=_seconds(known, standing) * needs.nodes * needs.gpus / 3600,
        attempts=known.attempts,
        started_at=known.started_at,
        ended_at=(known.ended_at or known.beat_at) if ended else None,
        start_at=standing.start_at if standing.state in ("pending", "requeued") else None,
        submitted_at=job.submitted_at if job else None,
        hosts=known.hosts,
        overrides=run.overrides,
        trainer=run.trainer,
        path=str(directory.path.absolute()),
    )


def _eta_s(known: Facts) -> float | None:
    """What the trainer last estimated, less the time since."""
    progress = known.progress
    if progress is None or progress.eta_s is None:
        return None
    return max(0.0, progress.eta_s - max(0.0, time.time() - progress.t))


def _seconds(known: Facts, standing: Standing) -> float:
    """Time on nodes over all attempts; one that runs counts until now."""
    running = standing.state == "running" and known.beat_at is not None
    return known.node_s + (max(0.0, time.time() - known.beat_at) if running and known.beat_at else 0.0)
