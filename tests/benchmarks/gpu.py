"""YOLOv3 at 416 on a GPU, end to end with augmentation: images per second and MFU by precision and compilation.

Without a GPU it says so and ends well. One model trains at a time, in the whole loop, channels last, on JPEGs of
640 x 480; the rate is the median of rounds, behind a first one in which kernels are loaded, or compiled. Then, what
exactness costs (cuDNN's algorithms that add in a fixed order, as the trainer has them, and all others), and whether a
stopped and resumed run ends with the bits of an undisturbed one.
"""

import statistics
import sys
import tempfile
from itertools import product
from pathlib import Path
from typing import Any

import torch
import training

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "detector"))

from torchrun import differences

from detector import checkpoint
from detector.processes import Ranks

SIZE, BATCH, IMAGES, STEPS, ROUNDS = 416, 64, 4096, 40, 5
# YOLOv3 on one H200 in bf16: 40% of what its matrix products would allow.
TARGET_IMAGES_S = 1600
# Steps enough to stop between, in which everything random happens.
RESTLESS = {
    "epochs": 2, "data__image_size": 128, "optim__batch_size": 512, "optim__micro_batch": 128, "optim__ema": 0.99,
    "augment__multi_scale": [96, 160], "augment__multi_scale_every": 2, "augment__mosaic": 0.5, "eval__every": 100,
    "schedule__burn_in_steps": 0,
}  # fmt: skip


def run() -> None:
    if not torch.cuda.is_available():
        print("no GPU on this machine: nothing to measure")
        return
    print(f"{torch.cuda.get_device_name()}; target on an H200, bf16: {TARGET_IMAGES_S} img/s")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = training.write_data(folder / "data", IMAGES)
        for precision, compiled in product(("bf16", "fp16", "fp32"), (False, True)):
            _measure(folder / f"{precision}-{compiled}", data, precision, compiled=compiled)
            torch.cuda.empty_cache()
        _measure(folder / "inexact", data, "bf16", compiled=False, exact=False)
        for name in ("yolov3", "yolov3-tiny", "yolox-darknet-tiny"):
            differ = resumed_differs(folder / f"resumed-{name}", data, model__name=name, precision="bf16")
            print(f"{name}, resumed: {f'differs in {len(differ)}, first {differ[0]}' if differ else 'the same bits'}")


def resumed_differs(folder: Path, data: Path, **settings: Any) -> list[str]:
    """What is not the same to the last bit in the checkpoint of a run that was stopped in the middle and resumed."""
    train = training.settings(data, **(RESTLESS | settings))
    folder.mkdir()
    states = []
    for name, stops in (("calm", (0,)), ("stopped", (5, 0))):
        for stop in stops:
            training.train_until(folder / name, train, stop)
        states.append(checkpoint.load(folder / name / "checkpoints" / "last.pt"))
    return differences(*states)


def _measure(run_folder: Path, data: Path, precision: str, *, compiled: bool, exact: bool = True) -> None:
    train = training.settings(
        data,
        precision=precision,
        compile=compiled,
        data__image_size=SIZE,
        optim__batch_size=BATCH,
        optim__lr=1e-4,
    )
    rounds, ranks = training.Rounds(STEPS, ROUNDS + 1, lambda: None), Ranks()
    torch.backends.cudnn.deterministic = exact
    trainer = training.train_in_rounds(run_folder, train, rounds, ranks)
    rates = training.rates(STEPS * BATCH, rounds.spent[1:])
    rate = statistics.median(rates)
    mfu = trainer.utilization.at(rate, SIZE)
    words = [
        f"{precision}{', compiled' if compiled else ''}{'' if exact else ', inexact'}: {rate:.0f} img/s",
        f"MFU {100 * mfu:.0f}%" if mfu is not None else "MFU unknown for this GPU",
        f"skipped {int(trainer.learner.precision.left_out)}",
        f"{torch.cuda.max_memory_allocated(ranks.device) / 2**30:.1f} GiB",
        "raw " + " ".join(f"{each:.0f}" for each in rates),
    ]
    print("  ".join(words))
