"""Runs of the trainer alone under torchrun, without the job layer."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import torch

from detector import config
from jobs.overrides import apply


def prepare(folder: Path, data: Path, **overrides: Any) -> Path:
    """A run directory whose config trains yolov3-tiny on a data set; dots in keys are written as `__`."""
    small = {
        "epochs": 2,
        "log_every": 1,
        "data.root": str(data),
        "data.image_size": 64,
        "model.name": "yolov3-tiny",
        "optim.name": "adamw",
        "optim.batch_size": 6,
        "schedule.burn_in_steps": 4,
        "schedule.name": "cosine",
        "eval.batch_size": 4,
    }
    table = apply({}, small | {key.replace("__", "."): value for key, value in overrides.items()})
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_bytes(msgspec.json.encode(config.dump(config.load(table))))
    return folder


def start(run: Path, procs: int = 1, threads: int = 1) -> "subprocess.Popen[bytes]":
    """Start torchrun on a run directory; its output is appended to `log`."""
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "CUDA_VISIBLE_DEVICES": "", "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={procs}"]
    with (run / "log").open("ab") as log:
        return subprocess.Popen(
            [*command, "-m", "detector.train", str(run)],
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def finish(run: Path, procs: int = 1, threads: int = 1) -> None:
    """Train to the end."""
    torchrun = start(run, procs, threads)
    assert torchrun.wait(300) == 0, (run / "log").read_text()


def kill_at_step(run: Path, step: int, procs: int = 1) -> None:
    """Train until a step's checkpoint is on disk and then SIGKILL torchrun, with which its ranks die."""
    torchrun = start(run, procs)
    try:
        while saved_step(run) < step:
            assert torchrun.poll() is None, (run / "log").read_text()
            time.sleep(0.02)
    finally:
        os.kill(torchrun.pid, signal.SIGKILL)
        torchrun.wait()


def saved_step(run: Path) -> int:
    """The step of the last checkpoint, 0 where there is none."""
    path = run / "checkpoints" / "last.pt"
    return int(torch.load(path, weights_only=True)["step"]) if path.exists() else 0


def checkpoint(run: Path) -> dict[str, Any]:
    """The last checkpoint."""
    state: dict[str, Any] = torch.load(run / "checkpoints" / "last.pt", weights_only=True)
    return state


def differences(one: Any, other: Any, path: str = "") -> list[str]:
    """Where two nested states are not the same to the last bit."""
    if isinstance(one, torch.Tensor):
        return [] if torch.equal(one, other) else [path]
    if isinstance(one, dict):
        assert one.keys() == other.keys(), path
        return [each for key in one for each in differences(one[key], other[key], f"{path}.{key}")]
    if isinstance(one, list | tuple):
        assert len(one) == len(other), path
        return [
            each for at, pair in enumerate(zip(one, other, strict=True)) for each in differences(*pair, f"{path}.{at}")
        ]
    return [] if one == other else [path]
