"""Walks files and folders and reads every log and run directory in them.

In: a path. Out: what could be read, in natural order of names, and a line for each file that could not.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import msgspec

from detrun.readers.evaluation import Log, Unread
from detrun.readers.file import read_file
from detrun.readers.run_dir import is_run


class FoundLog(msgspec.Struct, frozen=True, kw_only=True):
    """A run in a foreign log."""

    path: Path
    log: Log


class FoundRun(msgspec.Struct, frozen=True, kw_only=True):
    """A run directory of ours, not yet read."""

    path: Path


def walk(path: Path) -> Iterator[FoundLog | FoundRun | Unread]:
    """Everything in a file or, recursively, in a folder. Links to folders and hidden names are not followed."""
    if not path.is_dir():
        read = read_file(path)
        yield from [read] if isinstance(read, Unread) else (FoundLog(path=path, log=log) for log in read)
    elif is_run(path):
        yield FoundRun(path=path)
    else:
        try:
            children = sorted(_children(path), key=natural)
        except OSError as error:
            yield Unread(source=str(path), reason=f"cannot be read: {error.strerror}")
            return
        for child in children:
            yield from walk(child)


def natural(path: Path) -> list[tuple[int, str]]:
    """A sort key that puts `result_2` before `result_10`."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d{1,18})", str(path))]


def _children(folder: Path) -> Iterator[Path]:
    with os.scandir(folder) as entries:
        for entry in entries:
            linked_folder = entry.is_symlink() and entry.is_dir()
            if not entry.name.startswith(".") and not linked_folder:
                yield folder / entry.name
