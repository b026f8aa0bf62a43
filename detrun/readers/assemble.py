"""Makes evaluations of what the families read: gathers rows, collapses copies, finds epochs, runs and sessions.

In: what `scan` finds, in the order of the log. Out: one `Log` for each run that the log tells of. No I/O.

Rows belong together by what they measure: a row goes to the latest telling that lacks it. Eight ranks that print
at once so give eight tellings, in whatever order their lines came; equal ones collapse into one evaluation.
"""

import re
from collections.abc import Iterable
from itertools import takewhile

from detrun.readers.draft import Draft, agree
from detrun.readers.evaluation import Evaluation, Log
from detrun.readers.events import Best, Event, Fact, Kind, Row, Session, Starting, Summary
from detrun.readers.markdown import Titles
from detrun.readers.number import ABSENT, Number
from detrun.readers.scan import Found
from detrun.readers.source import text_of

_REACH_BYTES = 1 << 20
_QUIET_BYTES = 1 << 14
_REMEMBERED = 64
_USUAL_ROWS = 12
_LAST_ROW = "AR@0.50:0.95/large/"
_PRECISION_ROWS = 6

# Lines that every evaluation prints around its rows, and that no training prints.
_CHATTER = re.compile(
    r"DONE|finished|ccumulating|unning per image|valuat|oading and preparing|index|IoU metric|Current AP|:::ML.*eval_"
    r"|copypaste|Parsing batch|Predicting|^[\s|:+\-`>]*$|mAP|Averaged stats|Average (?:forward|Precision|Recall)"
)


def assemble(found: Iterable[Found]) -> list[Log]:
    """The runs of a log, with their evaluations in order."""
    assembler = _Assembler()
    for one in found:
        for event in one.events:
            if type(event) is Row:
                assembler.row(event, one)
            else:
                assembler.take(event, one)
    return assembler.logs()


class _Assembler:
    """What is known so far. Drafts are kept by IoU type, in the order in which they began."""

    def __init__(self) -> None:
        self._drafts: dict[str, list[Draft]] = {}
        self._open: dict[str, list[Draft]] = {}
        self._titles = Titles()
        self._kind = ""
        self._starting: tuple[int | None] | None = None
        self._session = 0
        self._facts: dict[str, float | str] = {}
        self._flags: dict[str, None] = {}

    def take(self, event: Event, found: Found) -> None:
        """One thing that a line says, other than a row."""
        match event:
            case Summary():
                self._summary(event, found)
            case Kind():
                self._kind = event.iou_type
            case Starting():
                self._starting = (found.epoch(),)
                self._open.clear()
            case Session():
                self._session += 1
                self._starting, self._kind = None, ""
                self._open.clear()
            case Best():
                self._best(event.ap, found)
            case Fact():
                self._facts[event.name] = event.value

    def row(self, row: Row, found: Found) -> None:
        """A row goes to the latest telling that lacks it."""
        iou_type = "keypoints" if row.name.endswith("/20") else self._kind or "bbox"
        tellings = self._open.setdefault(iou_type, [])
        draft = _lacking(row.name, tellings)
        if draft is None or found.start - draft.end > _REACH_BYTES:
            draft = self._begin(iou_type, found)
            tellings.append(draft)
        elif draft is not tellings[-1]:
            tellings.remove(draft)
            tellings.append(draft)
        draft.add_row(row.name, row.text, unfinished=found.unfinished)
        draft.end = found.end
        draft.families[found.family] = None

    def _summary(self, summary: Summary, found: Found) -> None:
        """A summary makes the evaluation before it more precise, or is one itself."""
        iou_type = summary.iou_type or self._kind or "bbox"
        drafts = self._drafts.get(iou_type, [])
        if not summary.alone:
            drafts = [draft for draft in drafts[-_REMEMBERED:] if draft.epoch == summary.epoch]
        last = drafts[-1] if drafts else None
        if last and _repeats(last, summary, found):
            return
        if not last or last.session != self._session or not _belongs(summary, last):
            if not summary.alone:
                return
            if last and summary.epoch == last.epoch and summary.source == "mlperf" and last.rows:
                last.flags[_contradiction(last, summary)] = None
                return
            last = self._begin(iou_type, found)
        last.add_summary(summary)
        last.end = found.end
        last.families[found.family] = None

    def _begin(self, iou_type: str, found: Found) -> Draft:
        before, quoted = found.before(), found.is_quoted()
        titled = self._titles.concern(before, quoted=quoted)
        short = len(before) <= _QUIET_BYTES
        text = text_of(before) if short or titled else ""
        draft = Draft(
            iou_type=iou_type,
            titles=self._titles.above(text, quoted=quoted) if titled else self._titles.path,
            session=self._session,
            start=found.start,
            quiet=short and all(map(_CHATTER.search, text.split("\n"))),
        )
        draft.epoch = self._starting[0] if self._starting else found.epoch()
        self._drafts.setdefault(iou_type, []).append(draft)
        return draft

    def _best(self, best: Number, found: Found) -> None:
        """YOLOX's own best AP is compared with the rows, and stands for them where there are none."""
        drafts = takewhile(lambda draft: draft.session == self._session, reversed(self._drafts.get("bbox", [])))
        values = [numbers["AP"] for draft in drafts if "AP" in (numbers := draft.numbers())]
        if not values and best.value > 0.0:
            flags = ("epoch: the log names its best AP alone",)
            self._summary(Summary(source="best AP", values={"AP": best}, flags=flags), found)
        elif values and not max(values, key=lambda number: number.value).agrees(best):
            self._flags[f"disagrees: the log calls {best.value:g} its best AP, its rows do not"] = None

    def logs(self) -> list[Log]:
        """The runs, in the order in which their first evaluations came."""
        kept = [draft for drafts in self._drafts.values() for draft in _collapsed(drafts)]
        runs: dict[tuple[str, ...], list[Draft]] = {}
        for draft in sorted(kept, key=lambda draft: draft.start):
            runs.setdefault(draft.titles, []).append(draft)
        return [self._log(titles, drafts) for titles, drafts in runs.items()]

    def _log(self, titles: tuple[str, ...], drafts: list[Draft]) -> Log:
        evaluated = sessions_of(drafts)
        flags = dict(self._flags)
        used = evaluated[-1][1]
        starts = max(self._session, used)
        if starts > 1:
            flags[f"sessions: {starts} starts in one file, {used} with evaluations"] = None
        return Log(
            titles=titles,
            families=tuple(dict.fromkeys(family for draft in drafts for family in draft.families)),
            evaluations=tuple(_finished(evaluated)),
            facts=self._facts,
            flags=tuple(flags),
        )


