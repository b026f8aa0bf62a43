"""Runs of our own whose trainer is another program: their evaluations are read from what it wrote."""

from pathlib import Path

import msgspec

from detrun.readers.evaluation import Evaluation
from detrun.readers.folder import FoundLog, natural, walk
from detrun.readers.run_dir import RunReading

_OURS = {
    "run.json",
    "config.json",
    "job.json",
    "job.sbatch",
    "events.jsonl",
    "metrics.jsonl",
    "code",
    "checkpoints",
    "eval",
}


def with_logs(reading: RunReading) -> RunReading:
    """The run with the evaluations of its logs, where it has none of our trainer's."""
    if reading.evaluations:
        return reading
    return msgspec.structs.replace(reading, evaluations=evaluations_of(reading.path))


def evaluations_of(run: Path) -> tuple[Evaluation, ...]:
    """What the logs of a run directory tell.

    Each attempt's richest log counts, in order of attempts; without logs, the richest file that the program left.
    """
    attempts = sorted((run / "logs").glob("attempt_*"), key=natural)
    found = [_richest([attempt]) for attempt in attempts] or [_richest([run / "logs"])]
    evaluations = tuple(each for attempt in found for each in attempt)
    return evaluations or _richest([path for path in sorted(run.iterdir()) if _is_theirs(path)])


def _is_theirs(path: Path) -> bool:
    return path.name not in _OURS and path.name != "logs" and not path.name.startswith((".", "events"))


def _richest(paths: list[Path]) -> tuple[Evaluation, ...]:
    """The evaluations of the log that has most of them."""
    logs = [each.log for path in paths if path.exists() for each in walk(path) if isinstance(each, FoundLog)]
    return max((log.evaluations for log in logs), key=len, default=())
