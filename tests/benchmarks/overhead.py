"""What the trainer costs: images per second of the whole loop over bare forward, backward and step of the same model.

The loop loads and augments JPEGs of 640 x 480, logs and writes checkpoints as by default; the bare step has one batch
that lies ready. Both run in turn in one process, on the same threads. Where other programs keep the cores busy, the
ratio of the CPU time that both take, loader processes counted in, says more than that of the rates.
"""

import statistics
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import torch
import training
from training import Spent

from detector.processes import Ranks


class Case(NamedTuple):
    """One model; `images` of the data set make an epoch, behind which there is a checkpoint."""

    name: str
    size: int
    batch: int
    images: int
    steps: int
    rounds: int
    target: float


_ON_CPU = (
    # An epoch of BCCD: a round has one checkpoint.
    Case("yolov3-tiny", 256, 16, 288, 18, 6, 0.85),
    Case("yolov3", 416, 4, 288, 5, 4, 0.95),
)
_ON_GPU = (
    Case("yolov3", 416, 64, 4096, 64, 6, 0.90),
    Case("yolov3-tiny", 256, 128, 4096, 64, 6, 0.90),
)


def run() -> None:
    gpu = torch.cuda.is_available()
    print(torch.cuda.get_device_name() if gpu else f"on CPU, {torch.get_num_threads()} threads")
    for case in _ON_GPU if gpu else _ON_CPU:
        with tempfile.TemporaryDirectory() as name:
            _measure(case, Path(name), {"precision": "bf16"} if gpu else {})


def _measure(case: Case, folder: Path, precision: dict[str, Any]) -> None:
    data = training.write_data(folder / "data", case.images)
    train = training.settings(
        data,
        model__name=case.name,
        data__image_size=case.size,
        optim__batch_size=case.batch,
        optim__lr=1e-4,
        **precision,
    )
    alone: list[Spent] = []
    bare = training.Bare(train)
    rounds = training.Rounds(case.steps, case.rounds, lambda: alone.append(bare.spend(case.steps)))
    training.train_in_rounds(folder / "run", train, rounds, Ranks())
    images = case.steps * case.batch
    ratios = [one.wall_s / other.wall_s for one, other in zip(alone, rounds.spent, strict=True)]
    of_cpu = [one.cpu_s / other.cpu_s for one, other in zip(alone, rounds.spent, strict=True)]
    median = statistics.median(ratios)
    met = "met" if median >= case.target else "MISSED"
    print(f"{case.name} at {case.size}, batch {case.batch}: {median:.3f} of the bare step, target {case.target}, {met}")
    for what, spent in (("loop", rounds.spent), ("bare", alone)):
        print(f"  {what:<10}" + " ".join(f"{rate:.2f}" for rate in training.rates(images, spent)) + " img/s")
    for what, values in (("ratio", ratios), ("CPU time", of_cpu)):
        print(f"  {what:<10}" + " ".join(f"{value:.3f}" for value in values))
