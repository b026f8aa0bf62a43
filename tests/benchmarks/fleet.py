"""A runs folder of any size, written through the program's own records: what a group has after a year."""

import time
from pathlib import Path

import msgspec

from detector import config
from detector.records import METRICS, ClassMetrics, Engine, Evaluation, Event, GroundTruth, Metrics, encode
from jobs import records
from jobs.records import Code, Job, Run
from jobs.resources import Resources
from jobs.rundir import RunDir, create

_NOW = time.time()


def write(runs: Path, count: int, *, running: int = 10) -> None:
    """`count` runs of one sweep, the newest `running` of them without an end, the others done."""
    for number in range(count):
        _write_run(runs, number, count, going=number >= count - running)


def _write_run(runs: Path, number: int, count: int, *, going: bool) -> None:
    run_id = f"yolov3-bccd-{number:06x}"
    started = _NOW - (count - number) * 60.0
    run = Run(
        id=run_id,
        recipe="yolov3-bccd",
        sweep="yolov3-bccd-sweep-0a1b2c",
        overrides={"optim.lr": 1e-3 / (1 + number), "seed": number % 5},
        digest=f"{number:064x}",
        created_at=started,
        command_line=["detrun", "submit", "yolov3-bccd"],
        cwd="/home/me",
        user="root",
        host="login1",
        code=Code(version="0.1.0", root="/home/me/detrun", files="0" * 64, git_sha="a41c9e2" * 5),
        versions={"torch": "2.15.0", "python": "3.11.7"},
        resources=Resources(gpus=4),
    )
    directory = create(runs / run_id, run, config.dump(config.Train(seed=number % 5)))
    job = Job(
        executor="slurm",
        name=run_id,
        folder=str(runs / ".submissions" / run_id),
        submitted_at=started,
        resources=run.resources,
        host="login1",
        job_id=str(number + 1),
    )
    records.write_record(directory.job_json, job)
    _write_progress(directory, started, going)


def _write_progress(directory: RunDir, started: float, going: bool) -> None:
    events = [Event(t=started, event="start", attempt=1, host="n1", job_id="1", nodes=["n1"])]
    events += [Event(t=started + 30 * beat, event="heartbeat", attempt=1, host="n1") for beat in range(120)]
    events += [] if going else [Event(t=started + 3600, event="done", attempt=1, host="n1")]
    directory.events.write_bytes(b"".join(map(encode, events)))
    rows = [_metrics(started + 12 * row, row) for row in range(300)]
    directory.metrics.write_bytes(b"".join(map(encode, rows)))
    directory.evaluations.mkdir()
    for epoch in (10, 20, 30):
        text = msgspec.json.format(msgspec.json.encode(_evaluation(epoch)), indent=1)
        (directory.evaluations / f"epoch_{epoch:04d}.json").write_bytes(text)


def _metrics(t: float, row: int) -> Metrics:
    losses = {"box": 1.0, "objectness": 2.0, "class": 0.5}
    return Metrics(
        t=t,
        epoch=1 + row // 10,
        epochs=30,
        step=row * 20,
        steps=6000,
        loss=3.5 + 10 / (1 + row),
        losses=losses,
        lr=1e-3,
        images_per_s=812.0,
        data_wait=0.02,
        image_size=416,
    )


def _evaluation(epoch: int) -> Evaluation:
    metrics = {name: 0.01 * epoch + 0.001 * place for place, name in enumerate(METRICS)}
    return Evaluation(
        t=_NOW,
        epoch=epoch,
        epochs=30,
        step=epoch * 200,
        iou_type="bbox",
        metrics=metrics,
        per_class=[ClassMetrics(id=each, name=f"class {each}", metrics=metrics) for each in range(3)],
        engine=Engine(name="hotcoco", version="1.3.0"),
        ground_truth=GroundTruth(path="/data/val.json", sha256="0" * 64, images=72, annotations=900, categories=3),
        image_size=416,
        max_detections=100,
        detections=f"epoch_{epoch:04d}.npz",
        inference_s=1.0,
        evaluation_s=0.1,
    )
