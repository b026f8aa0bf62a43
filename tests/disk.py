"""A small disk: a file system in memory with limits of its own, which only one shell line sees."""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol


class OnDisk(Protocol):
    """Run a shell line where a new folder is a file system that is mounted with some options."""

    def __call__(self, options: str, folder: Path, line: str) -> subprocess.CompletedProcess[str]: ...


def on_small_disk(
    environment: Mapping[str, str], options: str, folder: Path, line: str
) -> subprocess.CompletedProcess[str]:
    """The line's outcome; the disk is gone behind it."""
    folder.mkdir()
    own = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--mount", "--map-root-user"]
    done = subprocess.run(
        [*own, "sh", "-c", f"mount -t tmpfs -o {options} tmpfs {folder} || exit 99; {line}"],
        env=environment,
        cwd=folder.parent,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=200,
        check=False,
    )
    assert done.returncode != 99, done.stderr
    return done
