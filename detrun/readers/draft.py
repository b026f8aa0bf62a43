"""An evaluation in the making: rows and summaries gather in it until it is known to be one. No I/O."""

from collections.abc import Mapping
from functools import lru_cache

from detector.records import METRICS
from detrun.readers.evaluation import USUAL_MAX_DETECTIONS, Evaluation, rows_of_metrics
from detrun.readers.events import Summary
from detrun.readers.number import Number, decimals_of, printed

SCALED = "scale: x100 in the log"


class Draft:
    """One telling of one evaluation.

    `rows` holds printed rows as text; `summaries` what other lines say, by their source. `epoch` is `sure`
    where such a line names it, and else taken from the lines around. `quiet` is whether nothing but the
    usual chatter of an evaluation stands between it and the one before.
    """

    def __init__(self, *, iou_type: str, titles: tuple[str, ...], session: int, start: int, quiet: bool) -> None:
        self.iou_type = iou_type
        self.titles = titles
        self.session = session
        self.start = start
        self.end = start
        self.quiet = quiet
        self.closed = False
        self.rows: dict[str, str] = {}
        self.summaries: dict[str, Summary] = {}
        self.epoch: int | None = None
        self.step: int | None = None
        self.sure = False
        self.cut = False
        self.copies = 1
        self.families: dict[str, None] = {}
        self.flags: dict[str, None] = {}

    def add_row(self, name: str, text: str, *, unfinished: bool) -> None:
        """A row; one that the end of the file cut short is left out, and marks the draft as cut."""
        if not text or (unfinished and decimals_of(text) < max(map(decimals_of, self.rows.values()), default=0)):
            self.cut = True
        else:
            self.rows[name] = text

    def add_summary(self, summary: Summary) -> None:
        """What another line says of this evaluation."""
        self.summaries[summary.source] = summary
        if summary.epoch is not None:
            self.epoch, self.sure = summary.epoch, True
        if summary.step is not None:
            self.step = summary.step
        self.flags |= dict.fromkeys(summary.flags)

    def numbers(self, rows: Mapping[str, Number] | None = None) -> dict[str, Number]:
        """The twelve metrics as far as known, each from the source that holds most digits."""
        rows = dict(self.row_numbers() if rows is None else rows)
        for summary in self.summaries.values():
            rows |= {name: number for name, number in summary.values.items() if name not in METRICS}
        numbers = {metric: rows[name] for metric, name in rows_of_metrics(tuple(rows)).items()}
        for summary in self.summaries.values():
            for name, number in summary.values.items():
                if name in METRICS:
                    numbers[name] = numbers[name].finer(number) if name in numbers else number
        return {metric: numbers[metric] for metric in METRICS if metric in numbers}

    def row_numbers(self) -> dict[str, Number]:
        """The printed rows that are metrics; where a third of them lies above 1, all are in percent."""
        plain = {name: printed(text) for name, text in self.rows.items()}
        if 3 * sum(number is None for number in plain.values()) >= len(plain) > 0:
            percent = {name: printed(text, percent=True) for name, text in self.rows.items()}
            if any(percent.values()):
                plain = percent
        return {name: number for name, number in plain.items() if number is not None}

    def tells_the_same(self, other: "Draft") -> bool:
        """Whether both can be tellings of one evaluation: rows equal as printed, metrics equal when rounded."""
        if self.sure and other.sure and self.epoch != other.epoch:
            return False
        if None not in (self.step, other.step) and self.step != other.step:
            return False
        shared = self.rows.keys() & other.rows.keys()
        if any(self.rows[name] != other.rows[name] for name in shared):
            return False
        if shared and not (self.summaries and other.summaries):
            return True
        return agree(self.numbers(), other.numbers())

    def merge(self, other: "Draft") -> None:
        """Take in another telling of the same evaluation."""
        if self.rows and other.rows:
            self.copies += other.copies
            self.cut = self.cut and other.cut
        else:
            self.cut = self.cut or other.cut
        if self.epoch is None or (other.sure and not self.sure):
            self.epoch, self.sure = other.epoch, other.sure
        self.rows = other.rows | self.rows
        self.summaries = other.summaries | self.summaries
        self.end = max(self.end, other.end)
        self.step = other.step if self.step is None else self.step
        self.families |= other.families
        self.flags |= other.flags

    def finished(self, *, session: int, expected: int) -> Evaluation:
        """The evaluation, with the flags that follow from how it was told."""
        rows = self.row_numbers()
        numbers = self.numbers(rows)
        ap = numbers.get("AP")
        return Evaluation(
            iou_type=self.iou_type,
            metrics={metric: number.value for metric, number in numbers.items()},
            rows={name: number.value for name, number in rows.items()},
            epoch=self.epoch,
            step=self.step,
            decimals=ap.decimals if ap else None,
            max_detections=_limits(tuple(rows))[0],
            session=session,
            copies=self.copies,
            of_best=any(summary.of_best for summary in self.summaries.values()),
            flags=(*self.flags, *self._flags(numbers, rows, expected)),
        )

    def _flags(self, numbers: Mapping[str, Number], rows: Mapping[str, Number], expected: int) -> list[str]:
        flags = []
        if self.cut or len(self.rows) < expected:
            flags.append(f"incomplete: {len(self.rows)} of {max(expected, len(self.rows) + self.cut)} rows")
        if len(rows) < len(self.rows):
            flags.append(f"damaged: {len(self.rows) - len(rows)} of {len(self.rows)} rows hold no metric")
        if any(number.percent for number in numbers.values()):
            flags.append(SCALED)
        if unusual := _limits(tuple(rows))[1]:
            flags.append(f"maxDets: {', '.join(unusual)}, not {USUAL_MAX_DETECTIONS}")
        return flags


def agree(one: Mapping[str, Number], other: Mapping[str, Number]) -> bool:
    """Whether two sets of metrics share one at least, and are roundings of the same values where they do."""
    shared = one.keys() & other.keys()
    return bool(shared) and all(one[name].agrees(other[name]) for name in shared)


@lru_cache(maxsize=256)
def _limits(rows: tuple[str, ...]) -> tuple[str | None, list[str]]:
    """The maxDets of the AP row, and those that are unusual, of rows that stand for metrics but AR1 and AR10."""
    limits = {metric: row.rpartition("/")[2] for metric, row in rows_of_metrics(rows).items()}
    unusual = {limit for metric, limit in limits.items() if metric not in ("AR1", "AR10")} - {USUAL_MAX_DETECTIONS}
    return limits.get("AP"), sorted(unusual)
