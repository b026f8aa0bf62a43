"""Turns what the readers found into runs to compare: chooses the evaluation, names it, gathers its columns.

Reads, for runs of our own, the end of the chosen evaluation's file; no other I/O.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from detector.records import headline
from detrun.comparison import Run, Selection, Value
from detrun.comparison.flags import STATE
from detrun.readers.evaluation import Evaluation
from detrun.readers.folder import FoundLog
from detrun.readers.names import Trail, printable, shortest
from detrun.readers.number import ABSENT
from detrun.readers.run_dir import RunReading, Setting, read_setting

if TYPE_CHECKING:
    from jobs.overview import RunStatus

DONE = "done"
_DEFAULT_TYPE = "bbox"
_ENDING = re.compile(r"\.(?:txt|log|json|jsonl|csv|md|out|err|gz|zst|zstd)$", re.IGNORECASE)


def from_log(found: FoundLog, name: str, iou_type: str, by: Selection) -> Run:
    """A run of others, from its log. It counts as finished: a log does not say whether more was to come."""
    mine = tuple(each for each in found.log.evaluations if each.iou_type == iou_type)
    last, best = last_of(mine), best_of(mine)
    selected = best if by == "best" else last
    columns: dict[str, Value] = {"family": ", ".join(found.log.families), **found.log.facts}
    return Run(
        name=name,
        id=name,
        source=str(found.path),
        iou_type=iou_type,
        evaluations=mine,
        selected=selected,
        last=last,
        best=best,
        selected_by=by,
        columns=columns,
        flags=(*found.log.flags, *(selected.flags if selected else ()), *_other_types(found.log.evaluations, mine)),
    )


def from_run(reading: RunReading, standing: "RunStatus", name: str, iou_type: str, by: Selection) -> Run:
    """A run of our own, with its state as `status` has it."""
    mine = tuple(each for each in reading.evaluations if each.iou_type == iou_type)
    last, best = last_of(mine), best_of(mine)
    selected = best if by == "best" else last
    file = reading.file_of(selected) if selected else None
    setting = read_setting(file) if file else None
    return Run(
        name=name,
        id=reading.id,
        source=str(reading.path),
        iou_type=iou_type,
        evaluations=mine,
        selected=selected,
        last=last,
        best=best,
        selected_by=by,
        state=standing.state,
        config={key: _plain(value) for key, value in reading.config.items()},
        columns={**_origin_columns(reading), **_setting_columns(setting), **_costs(standing)},
        setting=setting,
        file=Path(file) if file else None,
        flags=(*reading.flags, *_unfinished(standing)),
        ours=True,
    )


def last_of(evaluations: Sequence[Evaluation]) -> Evaluation | None:
    """The last evaluation with an AP, of an epoch rather than of the best weights once more."""
    return next(reversed(_candidates(evaluations)), None)


def best_of(evaluations: Sequence[Evaluation]) -> Evaluation | None:
    """The evaluation with the highest AP or top-1, the first of several."""
    return max(_candidates(evaluations), key=_score, default=None)


def _score(evaluation: Evaluation) -> float:
    score = headline(evaluation.metrics)
    return ABSENT if score is None else score


def names_of_logs(found: Sequence[FoundLog]) -> list[str]:
    """The shortest names, from headings, file and folder names."""
    paths = {each.path.absolute() for each in found}
    stems = Counter(path.parent / stem(path) for path in paths)
    return [printable(name) for name in shortest([_trail(each, stems) for each in found])]


def names_of_runs(ids: Sequence[str]) -> list[str]:
    """The hash alone where all runs are of one recipe, else the whole id."""
    recipes = {run_id.rpartition("-")[0] for run_id in ids}
    hashes = [run_id.rpartition("-")[2] for run_id in ids]
    return hashes if len(recipes) == 1 and len(set(hashes)) == len(ids) > 1 else list(ids)


def default_type(evaluations: Iterable[Evaluation]) -> str:
    """`bbox` where anything is of it, else what comes first."""
    types = dict.fromkeys(each.iou_type for each in evaluations)
    return _DEFAULT_TYPE if _DEFAULT_TYPE in types else next(iter(types), _DEFAULT_TYPE)


def _candidates(evaluations: Sequence[Evaluation]) -> list[Evaluation]:
    of_epochs = [each for each in evaluations if not each.of_best] or list(evaluations)
    return [each for each in of_epochs if headline(each.metrics) is not None] or of_epochs


def stem(path: Path) -> str:
    """A log's name without its endings, such as `.log.json.gz`."""
    name = path.name
    while (ending := _ENDING.search(name)) and ending.start():
        name = name[: ending.start()]
    return name


def _trail(found: FoundLog, stems: Counter[Path]) -> Trail:
    path = found.path.absolute()
    alone = stems[path.parent / stem(path)] == 1
    return (*path.parent.parts, stem(path) if alone else path.name, *found.log.titles)


def _other_types(evaluations: Sequence[Evaluation], mine: Sequence[Evaluation]) -> list[str]:
    types = sorted({each.iou_type for each in evaluations})
    return [] if mine or not types else [f"IoU type: only {', '.join(types)} in this log"]


def _origin_columns(reading: RunReading) -> dict[str, Value]:
    sha = reading.git_sha[:7] + ("*" if reading.dirty else "") if reading.git_sha else None
    return {
        "recipe": reading.recipe,
        "sweep": reading.sweep,
        "git_sha": sha,
        "parameters": reading.parameters,
        "created_at": reading.created_at,
    }


def _setting_columns(setting: Setting | None) -> dict[str, Value]:
    if setting is None:
        return {}
    return {
        "engine": f"{setting.engine.name} {setting.engine.version}",
        "ground_truth": setting.ground_truth.sha256[:7],
        "images": setting.ground_truth.images,
        "image_size": setting.image_size,
        "max_detections": setting.max_detections,
    }


def _costs(standing: "RunStatus") -> dict[str, Value]:
    return {
        "state": standing.state,
        "gpu_hours": standing.gpu_hours,
        "images_per_s": standing.images_per_s,
        "attempts": standing.attempts,
    }


def _unfinished(standing: "RunStatus") -> tuple[str, ...]:
    reason = f", {standing.reason}" if standing.reason else ""
    return () if standing.state == DONE else (f"{STATE}{standing.state}{reason}",)


def _plain(value: Any) -> Value:
    """A config value as a table shows it; lists as text."""
    return value if isinstance(value, (str, int, float, bool)) or value is None else ",".join(map(str, value))
