"""AP on the blood cells of BCCD at 256 px on this machine's cores, three seeds each, one run after the other.

The best recipe from scratch, and what a backbone pretrained on twenty classes of Tiny-ImageNet is worth in few epochs.
"""

import os
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from command import Detrun
from processes import end

RECIPE = "yolox-darknet-tiny-bccd"
PRETRAINING = "darknet-tiny-imagenet"
FEW_EPOCHS = 5
SEEDS = "3"
# AP of a minimal YOLOv3-tiny script from scratch after its 20 epochs, which took 192 s on 2 cores.
MINIMAL = 0.510
_DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


def run() -> None:
    if not _DATA.is_dir():
        print(f"{_DATA} is missing: nothing measured")
        return
    with tempfile.TemporaryDirectory() as name:
        detrun = Detrun(Path(name), _DATA / "bccd")
        rows = _train(detrun, RECIPE, "--seeds", SEEDS)
        print(f"{_row(RECIPE, rows)}   a minimal script: {MINIMAL:.3f}", flush=True)
        (pretrained,) = _train(detrun, PRETRAINING, data=_DATA / "tiny-imagenet-20.tar")
        accuracy, took = pretrained["metrics"]["top1"], _seconds(pretrained)
        print(f"{PRETRAINING:<26}top-1 {accuracy:.3f} in {took:.0f} s", flush=True)
        starts = ("--set", f"model.init=scratch,@{PRETRAINING}", "--set", f"epochs={FEW_EPOCHS}")
        rows = _train(detrun, RECIPE, *starts, "--seeds", SEEDS)
        for start, is_scratch in (("scratch", True), (f"@{PRETRAINING}", False)):
            from_it = [row for row in rows if (row["overrides"]["model.init"] == "scratch") is is_scratch]
            print(_row(f"{FEW_EPOCHS} epochs, {start}", from_it), flush=True)
        end(detrun.processes())


def _train(detrun: Detrun, recipe: str, *options: str, data: Path = _DATA / "bccd") -> list[dict[str, Any]]:
    """Runs on all cores, evaluated at their end; their rows of `status`."""
    cores = str(len(os.sched_getaffinity(0)))
    where = ("--on", "local", "--gpus", "0", "--cpus", cores, "--set", f"data.root={data}", "--set", "eval.every=100")
    planned = detrun.json("submit", recipe, *where, *options)["runs"]
    runs = [run["id"] for run in planned]
    detrun("status", *runs, "--watch", timeout_s=3600)
    return detrun.status(*runs)


def _seconds(row: dict[str, Any]) -> float:
    """From the worker's start to its end, imports and the evaluation among them."""
    seconds: float = row["ended_at"] - row["started_at"]
    return seconds


def _row(what: str, rows: Sequence[dict[str, Any]]) -> str:
    precisions = [row["metrics"]["AP"] for row in rows]
    raw = ", ".join(f"{row['metrics']['AP']:.4f} in {_seconds(row):.0f} s" for row in rows)
    mean, sd = statistics.mean(precisions), statistics.stdev(precisions)
    return f"{what:<36}AP {mean:.3f} ± {sd:.3f}, {statistics.mean(map(_seconds, rows)):.0f} s   raw: {raw}"
