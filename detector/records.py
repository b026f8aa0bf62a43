"""What a run writes about itself: the rows of `metrics.jsonl`, `events.jsonl` and `eval/*.json`.

Free of torch. Writers build these values; readers in other rooms decode them and ignore keys that
they do not know, so that records of a newer version stay readable.
"""

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

Number = TypeVar("Number")

SCHEMA = 1

# COCO's summary in the order of pycocotools' `COCOeval.stats`.
METRICS = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")
# Of a classifier: the share of images whose class is its first guess, or one of its first five.
CLASS_METRICS = ("top1", "top5")
EVERY_METRIC = (*METRICS, *CLASS_METRICS)
# Stands where an evaluation of detections has its IoU type.
OF_CLASSES = "class"


class _Record(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Base of every record. Times are Unix seconds (UTC)."""


class Metrics(_Record, frozen=True, kw_only=True):
    """One row of `metrics.jsonl`: the mean over the optimizer steps since the row before.

    `epoch` counts from 1 and is the one in progress; `step` optimizer steps are done out of `steps`.
    `losses` are the parts that add up to `loss`, null where none was finite. `data_wait` is the share of wall time
    spent waiting for the loader. `skipped` counts AMP steps skipped for inf or NaN since the start of the run,
    `bad_images` the files that could not be read since the start of the attempt. `mfu` is the share of the GPUs'
    arithmetic that the model's convolutions use, where the GPU is a known one.
    """

    t: float
    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float | None
    losses: dict[str, float]
    lr: float
    images_per_s: float
    data_wait: float
    image_size: int
    mfu: float | None = None
    skipped: int = 0
    bad_images: int = 0
    gpu_mem_gib: float | None = None
    eta_s: float | None = None


class Event(_Record, frozen=True, kw_only=True):
    """One row of `events.jsonl`. `attempt` counts the starts of a run from 1.

    start: worker; `job_id`, `host`, `nodes`, `pid`. heartbeat: worker alive. staging, staged: worker copies the data
    to its node, how far in `reason`. resumed: rank 0, at `step`.
    stopping: worker got a signal, `reason`. stopped: rank 0 saved at `step` and exits. requeued: worker
    put the job back. failed: `reason` in one line, `rank`, `host`, `exit_code`; `echo` where the rank only
    followed another that failed. done, cancelled: worker.
    """

    t: float
    event: str
    attempt: int
    host: str | None = None
    pid: int | None = None
    job_id: str | None = None
    nodes: list[str] | None = None
    step: int | None = None
    rank: int | None = None
    exit_code: int | None = None
    reason: str | None = None
    echo: bool | None = None


class Engine(_Record, frozen=True, kw_only=True):
    """The program that computed the metrics."""

    name: str
    version: str


class GroundTruth(_Record, frozen=True, kw_only=True):
    """What the detections were compared with. `sha256` is over the annotation file's bytes."""

    path: str
    sha256: str
    images: int
    annotations: int
    categories: int


class ClassMetrics(_Record, frozen=True, kw_only=True):
    """One category's summary; -1 where the ground truth has none in that slice."""

    id: int
    name: str
    metrics: dict[str, float]


class Evaluation(_Record, frozen=True, kw_only=True):
    """`eval/epoch_NNNN.json`: one evaluation of a run on its val split.

    `metrics` holds the twelve numbers of `METRICS` in full precision, -1 where the ground truth has
    nothing in that slice. `detections` names the `.npz` beside it with arrays `image_id` (N,) int64,
    `category_id` (N,) int64, `bbox` (N, 4) float32 as x, y, width, height in image pixels, and `score`
    (N,) float32, sorted by image. `parameters` counts the model's.

    A classifier's has `CLASS_METRICS`, `OF_CLASSES` for an IoU type, and no detections.
    """

    schema: int = SCHEMA
    t: float
    epoch: int
    epochs: int
    step: int
    iou_type: str
    parameters: int | None = None
    metrics: dict[str, float]
    per_class: list[ClassMetrics]
    engine: Engine
    ground_truth: GroundTruth
    image_size: int
    max_detections: int
    detections: str
    inference_s: float
    evaluation_s: float


def headline(metrics: Mapping[str, Number]) -> Number | None:
    """The number by which evaluations are compared: AP, or a classifier's top-1; None where there is neither."""
    return metrics.get("top1", metrics.get("AP"))


def encode(record: _Record) -> bytes:
    """One line of JSON, newline included."""
    return msgspec.json.encode(record) + b"\n"


def decode_lines(lines: bytes, kind: type[Any]) -> list[Any]:
    """The records in some lines of JSON; a torn or foreign line is passed over."""
    decoder = msgspec.json.Decoder(kind)
    records = []
    for line in lines.splitlines():
        try:
            records.append(decoder.decode(line))
        except msgspec.MsgspecError:
            continue
    return records
