"""A run that was killed and resumed is, bit by bit, the run that was never disturbed."""

import shutil
import signal
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch
from disk import OnDisk
from torchrun import checkpoint, differences, finish, kill_at_step, prepare, saved_step, start

pytestmark = pytest.mark.torchrun

# Everything random is on: augmentation, several sizes, loader processes; the second epoch closes without mosaic.
# So is what a step has a memory for: the average, and gradients of several parts.
RESTLESS = {
    "optim__ema": 0.9,
    "optim__micro_batch": 2,
    "optim__clip_norm": 10.0,
    "augment__multi_scale": [64, 96],
    "augment__multi_scale_every": 2,
    "augment__scale": [0.5, 1.5],
    "augment__mosaic": 0.7,
    "augment__mixup": 0.5,
    "augment__close_epochs": 1,
    "data__workers": 2,
}
EVERY_STEP = {"checkpoint__every_min": 1e-9}


@pytest.mark.parametrize(("procs", "cache"), [(1, "disk"), (2, "ram")])
def test_killed_mid_epoch_and_resumed_ends_with_the_same_weights(
    tmp_path: Path, tiny: Path, procs: int, cache: str
) -> None:
    """The calm run decodes each time, so a cache that the kill left half written changes no bit either."""
    kept = {"data__cache": cache, "data__cache_dir": str(tmp_path)}
    calm = prepare(tmp_path / "calm", tiny, **RESTLESS)
    killed = prepare(tmp_path / "killed", tiny, **RESTLESS, **EVERY_STEP, **kept)

    finish(calm, procs)
    kill_at_step(killed, 3, procs)
    assert 3 <= saved_step(killed) < 8
    finish(killed, procs)

    log = (killed / "log").read_text()
    assert "resuming at step" in log
    assert "warning" not in log
    assert len(list(tmp_path.glob("*.images"))) == (2 if cache == "disk" else 0)
    assert differences(checkpoint(calm), checkpoint(killed)) == []
    for epoch in (1, 2):
        name = f"eval/epoch_{epoch:04d}.npz"
        assert (calm / name).read_bytes() == (killed / name).read_bytes()


def test_a_detector_of_torchvisions_trains_evaluates_and_resumes_through_the_same_loop(
    tmp_path: Path, tiny: Path
) -> None:
    ssdlite = {"model__name": "ssdlite", "epochs": 1}
    calm = prepare(tmp_path / "calm", tiny, **ssdlite)
    killed = prepare(tmp_path / "killed", tiny, **ssdlite, **EVERY_STEP)

    finish(calm)
    kill_at_step(killed, 2)
    finish(killed)

    assert "resuming at step" in (killed / "log").read_text()
    assert differences(checkpoint(calm), checkpoint(killed)) == []
    name = "eval/epoch_0001.npz"
    assert (calm / name).read_bytes() == (killed / name).read_bytes()


def test_a_signal_makes_all_ranks_finish_their_step_save_once_and_resume_at_the_next(
    tmp_path: Path, tiny: Path
) -> None:
    calm = prepare(tmp_path / "calm", tiny, epochs=4)
    stopped = prepare(tmp_path / "stopped", tiny, epochs=4)
    finish(calm, 2)

    torchrun = start(stopped, 2)
    metrics = stopped / "metrics.jsonl"
    while not metrics.exists():
        time.sleep(0.05)
    for rank in _ranks_of(torchrun.pid)[:1]:
        rank.send_signal(signal.SIGUSR2)
    assert torchrun.wait(300) == 0
    step = saved_step(stopped)
    finish(stopped, 2)

    log = (stopped / "log").read_text()
    assert f"stopped at step {step}" in log
    assert f"resuming at step {step}" in log
    assert 0 < step < 16
    assert differences(checkpoint(calm), checkpoint(stopped)) == []


def test_a_torn_checkpoint_is_named_and_the_one_before_it_taken(tmp_path: Path, tiny: Path) -> None:
    run = prepare(tmp_path / "run", tiny, epochs=2)
    finish(run)
    last = run / "checkpoints" / "last.pt"
    last.write_bytes(last.read_bytes()[:-1000])
    shutil.rmtree(run / "eval")

    finish(run)

    log = (run / "log").read_text()
    assert f"warning: cannot read checkpoint {last}" in log
    assert "resuming at step 4" in log
    assert saved_step(run) == 8


def _ranks_of(torchrun: int) -> list[psutil.Process]:
    children = psutil.Process(torchrun).children()
    return [child for child in children if "detector.train" in child.cmdline()]


def test_a_disk_that_fills_while_training_never_costs_the_last_good_checkpoint(
    on_disk: OnDisk, tmp_path: Path, tiny: Path
) -> None:
    config = prepare(tmp_path / "prepared", tiny, epochs=3, optim__name="sgd") / "config.json"
    disk, kept = tmp_path / "disk", tmp_path / "kept"
    # A checkpoint takes 70 MB: the first fits, the second does, and then there is no room for a third.
    train = f"{sys.executable} -m torch.distributed.run --standalone --nproc-per-node=1 -m detector.train {disk}"

    done = on_disk(
        "size=160m", disk, f"cp {config} {disk}; {train}; code=$?; cp -a {disk}/checkpoints {kept}; exit $code"
    )

    assert done.returncode == 1
    assert f"cannot write {disk}/checkpoints/last.pt: no space left on device" in done.stdout + done.stderr
    assert {path.name for path in kept.iterdir()} == {"last.pt", "previous.pt", "best.pt"}
    steps = {name: torch.load(kept / f"{name}.pt", weights_only=True)["step"] for name in ("last", "previous")}
    assert 0 < steps["previous"] < steps["last"]
