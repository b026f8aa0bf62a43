"""Folders that are full or read-only when something is submitted."""

from pathlib import Path

import pytest
from command import EXECUTABLE
from disk import OnDisk


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ("size=40k", "0.0 GiB free; checkpoints of 1 runs need about 0."),
        ("size=1g,nr_inodes=40", "No space left on device"),
        ("ro", "not allowed to write there"),
    ],
)
def test_a_submission_to_a_disk_without_room_leaves_nothing(
    on_disk: OnDisk, tmp_path: Path, options: str, problem: str
) -> None:
    disk = tmp_path / "disk"

    done = on_disk(
        options, disk, f"{EXECUTABLE} submit digits --on local --runs {disk}/runs; code=$?; ls -R {disk}; exit $code"
    )

    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert problem in done.stderr
    assert f"{disk}/runs" in done.stderr
    assert "--runs DIR" in done.stderr
    assert "digits-" not in done.stdout
