"""YOLOv3 at 416 on a GPU, end to end with augmentation: images per second and MFU by precision and compilation.

Without a GPU it says so and ends well. One model trains at a time, in the whole loop, channels last, on JPEGs of
640 x 480; the rate is the median of rounds, behind a first one in which kernels are chosen, or compiled.
"""

import statistics
import tempfile
from itertools import product
from pathlib import Path

import torch
import training

from detector.processes import Ranks

SIZE, BATCH, IMAGES, STEPS, ROUNDS = 416, 64, 4096, 40, 5
# YOLOv3 on one H200 in bf16: 40% of what its matrix products would allow.
TARGET_IMAGES_S = 1600


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


def _measure(run_folder: Path, data: Path, precision: str, *, compiled: bool) -> None:
    train = training.settings(
        data,
        precision=precision,
        compile=compiled,
        data__image_size=SIZE,
        optim__batch_size=BATCH,
        optim__lr=1e-4,
    )
    rounds = training.Rounds(STEPS, ROUNDS + 1, lambda: None)
    trainer = training.train_in_rounds(run_folder, train, rounds)
    rates = training.rates(STEPS * BATCH, rounds.spent[1:])
    rate = statistics.median(rates)
    mfu = trainer.utilization.at(rate, SIZE)
    words = [
        f"{precision}{', compiled' if compiled else ''}: {rate:.0f} img/s",
        f"MFU {100 * mfu:.0f}%" if mfu is not None else "MFU unknown for this GPU",
        f"skipped {int(trainer.learner.precision.left_out)}",
        f"{torch.cuda.max_memory_allocated(Ranks().device) / 2**30:.1f} GiB",
        "raw " + " ".join(f"{each:.0f}" for each in rates),
    ]
    print("  ".join(words))
