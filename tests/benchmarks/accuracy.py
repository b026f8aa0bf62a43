"""AP on the blood cells of BCCD at 256 px on this machine's cores, three seeds each, one run after the other.

The best recipe from scratch in the time that 20 epochs of a minimal script take here, and what a backbone pretrained on
twenty classes of Tiny-ImageNet is worth in few epochs. A minimal script's time is that of bare steps of YOLOv3-tiny, on
batches that lie ready: what it would take at least.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import local_runs
import training
from command import Detrun
from local_runs import Outcome
from processes import end

RECIPE = "yolox-darknet-tiny-bccd"
PRETRAINING = "darknet-tiny-imagenet"
FEW_EPOCHS = 5
SEEDS = ("--seeds", "3")
# A minimal YOLOv3-tiny script from scratch, once: AP .510 after 20 epochs of 292 images, which took 192 s on 2 cores.
MINIMAL_EPOCHS, MINIMAL_AP, IMAGES, SIZE, BATCH = 20, 0.510, 292, 256, 4
# Where a CPU computes in bf16, it takes half the time.
BF16 = ("avx512_bf16", "amx_bf16")
_DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


def run() -> None:
    if not _DATA.is_dir():
        print(f"{_DATA} is missing: nothing measured")
        return
    seconds = _minimal_s()
    print(
        f"a minimal script: at least {seconds:.0f} s for {MINIMAL_EPOCHS} epochs here, AP {MINIMAL_AP:.3f}", flush=True
    )
    with tempfile.TemporaryDirectory() as name:
        detrun = Detrun(Path(name), _DATA / "bccd")
        flags = Path("/proc/cpuinfo").read_text().split()
        precisions = ("fp32", "bf16") if any(flag in flags for flag in BF16) else ("fp32",)
        for precision in precisions:
            (trial,) = local_runs.train(detrun, RECIPE, detrun.data, precision=precision, epochs=2, seed=99)
            epochs = int((seconds - trial.whole_s + trial.train_s) / trial.epoch_s)
            rows = local_runs.train(detrun, RECIPE, detrun.data, *SEEDS, precision=precision, epochs=epochs)
            print(_row(f"{epochs} epochs in {precision}", rows), flush=True)
        fast = precisions[-1]
        (pretrained,) = local_runs.train(detrun, PRETRAINING, _DATA / "tiny-imagenet-20.tar", precision=fast)
        print(f"{PRETRAINING} in {fast}: top-1 {pretrained.score:.3f} in {pretrained.whole_s:.0f} s", flush=True)
        starts = ("scratch", f"@{PRETRAINING}")
        keys = {"precision": fast, "epochs": FEW_EPOCHS, "model__init": starts}
        both = local_runs.train(detrun, RECIPE, detrun.data, *SEEDS, **keys)
        for start in starts:
            rows = [row for row in both if (row.overrides["model.init"] == "scratch") is (start == "scratch")]
            print(_row(f"{FEW_EPOCHS} epochs, {start}", rows), flush=True)
        end(detrun.processes())


def _minimal_s() -> float:
    train = training.settings(_DATA, model__name="yolov3-tiny", data__image_size=SIZE, optim__batch_size=BATCH)
    steps = IMAGES // BATCH
    return MINIMAL_EPOCHS * training.Bare(train).spend(steps).wall_s


def _row(what: str, rows: Sequence[Outcome]) -> str:
    raw = ", ".join(f"{row.score:.4f} in {row.whole_s:.0f} s" for row in rows)
    return f"{what:<36}AP {local_runs.spread([row.score for row in rows], 3)}   raw: {raw}"
