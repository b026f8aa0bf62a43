"""The screen of `detrun status RUN`: everything about one run."""

import shlex
from pathlib import Path

from detector.records import Event
from detrun.render import words
from detrun.render.status import LOOKS, runs_option
from jobs.logs import LogReader, newest
from jobs.overrides import show
from jobs.overview import RunStatus
from jobs.rundir import RunDir
from jobs.state import ENDED

_LAST_LINES = 8
_LABEL = 13


def detail(run: RunStatus) -> str:
    """A line each for what it is, where it stands and what to type; many for its history."""
    directory = RunDir(Path(run.path))
    events = [event for event in directory.all_events() if event.event not in ("heartbeat", "staging")]
    parts = [
        ("run", [run.id]),
        ("state", [f"{LOOKS[run.state][0]} {run.state}" + (f": {run.reason}" if run.reason else "")]),
        *_request(directory),
        ("progress", [_progress(run)]),
        ("evaluation", [_evaluation(run)]),
        ("attempts", [f"{run.attempts}" + (f", {run.gpu_hours:.3g} GPU-hours" if run.gpu_hours else "")]),
        ("job", [_job(run)]),
        ("started", [words.iso(run.started_at) or words.NOTHING]),
        ("ended", [words.iso(run.ended_at) or words.NOTHING]),
        ("checkpoints", _checkpoints(directory)),
        ("folder", [run.path]),
        ("history", [_event(event, many=len(run.hosts) > 1) for event in events]),
        ("last lines", _last_lines(directory, events) if run.state == "failed" else []),
        ("commands", _commands(run, directory)),
    ]
    return "\n".join(
        f"{'' if place else name:<{_LABEL}}{line}" for name, lines in parts for place, line in enumerate(lines)
    )


def _request(directory: RunDir) -> list[tuple[str, list[str]]]:
    record = directory.run()
    pairs = [f"{key} = {show(value)}" for key, value in record.overrides.items()]
    return [
        ("recipe", [record.recipe + (f", sweep {record.sweep}" if record.sweep else "")]),
        ("differs in", pairs or ["nothing"]),
        ("code", [f"{record.code.label}, {record.code.root}"]),
        ("submitted by", [shlex.join(record.command_line)]),
    ]


def _progress(run: RunStatus) -> str:
    if run.epoch is None:
        return words.NOTHING
    parts = [f"epoch {run.epoch}/{run.epochs or '?'}"]
    parts += [f"step {run.step}"] * (run.step is not None)
    parts += [f"loss {words.number(run.loss)}"] * (run.loss is not None)
    parts += [f"{words.duration(run.eta_s)} left"] * (run.eta_s is not None)
    return ", ".join(parts)


def _evaluation(run: RunStatus) -> str:
    if not run.metrics:
        return "none yet"
    return "  ".join(f"{name} {words.metric(value)}" for name, value in run.metrics.items() if value is not None)


def _job(run: RunStatus) -> str:
    where = f" on {', '.join(run.hosts)}" if run.hosts else ""
    return f"{run.executor or words.NOTHING} {run.job_id or ''}{where}".strip()


def _checkpoints(directory: RunDir) -> list[str]:
    found = []
    for path in sorted(directory.checkpoints.glob("*.pt")):
        status = path.stat()
        found.append(f"{path.name}  {status.st_size / 2**20:.1f} MiB, {words.clock(status.st_mtime)}")
    return found or ["none yet"]


def _event(event: Event, *, many: bool) -> str:
    host = f"  {event.host}" if many and event.host else ""
    rank = f" (rank {event.rank} on {event.host})" if event.rank is not None else ""
    step = f" at step {event.step}" if event.step is not None else ""
    reason = f": {event.reason}" if event.reason else ""
    return f"{words.iso(event.t)}{host}  attempt {event.attempt}  {event.event}{step}{rank}{reason}"


def _last_lines(directory: RunDir, events: list[Event]) -> list[str]:
    """What the rank that failed first said last."""
    attempt = max((event.attempt for event in events), default=0)
    failures = [event for event in events if event.event == "failed" and event.attempt == attempt]
    if not failures:
        return []
    first = min(failures, key=lambda event: (bool(event.echo), event.t))
    reader = LogReader(directory, rank=first.rank, attempt=first.attempt)
    return list(reader.new_lines(final=True))[-_LAST_LINES:]


def _commands(run: RunStatus, directory: RunDir) -> list[str]:
    option = runs_option(run)
    commands = [f"detrun logs {run.id} -f{option}" if run.state not in ENDED else f"detrun logs {run.id}{option}"]
    if log := newest(directory):
        commands.append(f"tail -F {shlex.quote(str(log))}")
    if run.state not in ENDED and run.executor == "slurm" and run.job_id:
        commands.append(f"scontrol show job {run.job_id}")
    if run.state in ("failed", "cancelled", "lost"):
        commands.append(f"detrun retry {run.id}{option}")
    elif run.state not in ENDED:
        commands.append(f"detrun cancel {run.id}{option}")
    return commands
