"""Finds and reads what a report was asked about: runs of ours by any of their names, files and folders by path.

In: words. Out: runs to compare and files that no reader understood. Reads files, and asks the scheduler once.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from detector.errors import UserError
from detrun.comparison import Run, Selection
from detrun.comparison.runs import default_type, from_log, from_run, names_of_logs, names_of_runs
from detrun.readers.evaluation import Unread
from detrun.readers.folder import FoundLog, FoundRun, walk
from detrun.readers.foreign_run import with_logs
from detrun.readers.run_dir import read_run

if TYPE_CHECKING:
    from jobs.overview import RunStatus

Found = FoundLog | FoundRun

KNOWN = (
    *("pycocotools", "hotcoco", "faster-coco-eval", "MLPerf", "mmdetection", "detectron2", "torchvision", "DETR"),
    *("YOLOX", "ultralytics", "Hugging Face's Trainer"),
)

# Run directories named by some words, newest first; all for no words.
Named = Callable[[Sequence[str]], Sequence[Path]]
# How some run directories stand; all of the runs folder for None, newest first.
Standings = Callable[[Sequence[Path] | None], "Sequence[RunStatus]"]


def gather(
    words: Sequence[str], named: Named, standings: Standings, *, iou_type: str | None, by: Selection
) -> tuple[list[Run], list[Unread]]:
    """Runs in the order in which they were named, and the files that were not understood.

    Args:
        words: runs, sweeps, files and folders; all runs where empty.
        named: see `jobs.select.select`.
        standings: see `jobs.overview.status`.
        iou_type: None takes `bbox` where anything is of it.
        by: which evaluation of each run is compared.

    Raises:
        UserError: a word names nothing, or nothing that was named holds an evaluation.
    """
    found, unread, known = _found(words, named, standings)
    logs = [each for each in found if isinstance(each, FoundLog)]
    readings = [with_logs(read_run(each.path)) for each in found if isinstance(each, FoundRun)]
    if words and not found:
        raise UserError(_nothing_in(words, unread), f"logs of {', '.join(KNOWN)} are read")
    every = [evaluation for log in logs for evaluation in log.log.evaluations]
    iou_type = iou_type or default_type([*every, *(each for reading in readings for each in reading.evaluations)])
    named_logs = zip(logs, names_of_logs(logs), strict=True)
    named_runs = zip(readings, names_of_runs([reading.id for reading in readings]), strict=True)
    runs: list[Run] = []
    for each in found:
        if isinstance(each, FoundLog):
            log, name = next(named_logs)
            runs.append(from_log(log, name, iou_type, by))
        else:
            reading, name = next(named_runs)
            runs.append(from_run(reading, known[reading.path], name, iou_type, by))
    return runs, unread


def _found(
    words: Sequence[str], named: Named, standings: Standings
) -> tuple[list[Found], list[Unread], dict[Path, "RunStatus"]]:
    """What the words name, each thing once, and how the runs among it stand."""
    found: dict[object, Found] = {}
    unread: list[Unread] = []
    for word in words:
        for each in walk(Path(word)) if Path(word).exists() else _runs_named([word], named):
            if isinstance(each, Unread):
                unread.append(each)
            elif isinstance(each, FoundRun):
                found[each.path.absolute()] = FoundRun(path=each.path.absolute())
            else:
                found[each.path.absolute(), each.log.titles] = each
    if words:
        paths = [each.path for each in found.values() if isinstance(each, FoundRun)]
        known, broken = _standing(paths, standings)
    else:
        known, broken = _all_standing(named, standings)
        found = {path: FoundRun(path=path) for path in known}
    kept = [each for each in found.values() if isinstance(each, FoundLog) or each.path in known]
    return kept, unread + broken, known


def _all_standing(named: Named, standings: Standings) -> tuple[dict[Path, "RunStatus"], list[Unread]]:
    """Every run, oldest first; one by one where a record is broken."""
    try:
        return {Path(row.path): row for row in reversed(standings(None))}, []
    except UserError:
        return _standing([run.path for run in _runs_named([], named)], standings)


def _runs_named(words: Sequence[str], named: Named) -> list[FoundRun]:
    """Oldest first."""
    return [FoundRun(path=path) for path in reversed(named(words))]


def _standing(paths: Sequence[Path], standings: Standings) -> tuple[dict[Path, "RunStatus"], list[Unread]]:
    """How runs stand, and those whose records are broken."""
    try:
        return {Path(row.path): row for row in standings(paths)}, []
    except UserError as error:
        if len(paths) == 1:
            return {}, [Unread(source=str(paths[0]), reason=str(error))]
    parts = [_standing([path], standings) for path in paths]
    known = {path: row for rows, _ in parts for path, row in rows.items()}
    return known, [each for _, broken in parts for each in broken]


def _nothing_in(words: Sequence[str], unread: Sequence[Unread]) -> str:
    if len(unread) == 1:
        return f"{unread[0].source}: {unread[0].reason}"
    return f"no evaluation in {', '.join(words)}: {len(unread)} files were not understood"
