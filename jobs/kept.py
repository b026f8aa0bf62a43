"""Facts of settled runs, kept so that `status` over thousands of runs reads few files.

A kept fact counts only while the files that it came from have the times and sizes that they had. The file may
vanish or break at any time: it is made again.
"""

import os
from collections.abc import Sequence
from pathlib import Path

import msgspec

from jobs import records
from jobs.at_once import mapped
from jobs.errors import RunError
from jobs.facts import Facts, gather
from jobs.rundir import RunDir, stamp_of

# What changes where a settled run is submitted or tried again.
_SOURCES = ("events.jsonl", "job.json")

Stamp = tuple[tuple[int, int] | None, ...]


class _Kept(msgspec.Struct, frozen=True):
    stamp: Stamp
    facts: Facts


def gather_all(directories: Sequence[RunDir]) -> list[Facts]:
    """`gather` for many runs, from what was kept where that still holds."""
    places = [os.path.split(str(directory.path)) for directory in directories]
    kept = {folder: _read(folder) for folder in dict(places)}
    stamps = mapped(_stamp, directories)
    known = [kept[folder].get(run_id) for folder, run_id in places]
    changed = [at for at, (one, stamp) in enumerate(zip(known, stamps, strict=True)) if not one or one.stamp != stamp]
    fresh = set()
    for at, facts in zip(changed, mapped(lambda at: gather(directories[at]), changed), strict=True):
        folder, run_id = places[at]
        known[at] = _Kept(stamps[at], facts)
        if facts.settled:
            kept[folder][run_id] = _Kept(stamps[at], facts)
            fresh.add(folder)
    for folder in fresh:
        _write(folder, kept[folder])
    return [one.facts for one in known if one]


def _stamp(directory: RunDir) -> Stamp:
    folder = str(directory.path)
    return tuple([stamp_of(f"{folder}/{name}") for name in _SOURCES])


def _file(folder: str) -> Path:
    return Path(folder) / ".cache" / "facts-2.msgpack"


def _read(folder: str) -> dict[str, _Kept]:
    try:
        return msgspec.msgpack.decode(_file(folder).read_bytes(), type=dict[str, _Kept])
    except (OSError, msgspec.MsgspecError):
        return {}


def _write(folder: str, kept: dict[str, _Kept]) -> None:
    """Runs folders of other people cannot be written, and need not be."""
    try:
        records.write(_file(folder), msgspec.msgpack.encode(kept))
    except RunError:
        return
