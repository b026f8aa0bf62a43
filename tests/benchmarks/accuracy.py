"""AP on the blood cells of BCCD at 256 px on this machine's cores, three seeds, in the time of a minimal script.

The best recipe from scratch, for as many epochs as fit into 20 of a minimal script, whose time is that of bare steps of
YOLOv3-tiny on batches that lie ready: what it would take at least.
"""

from pathlib import Path

import local_runs
import training

RECIPE, SEEDS = "yolox-darknet-tiny-bccd", ("--seeds", "3")
# In fp32 steps take twice as long; a width below the recipe's leaves room for more epochs.
HEAD_WIDTHS = {"fp32": 96, "bf16": 128}
# A minimal YOLOv3-tiny script from scratch, once: AP .510 after 20 epochs of 292 images, which took 192 s on 2 cores.
MINIMAL_EPOCHS, MINIMAL_AP, IMAGES, SIZE, BATCH = 20, 0.510, 292, 256, 4
_DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


def run() -> None:
    if not _DATA.is_dir():
        print(f"{_DATA} is missing: nothing measured")
        return
    seconds = _minimal_s()
    print(
        f"a minimal script: at least {seconds:.0f} s for {MINIMAL_EPOCHS} epochs here, AP {MINIMAL_AP:.3f}", flush=True
    )
    with local_runs.fresh(_DATA / "bccd") as detrun:
        for precision in local_runs.precisions():
            keys = {"precision": precision, "model__head_width": HEAD_WIDTHS[precision]}
            (trial,) = local_runs.train(detrun, RECIPE, detrun.data, **keys, epochs=2, seed=99)
            epochs = int((seconds - trial.whole_s + trial.train_s) / trial.epoch_s)
            rows = local_runs.train(detrun, RECIPE, detrun.data, *SEEDS, **keys, epochs=epochs)
            print(local_runs.row(f"{epochs} epochs in {precision}", rows), flush=True)


def _minimal_s() -> float:
    train = training.settings(_DATA, model__name="yolov3-tiny", data__image_size=SIZE, optim__batch_size=BATCH)
    steps = IMAGES // BATCH
    return MINIMAL_EPOCHS * training.Bare(train).spend(steps).wall_s