def _lacking(name: str, tellings: list[Draft]) -> Draft | None:
    """The latest telling without a row of this name."""
    for draft in reversed(tellings[-_REMEMBERED:]):
        if name not in draft.rows:
            return draft
    return None


def _repeats(last: Draft, summary: Summary, found: Found) -> bool:
    """Whether a line says once more what it said: another rank, or detectron2's old writer, which repeats itself."""
    before = last.summaries.get(summary.source)
    if before is None or before.values != summary.values:
        return False
    if summary.epoch is None and summary.step is None:
        return not found.before().strip()
    if (summary.epoch, summary.step) == (before.epoch, before.step):
        return True
    exact = {number.value for number in summary.values.values() if number.decimals is None}
    return summary.epoch is None and len(exact - {0.0, 1.0, ABSENT}) > 1


def _belongs(summary: Summary, last: Draft) -> bool:
    """Whether a summary can tell of the evaluation before it."""
    if summary.source in last.summaries or (last.sure and summary.epoch not in (None, last.epoch)):
        return False
    if last.step is not None and summary.step not in (None, last.step):
        return False
    return agree(last.numbers(), summary.values)


def _contradiction(last: Draft, summary: Summary) -> str:
    printed = last.numbers().get("AP")
    said = summary.values["AP"].value
    return f"disagrees: AP is {printed.value if printed else None} in the rows, {said:g} in a line"


def _collapsed(drafts: list[Draft]) -> list[Draft]:
    """The evaluations among tellings in order: a telling of the one before it is merged into that."""
    kept: list[Draft] = []
    for draft in drafts:
        if kept and _is_copy(draft, kept[-1]):
            kept[-1].merge(draft)
        else:
            kept.append(draft)
    return [draft for draft in kept if draft.rows or draft.summaries]


def _is_copy(draft: Draft, before: Draft) -> bool:
    if (draft.titles, draft.session) != (before.titles, before.session) or not draft.tells_the_same(before):
        return False
    interleaved = draft.start < before.end
    return interleaved or draft.quiet or (draft.epoch is not None and draft.epoch == before.epoch)


def sessions_of(drafts: list[Draft]) -> list[tuple[Draft, int]]:
    """Evaluations with their session, from 1: a new one where the log says so or where epochs start again."""
    found = []
    count, session, epochs = 0, -1, dict[str, int]()
    for draft in drafts:
        again = draft.epoch is not None and draft.epoch < epochs.get(draft.iou_type, 0)
        if draft.session != session or again:
            count, session = count + 1, draft.session
            epochs.clear()
        if draft.epoch is not None:
            epochs[draft.iou_type] = draft.epoch
        found.append((draft, count))
    return found


def _finished(evaluated: list[tuple[Draft, int]]) -> Iterable[Evaluation]:
    expected: dict[str, int] = {}
    for draft, _ in evaluated:
        expected[draft.iou_type] = max(expected.get(draft.iou_type, 0), _rows_to_expect(draft))
    for draft, session in evaluated:
        yield draft.finished(session=session, expected=expected[draft.iou_type] if draft.rows else 0)


def _rows_to_expect(draft: Draft) -> int:
    """How many rows a block has when it is whole, judged from a block: one that closes with AR of large areas is."""
    names = draft.rows.keys()
    closed = any(name.startswith(_LAST_ROW) for name in names)
    only_precision = len(names) >= _PRECISION_ROWS and not any(name.startswith("AR") for name in names)
    return len(names) if not names or closed or only_precision else max(_USUAL_ROWS, len(names))
