"""Reads our own run directories: their evaluations, configuration and origin.

In: the path of a run directory. Out: a `RunReading`. Missing and damaged files are passed over and flagged; an
evaluation's file is read at its beginning and end alone, because the metrics of every class lie between.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from detector.records import EVERY_METRIC, Engine, Event, GroundTruth
from detector.records import Evaluation as Record
from detrun.readers.evaluation import Evaluation

_PART_BYTES = 1 << 11
_AFTER_METRICS, _SETTING = b'"per_class":', b'"engine":'

Kind = TypeVar("Kind")


class _Code(msgspec.Struct, frozen=True, kw_only=True):
    git_sha: str | None = None
    dirty: bool = False
    version: str | None = None


class _Origin(msgspec.Struct, frozen=True, kw_only=True):
    """The part of `run.json` that a report shows."""

    recipe: str | None = None
    sweep: str | None = None
    created_at: float = 0.0
    code: _Code = _Code()


class _Head(msgspec.Struct, frozen=True, kw_only=True):
    """The beginning of an evaluation's file."""

    t: float
    epoch: int
    step: int
    metrics: dict[str, float]
    iou_type: str = "bbox"
    parameters: int | None = None


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """Under what an evaluation was made: the end of its file."""

    engine: Engine
    ground_truth: GroundTruth
    image_size: int
    max_detections: int
    detections: str


class RunReading(msgspec.Struct, frozen=True, kw_only=True):
    """A run directory as a report sees it.

    Attributes:
        path: the run directory.
        evaluations: in order of epochs; `files` are theirs, one for each, and none where they come from logs.
        config: the whole configuration by dotted key.
        created_at: Unix seconds; 0 where it is not known.
        parameters: the model's, None where it is not known.
        flags: what could not be read.
    """

    path: Path
    evaluations: tuple[Evaluation, ...]
    files: tuple[str, ...]
    config: Mapping[str, Any]
    recipe: str | None
    sweep: str | None
    created_at: float
    git_sha: str | None
    dirty: bool
    parameters: int | None
    flags: tuple[str, ...]

    @property
    def id(self) -> str:
        return self.path.name

    def file_of(self, evaluation: Evaluation) -> str | None:
        """Where an evaluation is stored; None where it was read from a log."""
        pairs = zip(self.evaluations, self.files, strict=False)
        return next((file for each, file in pairs if each is evaluation), None)


def is_run(path: Path) -> bool:
    """Whether a folder is a run directory."""
    return (path / "run.json").is_file()


def read_run(path: Path) -> RunReading:
    """Read a run directory, as far as it can be read."""
    root = str(path)
    origin = _decoded(f"{root}/run.json", _Origin) or _Origin()
    config = _flat(_decoded(f"{root}/config.json", dict) or {})
    heads = [(file, _head(file)) for file in _evaluation_files(f"{root}/eval")]
    started = _started(f"{root}/events.jsonl")
    return RunReading(
        path=path,
        evaluations=tuple(_evaluation(head, config, started) for _, head in heads if head),
        files=tuple(file for file, head in heads if head),
        config=config,
        recipe=origin.recipe,
        sweep=origin.sweep,
        created_at=origin.created_at,
        git_sha=origin.code.git_sha,
        dirty=origin.code.dirty,
        parameters=next((head.parameters for _, head in reversed(heads) if head), None),
        flags=tuple(f"damaged: eval/{file.rpartition('/')[2]} cannot be read" for file, head in heads if not head),
    )


def read_setting(file: str) -> Setting | None:
    """Engine, ground truth and sizes of an evaluation, None where the file is damaged."""
    end = _part(file, from_end=True)
    start = end.rfind(_SETTING)
    try:
        return msgspec.json.decode(b"{" + end[start:], type=Setting)
    except msgspec.MsgspecError:
        return _decoded(file, Setting)


def read_record(file: str) -> Record | None:
    """A whole evaluation with its classes, None where the file is damaged."""
    return _decoded(file, Record)


def _head(file: str) -> _Head | None:
    start = _part(file, from_end=False)
    end = max(0, start.find(_AFTER_METRICS))
    try:
        return msgspec.json.decode(start[:end].rstrip(b", \n") + b"}", type=_Head)
    except msgspec.MsgspecError:
        return _decoded(file, _Head)


def _evaluation(head: _Head, config: Mapping[str, Any], started: float | None) -> Evaluation:
    batch_size = config.get("optim.batch_size")
    return Evaluation(
        iou_type=head.iou_type,
        metrics={metric: head.metrics[metric] for metric in EVERY_METRIC if metric in head.metrics},
        epoch=head.epoch,
        step=head.step,
        seconds=None if started is None else head.t - started,
        images=head.step * batch_size if isinstance(batch_size, int) else None,
        max_detections=str(config["eval.max_detections"]) if "eval.max_detections" in config else None,
    )


def _started(file: str) -> float | None:
    """When the first attempt started, from the first lines of the events."""
    for line in _part(file, from_end=False).split(b"\n"):
        try:
            return msgspec.json.decode(line, type=Event).t
        except msgspec.MsgspecError:
            continue
    return None


def _evaluation_files(folder: str) -> list[str]:
    try:
        names = os.listdir(folder)  # noqa: PTH208
    except OSError:
        return []
    return sorted(f"{folder}/{name}" for name in names if name.startswith("epoch_") and name.endswith(".json"))


def _part(file: str, *, from_end: bool) -> bytes:
    """The first or last 2 KiB of a file; empty where it cannot be read."""
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        offset = max(0, os.fstat(descriptor).st_size - _PART_BYTES) if from_end else 0
        return os.pread(descriptor, _PART_BYTES, offset)
    except OSError:
        return b""
    finally:
        os.close(descriptor)


def _decoded(file: str, kind: type[Kind]) -> Kind | None:
    try:
        with open(file, "rb", buffering=0) as opened:  # noqa: PTH123
            return msgspec.json.decode(opened.read(), type=kind)
    except (OSError, msgspec.MsgspecError):
        return None


def _flat(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested tables by dotted key; lists stay values."""
    flat: dict[str, Any] = {}
    for name, value in table.items():
        if isinstance(value, dict):
            flat.update(_flat(value, f"{prefix}{name}."))
        else:
            flat[prefix + name] = value
    return flat
