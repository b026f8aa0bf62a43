"""Makes the comparison of some runs: filters, groups, orders, and computes differences and verdicts. No I/O.

In: runs, and what was asked. Out: one `Comparison`, without the parts that need the detections (see
`detrun.comparison.bootstrap`, `detrun.comparison.classes`, `detrun.comparison.errors`).
"""

from collections.abc import Callable, Sequence
from functools import partial

import msgspec

from detector.config import nearest
from detector.errors import UserError
from detector.records import CLASS_METRICS, EVERY_METRIC, METRICS
from detrun.comparison import Arm, Comparison, Run, Selection, Value, difference, flags
from detrun.comparison.arms import SEED, arms
from detrun.comparison.verdict import verdict
from detrun.comparison.where import column_named, parse
from detrun.readers.evaluation import Unread

DONE = "done"

# Columns beside the configuration that say what was compared, where they differ.
_TELLING = ("git_sha", "parameters")

# Columns that every run has.
_OWN: dict[str, Callable[[Run], Value]] = {
    "name": lambda run: run.name,
    "id": lambda run: run.id,
    "source": lambda run: run.source,
    "state": lambda run: run.state,
    "iou_type": lambda run: run.iou_type,
    "selected": lambda run: run.selected_by,
    "epoch": lambda run: run.selected.epoch if run.selected else None,
    "step": lambda run: run.selected.step if run.selected else None,
    "evaluations": lambda run: len(run.evaluations),
    "flags": lambda run: "; ".join(run.flags),
}


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked of some runs.

    Attributes:
        iou_type: None takes `bbox` where any run has it.
        selected_by: which evaluation of each run is compared.
        baseline: names the arm that differences are to: by name, id, or the beginning of either. None is the
            first run given, of our own runs the oldest.
        where: a condition on columns, see `detrun.comparison.where`.
        sort: a column, with `-` before it for the largest first. None keeps the order given, with runs of our
            own by falling AP.
        group: see `detrun.comparison.arms.arms`.
    """

    iou_type: str | None = None
    selected_by: Selection = "last"
    baseline: str | None = None
    where: str | None = None
    sort: str | None = None
    group: bool | None = None


def compare(runs: Sequence[Run], question: Question, unread: Sequence[Unread] = ()) -> Comparison:
    """The comparison of runs that were read accordingly, in the order in which they were given.

    Raises:
        UserError: the baseline, a column or a condition names nothing.
    """
    if question.where:
        condition = parse(question.where, columns_of(runs))
        runs = [run for run in runs if condition(partial(value_of_run, run))]
    evaluated = [run for run in runs if run.selected]
    ranked = arms([run for run in evaluated if run.state == DONE], question.group)
    unranked = arms([run for run in evaluated if run.state != DONE], group=False)
    baseline = _baseline(question.baseline, [*ranked, *unranked])
    comparison = Comparison(
        arms=tuple(_ordered([_against(arm, baseline) for arm in ranked], question.sort)),
        unranked=tuple(_ordered([_against(arm, baseline) for arm in unranked], question.sort)),
        without=tuple(run for run in runs if not run.selected),
        iou_type=next((run.iou_type for run in runs), question.iou_type or "bbox"),
        selected_by=question.selected_by,
        baseline=baseline.name if baseline and len(ranked) + len(unranked) > 1 else None,
        varying=tuple(_varying([*ranked, *unranked])),
        setting=flags.setting(evaluated),
        flags=(*flags.comparability(evaluated), *flags.unranked(runs)),
        unread=tuple(unread),
    )
    return msgspec.structs.replace(comparison, notes=flags.notes(comparison))


def columns_of(runs: Sequence[Run]) -> dict[str, None]:
    """The names of everything that some run has a value for, in order."""
    names = dict.fromkeys(_OWN)
    for run in runs:
        names |= dict.fromkeys(run.config) | dict.fromkeys(run.columns)
    of_classes = [name for name in CLASS_METRICS if any(name in run.metrics for run in runs)]
    return names | dict.fromkeys(of_classes or METRICS)


def value_of_run(run: Run, column: str) -> Value:
    """What a run has in a column; None where it has nothing."""
    if column in _OWN:
        return _OWN[column](run)
    for known in (run.metrics, run.columns, run.config):
        if column in known:
            return known[column]
    return None


def value_of_arm(arm: Arm, column: str) -> Value:
    """What all runs of an arm share in a column, their mean or their sum; None where they differ."""
    if column in EVERY_METRIC:
        return arm.metrics.get(column)
    if column == "name":
        return arm.name
    if column in arm.columns:
        return arm.columns[column]
    values = [value_of_run(run, column) for run in arm.runs]
    return values[0] if all(value == values[0] for value in values) else None


def _baseline(word: str | None, every: Sequence[Arm]) -> Arm | None:
    """The arm that a word names, by its name or one of its runs; without a word the first, or of ours the oldest.

    Raises:
        UserError: it names none, or several.
    """
    if word is None:
        return min(every, key=lambda arm: _age(arm.runs[0]), default=None)
    names = {name: arm for arm in every for run in arm.runs for name in (arm.name, run.name, run.id)}
    if word in names:
        return names[word]
    begun = {arm.name: arm for name, arm in names.items() if name.startswith(word)}
    if len(begun) == 1:
        return begun.popitem()[1]
    problem = f"--baseline {word}: " + (f"begins the names of {len(begun)} runs" if begun else "no such run here")
    raise UserError(problem, nearest(word, sorted(names)) or "one of " + ", ".join(arm.name for arm in every))


def _age(run: Run) -> float:
    created_at = run.columns.get("created_at")
    return created_at if isinstance(created_at, float) else 0.0


def _against(arm: Arm, baseline: Arm | None) -> Arm:
    if baseline is None or arm is baseline:
        return msgspec.structs.replace(arm, is_baseline=arm is baseline)
    arm = msgspec.structs.replace(arm, deltas=difference(arm.metrics, baseline.metrics))
    return msgspec.structs.replace(arm, verdict=verdict(arm, baseline))


def _ordered(rows: list[Arm], sort: str | None) -> list[Arm]:
    """By a column; rows without a value come last. Without one as given, or by falling AP or top-1 if all are ours."""
    if not rows or (sort is None and not all(run.ours for arm in rows for run in arm.runs)):
        return rows
    word = sort or ("-top1" if any("top1" in arm.metrics for arm in rows) else "-AP")
    column = column_named(word.removeprefix("-"), columns_of([arm.runs[0] for arm in rows]), "--sort")
    keyed = [(value_of_arm(arm, column), arm) for arm in rows]
    there = [pair for pair in keyed if pair[0] is not None]
    there.sort(key=lambda pair: _sortable(pair[0]), reverse=word.startswith("-"))
    return [arm for _, arm in there] + [arm for value, arm in keyed if value is None]


def _sortable(value: Value) -> tuple[bool, float, str]:
    """Numbers before words."""
    return (False, float(value), "") if isinstance(value, (int, float)) else (True, 0.0, str(value))


def _varying(every: Sequence[Arm]) -> list[str]:
    """Config keys in which arms differ, in the order of definition, and what else tells what was trained.

    The seed counts only where nothing else tells two arms apart.
    """
    runs = [arm.runs[0] for arm in every]
    keys = {key: None for run in runs for key in run.config if key != SEED}
    differing = [key for key in keys if len({run.config.get(key) for run in runs}) > 1]
    others = [name for name in _TELLING if len({run.columns.get(name) for run in runs}) > 1]
    told = {tuple(run.config.get(key) for key in differing) for run in runs if run.config}
    alike = len(told) < sum(bool(run.config) for run in runs)
    return [*differing, *([SEED] if alike else []), *others]
