"""Gathers runs that differ in their seed alone into arms, with mean and sample standard deviation. No I/O."""

import re
import statistics
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from detector.records import EVERY_METRIC, headline
from detrun.comparison import Arm, Run, Value
from detrun.readers.number import ABSENT

SEED = "seed"
_NUMBER = re.compile(r"\d+")
_FOLDED: dict[str, Callable[[Iterable[float]], float]] = {
    "gpu_hours": sum,
    "attempts": sum,
    "images_per_s": statistics.fmean,
}


def arms(runs: Sequence[Run], group: bool | None) -> list[Arm]:
    """The rows that runs make, in the order of their first runs.

    Args:
        runs: runs with an evaluation.
        group: False: a row for each run. None: runs of our own that differ in their seed alone share a row, and
            logs whose file or folder name says `seed` and that differ in numbers alone. True: also all other
            logs in one folder whose names differ in numbers alone.
    """
    groups: dict[object, list[Run]] = {}
    for index, run in enumerate(runs):
        key = None if group is False else _our_key(run) if run.ours else _log_key(run, asked=bool(group))
        groups.setdefault(index if key is None else key, []).append(run)
    return [_arm(members) for members in groups.values()]


def mean_of(runs: Sequence[Run]) -> dict[str, float]:
    """Means of the metrics that every run has; -1 where all say so, none where only some do."""
    means = {}
    for metric in EVERY_METRIC:
        values = [run.metrics[metric] for run in runs if metric in run.metrics]
        if len(values) == len(runs) and (ABSENT not in values or set(values) == {ABSENT}):
            means[metric] = statistics.fmean(values)
    return means


def sd_of(runs: Sequence[Run]) -> dict[str, float]:
    """Sample standard deviations (n - 1) of the metrics that have a mean; none for one run."""
    if len(runs) < 2:
        return {}
    known = [metric for metric, mean in mean_of(runs).items() if mean != ABSENT]
    return {metric: statistics.stdev(run.metrics[metric] for run in runs) for metric in known}


def _arm(runs: list[Run]) -> Arm:
    return Arm(
        name=_name(runs),
        runs=tuple(runs),
        metrics=mean_of(runs),
        sd=sd_of(runs),
        columns=_columns(runs),
        curve=_curve(runs),
    )


def _our_key(run: Run) -> object:
    """All of the configuration but the seed."""
    if SEED not in run.config:
        return None
    return frozenset((name, value) for name, value in run.config.items() if name != SEED)


def _log_key(run: Run, *, asked: bool) -> object:
    path = Path(run.source).absolute()
    if not asked and SEED not in f"{path.parent.name}/{path.name}".lower():
        return None
    pattern = _NUMBER.sub("*", path.name)
    return ("log", path.parent, pattern, _NUMBER.sub("*", run.name)) if pattern != path.name else None


def _name(runs: Sequence[Run]) -> str:
    if len(runs) == 1 or runs[0].ours:
        return runs[0].name
    patterns = {_NUMBER.sub("*", run.name) for run in runs}
    return patterns.pop() if len(patterns) == 1 else runs[0].name


def _columns(runs: Sequence[Run]) -> dict[str, Value]:
    known = [{**run.config, **run.columns} for run in runs]
    if len(known) == 1:
        return known[0]
    shared = {name: value for name, value in known[0].items() if all(each.get(name) == value for each in known)}
    for name, fold in _FOLDED.items():
        values = [value for each in known if isinstance(value := each.get(name), (int, float))]
        if len(values) == len(runs):
            shared[name] = fold(values)
    return shared


def _curve(runs: Sequence[Run]) -> tuple[float, ...]:
    """Mean AP, or top-1, by evaluation."""
    every = ([headline(each.metrics) for each in run.evaluations] for run in runs)
    curves = [[value for value in values if value is not None] for values in every]
    if len({len(curve) for curve in curves}) > 1:
        return ()
    return tuple(statistics.fmean(values) for values in zip(*curves, strict=True))
