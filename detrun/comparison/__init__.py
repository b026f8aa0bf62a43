"""The comparison of runs, whole and computed: what any renderer shows, and no renderer computes. No I/O.

An arm is what one row of a table stands for: a run, or runs that differ in their seed alone.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

import msgspec

from detector.records import EVERY_METRIC, OF_CLASSES
from detrun.readers.evaluation import Evaluation, Unread
from detrun.readers.number import ABSENT
from detrun.readers.run_dir import Setting

Value = str | int | float | bool | None
Selection = Literal["last", "best"]


class _Record(msgspec.Struct, frozen=True, kw_only=True):
    """Base of the values here: immutable, keyword-only."""


class Run(_Record, frozen=True, kw_only=True):
    """One run with its evaluations of one IoU type.

    Attributes:
        name: the shortest that tells it apart.
        id: of a run directory its name, else the same as `name`.
        source: where it was read.
        iou_type: of its evaluations.
        evaluations: in the order of the log.
        selected: the one that is compared; `last` and `best` are the candidates. All None without evaluations.
        state: as `status` calls it; a log of others is `done`.
        config: its whole configuration by dotted key; empty for logs.
        columns: everything else that is known of it, by column name.
        setting: under what `selected` was made, where that is recorded.
        file: where `selected` is stored, for runs of our own.
        flags: what is doubtful, each as `kind: words`.
        ours: whether it is a run directory.
    """

    name: str
    id: str
    source: str
    iou_type: str
    evaluations: tuple[Evaluation, ...] = ()
    selected: Evaluation | None = None
    last: Evaluation | None = None
    best: Evaluation | None = None
    selected_by: Selection = "last"
    state: str = "done"
    config: Mapping[str, Value] = {}
    columns: Mapping[str, Value] = {}
    setting: Setting | None = None
    file: Path | None = None
    flags: tuple[str, ...] = ()
    ours: bool = False

    @property
    def metrics(self) -> Mapping[str, float]:
        return self.selected.metrics if self.selected else {}


class Interval(_Record, frozen=True, kw_only=True):
    """A 95% confidence interval of a difference, from a paired bootstrap over images."""

    lower: float
    upper: float

    @property
    def excludes_zero(self) -> bool:
        return self.lower > 0.0 or self.upper < 0.0


class Arm(_Record, frozen=True, kw_only=True):
    """One row: the mean over its runs, and its difference from the baseline's.

    Attributes:
        metrics: means over the runs that have the metric; -1 where COCO says so for all of them.
        sd: sample standard deviations over the runs; empty for one run.
        deltas: differences from the baseline, of metrics that both have; empty for the baseline itself.
        intervals: of the differences, where they were asked for and could be computed.
        verdict: what the data carry, in words; `""` where they carry none.
        columns: values that all its runs share, config keys among them; costs are summed, speeds averaged.
        curve: mean AP over the evaluations, where all runs have as many.
        flags: of its runs, each once.
    """

    name: str
    runs: tuple[Run, ...]
    metrics: Mapping[str, float]
    sd: Mapping[str, float] = {}
    deltas: Mapping[str, float] = {}
    intervals: Mapping[str, Interval] = {}
    verdict: str = ""
    is_baseline: bool = False
    columns: Mapping[str, Value] = {}
    curve: tuple[float, ...] = ()

    @property
    def flags(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(flag for run in self.runs for flag in run.flags))


class ClassRow(_Record, frozen=True, kw_only=True):
    """AP of one category in each arm, by arm name, and the differences from the baseline."""

    name: str
    ap: Mapping[str, float]
    deltas: Mapping[str, float]


class ErrorRow(_Record, frozen=True, kw_only=True):
    """TIDE's errors of one arm's first run: how much AP50 each kind costs (Bolya et al., ECCV 2020, section 3)."""

    arm: str
    costs: Mapping[str, float]


class Comparison(_Record, frozen=True, kw_only=True):
    """Everything that a report shows.

    Attributes:
        arms: finished runs, in order; `unranked` have evaluations but are not finished.
        without: runs that have no evaluation of the IoU type.
        iou_type, selected_by: what was compared.
        baseline: the name of the arm that differences are to; None where there is one arm or none.
        varying: the columns in which arms differ, such as config keys.
        setting: what all evaluations share, one line in parts.
        notes: how to read the numbers; flags: why they may not be comparable.
        classes, errors: where asked for.
        unread: files that no reader understood.
    """

    arms: tuple[Arm, ...]
    unranked: tuple[Arm, ...] = ()
    without: tuple[Run, ...] = ()
    iou_type: str = "bbox"
    selected_by: Selection = "last"
    baseline: str | None = None
    varying: tuple[str, ...] = ()
    setting: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    classes: tuple[ClassRow, ...] = ()
    errors: tuple[ErrorRow, ...] = ()
    unread: tuple[Unread, ...] = ()

    @property
    def every_arm(self) -> tuple[Arm, ...]:
        return (*self.arms, *self.unranked)

    @property
    def headline(self) -> str:
        """The metric that arms are ordered by and differ in."""
        return "top1" if self.iou_type == OF_CLASSES else "AP"

    @property
    def every_flag(self) -> list[str]:
        """What a table says below itself: flags of the whole, and of each arm but its state, which has a column."""
        of_arms = [f"{arm.name}: {flag}" for arm in self.every_arm for flag in arm.flags]
        return [*self.flags, *(flag for flag in of_arms if ": state: " not in flag)]

    @property
    def runs(self) -> tuple[Run, ...]:
        """Every run, ranked ones first."""
        return (*(run for arm in self.every_arm for run in arm.runs), *self.without)

    def flagged(self, flags: Iterable[str]) -> "Comparison":
        """The same with more flags."""
        return msgspec.structs.replace(self, flags=(*self.flags, *flags))


def difference(metrics: Mapping[str, float], baseline: Mapping[str, float]) -> dict[str, float]:
    """What a row has more than the baseline, of metrics that both have; -1 stands for no value.

    Rounded to twelve decimals, so that .27713 less .22299 is .05414.
    """
    shared = [name for name in EVERY_METRIC if name in metrics and name in baseline]
    pairs = {name: (metrics[name], baseline[name]) for name in shared}
    return {name: round(mine - theirs, 12) for name, (mine, theirs) in pairs.items() if ABSENT not in (mine, theirs)}
