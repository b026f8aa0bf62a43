"""AP on the blood cells of BCCD at 256 px, from scratch on this machine's cores: seeds of the recipes, one by one."""

import os
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from command import Detrun

RECIPES = ("yolov3-tiny-bccd", "yolox-darknet-tiny-bccd")
SEEDS = 3
# AP of a minimal YOLOv3-tiny script after its 20 epochs, which took 192 s on 2 cores.
MINIMAL = 0.510
_DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "bccd"


def run() -> None:
    if not _DATA.is_dir():
        print(f"{_DATA} is missing: nothing measured")
        return
    cores = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as name:
        detrun = Detrun(Path(name), _DATA)
        sets = ("--set", f"data.root={_DATA}", "--set", "eval.every=100")
        where = ("--on", "local", "--gpus", "0", "--cpus", str(cores), "--seeds", str(SEEDS))
        for recipe in RECIPES:
            detrun("submit", recipe, *sets, *where, "--watch", timeout_s=3600)
            print(_row(recipe, [row for row in detrun.status() if row["recipe"] == recipe]))


def _row(recipe: str, rows: Sequence[dict[str, Any]]) -> str:
    precisions = [row["metrics"]["AP"] for row in rows]
    seconds = [row["ended_at"] - row["started_at"] for row in rows]
    mean, sd = statistics.mean(precisions), statistics.stdev(precisions)
    raw = ", ".join(f"{ap:.4f} in {took:.0f} s" for ap, took in zip(precisions, seconds, strict=True))
    spread = f"AP {mean:.3f} ± {sd:.3f} ({mean - MINIMAL:+.3f} to a minimal script)"
    return f"{recipe:<26}{spread}, {statistics.mean(seconds):.0f} s from start to end   raw: {raw}"
