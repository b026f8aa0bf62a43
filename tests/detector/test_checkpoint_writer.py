"""Checkpoints are written beside training: what is on disk is what was given, and what fails is told."""

import os
import threading
from pathlib import Path

import pytest
import torch

from detector import checkpoint
from detector.errors import UserError


def test_a_checkpoint_is_of_the_moment_in_which_it_was_given(tmp_path: Path) -> None:
    weight = torch.zeros(1000)
    writer = checkpoint.Writer()
    writer.save(tmp_path / "last.pt", {"model": {"weight": weight}, "groups": [{"lr": 0.5}]})
    weight.fill_(7)
    writer.save(tmp_path / "last.pt", {"model": {"weight": weight}, "groups": [{"lr": 0.25}]})
    weight.fill_(9)
    writer.wait()

    found = [checkpoint.load(tmp_path / name) for name in ("previous.pt", "last.pt")]
    assert [float(each["model"]["weight"].sum()) for each in found] == [0, 7000]
    assert [each["groups"] for each in found] == [[{"lr": 0.5}], [{"lr": 0.25}]]


def test_training_goes_on_while_a_slow_disk_writes_and_hears_of_its_failure(tmp_path: Path) -> None:
    """A pipe stands in for the disk: opening it waits for a reader, and it cannot be synced."""
    disk = tmp_path / "last.partial"
    os.mkfifo(disk)
    writer = checkpoint.Writer()
    writer.save(tmp_path / "last.pt", {"model": {"weight": torch.zeros(1000)}})
    assert disk.is_fifo()
    reader = threading.Thread(target=disk.read_bytes)
    reader.start()

    with pytest.raises(UserError, match=r"cannot write .*last\.pt: Invalid argument"):
        writer.wait()
    reader.join()
    assert list(tmp_path.iterdir()) == []
    writer.wait()
