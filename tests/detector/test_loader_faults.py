"""What goes wrong under a loader ends a run with its cause in one line, or costs a grey image; it never hangs."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest
from torchrun import prepare

from detector.control import Control
from detector.errors import UserError
from detector.loop import Trainer
from detector.processes import Ranks
from detector.train import read_config

LOADER = """
import os, signal, sys
from multiprocessing import active_children
from pathlib import Path
from detector.config import Augment, Data, Eval, Optim, Train
from detector.data.loader import ImageBatches, train_loader
from detector.data.read import read_split
from detector.errors import UserError

fault, side = sys.argv[2], int(sys.argv[3])
config = Train(epochs=200, data=Data(root=sys.argv[1], image_size=side), optim=Optim(batch_size=8))
index = read_split(config.data, "train").index
if fault == "unsendable":
    ImageBatches.__getitem__ = lambda self, draw: [lambda: draw]
try:
    batches = iter(train_loader(index, config, rank=0, world=1, start_step=0, workers=2, gpu=False))
    next(batches)
    if fault == "killed":
        os.kill(active_children()[0].pid, signal.SIGKILL)
    if fault == "full":
        with open("/dev/shm/theirs", "wb") as file:
            try:
                while True:
                    file.write(bytes(1 << 16))
            except OSError:
                pass
    for number, batch in enumerate(batches):
        pass
except (RuntimeError, UserError) as error:
    print(f"{type(error).__name__}: {error} {getattr(error, 'hint', '')}")
    sys.exit(5)
"""

MOUNTED = 'mount -t tmpfs -o size=4m tmpfs /dev/shm && exec "$@"'


def loading(data: Path, fault: str, side: int, *before: str) -> str:
    """What a process says that loads batches until a fault ends it."""
    run = [*before, sys.executable, "-c", LOADER, str(data), fault, str(side)]
    done = subprocess.run(run, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode, "no fault was noticed"
    return next((line for line in done.stdout.splitlines() if line), done.stderr)


def test_a_worker_that_is_killed_is_the_cause(tiny: Path) -> None:
    """Torch says it at any time, unless a batch of the dead worker is asked for first."""
    said = loading(tiny, "killed", 32)
    assert "DataLoader worker (pid" in said or said.startswith("UserError: a loader process died: ")


@pytest.fixture
def small_shared_memory(lacking: Callable[[str], NoReturn]) -> tuple[str, ...]:
    """What a command begins with that sees a `/dev/shm` of 4 MiB."""
    before = ("unshare", "--map-root-user", "--mount", "sh", "-c", MOUNTED, "sh")
    if subprocess.run([*before, "true"], capture_output=True, check=False).returncode:
        lacking("this kernel lets nobody mount")
    return before


def test_a_shared_memory_that_is_too_small_is_told_beforehand(tiny: Path, small_shared_memory: tuple[str, ...]) -> None:
    said = loading(tiny, "none", 416, *small_shared_memory)
    assert said.startswith("UserError: /dev/shm has 4 MiB free, and 2 loader processes need 16")
    assert "--set data.workers=N" in said


def test_a_shared_memory_that_others_fill_up_is_the_cause(tiny: Path, small_shared_memory: tuple[str, ...]) -> None:
    said = loading(tiny, "full", 192, *small_shared_memory)
    assert said.startswith("UserError: a loader process cannot hand over a batch: ")
    assert "No space left on device" in said
    assert "a larger /dev/shm" in said


def test_a_batch_that_cannot_be_sent_ends_its_worker_rather_than_leave_the_rank_waiting(tiny: Path) -> None:
    said = loading(tiny, "unsendable", 32)
    assert "DataLoader worker (pid" in said


@pytest.fixture
def damaged(tiny: Path, tmp_path: Path) -> Path:
    """Two train images and one val image are cut short behind their headers."""
    root = shutil.copytree(tiny, tmp_path / "data")
    for name in ("train/3.png", "train/5.png", "val/2.png"):
        file = root / "images" / name
        file.write_bytes(file.read_bytes()[:200])
    return root


@pytest.mark.usefixtures("_signals")
def test_images_that_cannot_be_read_are_counted_in_both_splits_and_end_a_run_beyond_the_limit(
    damaged: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two are as many as the run puts up with; the third is in the val split."""
    settings = {"epochs": 1, "data__workers": 0, "data__max_bad_images": 2, "data__image_size": 32}
    run = prepare(tmp_path / "run", damaged, **settings)
    trainer = Trainer(run, read_config(run / "config.json"), Ranks(), Control(0, 0))
    with pytest.raises(UserError, match=r"3 images cannot be read, such as 2\.png, 3\.png, 5\.png") as caught:
        trainer.go()
    assert "data.max_bad_images=N" in caught.value.hint
    said = capsys.readouterr().out
    assert said.count("warning: cannot read") == 3
    assert "warning: cannot read 3.png; a grey image stands in for it" in said
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["bad_images"] == 2
    assert (run / "checkpoints/last.pt").is_file()
    assert not (run / "eval").exists()
