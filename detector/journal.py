"""What rank 0 tells of a run: rows in `metrics.jsonl` and `events.jsonl`, evaluations, and lines for people."""

import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from detector.evaluation.coco import table
from detector.records import CLASS_METRICS, Evaluation, Event, Metrics, encode, headline


class Journal:
    """The files of one run directory that rank 0 owns."""

    def __init__(self, run: Path) -> None:
        self.run = run
        self.evaluations = run / "eval"

    def say(self, line: str) -> None:
        """A line for people."""
        print(line, flush=True)  # noqa: T201

    def event(self, name: str, **fields: Any) -> None:
        """Append to the events."""
        attempt = int(os.environ.get("DETRUN_ATTEMPT", "1"))
        host = os.environ.get("DETRUN_HOST") or socket.gethostname()
        event = Event(t=time.time(), event=name, attempt=attempt, host=host, **fields)
        _append(self.run / "events.jsonl", event)

    def metrics(self, row: Metrics) -> None:
        """Append to the metrics and say it."""
        _append(self.run / "metrics.jsonl", row)
        self.say(line(row))

    def evaluation(self, evaluation: Evaluation) -> None:
        """Write the record and print the familiar table."""
        path = self._path(evaluation.epoch)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".partial")
        with temporary.open("wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(evaluation), indent=1))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        took = f"{evaluation.inference_s:.1f} s to look, {evaluation.evaluation_s:.1f} s to score"
        engine = f"{evaluation.engine.name} {evaluation.engine.version}"
        images = f"{evaluation.ground_truth.images} images"
        self.say(f"evaluation after epoch {evaluation.epoch}: {images}, {took}, {engine}")
        for row in _rows(evaluation.metrics):
            self.say(row)

    def scored(self, epoch: int, step: int) -> bool:
        """Whether an epoch's evaluation stands, made at this step."""
        known = _read(self._path(epoch))
        return known is not None and known.step == step

    def best_before(self, epoch: int) -> float:
        """The highest headline of the evaluations before an epoch; -inf where there is none."""
        known = [_read(path) for path in self.evaluations.glob("epoch_*.json") if path < self._path(epoch)]
        scores = [headline(each.metrics) for each in known if each]
        return max((score for score in scores if score is not None), default=float("-inf"))

    def _path(self, epoch: int) -> Path:
        return self.evaluations / f"epoch_{epoch:04d}.json"


def line(row: Metrics) -> str:
    """A row of metrics as a person reads it while it runs."""
    parts = " ".join(f"{name} {value:.3g}" for name, value in row.losses.items())
    rate = f"{row.images_per_s:.0f}" if row.images_per_s >= 100 else f"{row.images_per_s:.3g}"
    words = [
        f"epoch {row.epoch}/{row.epochs}",
        f"step {row.step}/{row.steps}",
        "loss -" if row.loss is None else f"loss {row.loss:.4g} ({parts})",
        f"lr {row.lr:.3g}",
        f"{rate} img/s",
        f"data wait {100 * row.data_wait:.0f}%",
    ]
    if row.mfu is not None:
        words.append(f"mfu {100 * row.mfu:.0f}%")
    if row.gpu_mem_gib is not None:
        words.append(f"gpu {row.gpu_mem_gib:.1f} GiB")
    if row.skipped:
        words.append(f"skipped {row.skipped}")
    if row.bad_images:
        words.append(f"bad images {row.bad_images}")
    if row.eta_s is not None:
        words.append(f"eta {clock(row.eta_s)}")
    return "  ".join(words)


def _rows(metrics: Mapping[str, float]) -> list[str]:
    """COCO's familiar table, or a classifier's two numbers."""
    if "AP" in metrics:
        return table(metrics)
    return ["  ".join(f"{name} {metrics[name]:.5f}" for name in CLASS_METRICS)]


def clock(seconds: float) -> str:
    """Hours, minutes and seconds."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


def _append(path: Path, row: Metrics | Event) -> None:
    with path.open("ab") as file:
        file.write(encode(row))


def _read(path: Path) -> Evaluation | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Evaluation)
    except (OSError, msgspec.MsgspecError):
        return None
