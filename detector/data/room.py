"""Room on this node: for decoded images in memory or on a disk, and for batches in shared memory."""

import os
import tempfile
from pathlib import Path

import psutil

from detector.errors import UserError

# What is left to everything else: memory is what training itself needs, too.
_SHARE = {"ram": 0.8, "disk": 0.95}

_CGROUPS = Path("/sys/fs/cgroup")
_SHARED_MEMORY = Path("/dev/shm")


def in_memory(name: str, size: int, promised: int = 0) -> Path:
    """A file of so many bytes, all 0, that lives in memory as long as this process does.

    It takes memory as it is filled, counts against no `/dev/shm`, and leaves nothing behind, however the process ends.
    Processes of the same user on this node can open the path. `promised` bytes of what is free are for others.

    Raises:
        UserError: there is not enough free memory.
    """
    _refuse_too_large(size, free_memory() - promised, "ram", "free memory", "data.cache=disk keeps them in a file")
    file = os.memfd_create(name)
    os.truncate(file, size)
    return Path(f"/proc/{os.getpid()}/fd/{file}")


def on_disk(folder: str, name: str, size: int, promised: int = 0) -> Path:
    """A file of so many bytes in a folder, new and all 0, or there already.

    The folder should be on this node. An empty one is `$DETRUN_CACHE`, else one for temporary files. `promised` bytes
    of what is free are for others.

    Raises:
        UserError: there is not enough space, or the file cannot be made.
    """
    place = Path(folder or os.environ.get("DETRUN_CACHE") or tempfile.gettempdir()).expanduser()
    path = place / f"{name}.images"
    hint = "data.cache_dir=/path names another folder"
    try:
        place.mkdir(parents=True, exist_ok=True)
        there = path.stat().st_blocks * 512 if path.exists() else 0
        status = os.statvfs(place)
        free = status.f_bavail * status.f_frsize - promised
        _refuse_too_large(size - there, free, "disk", f"free space of {place}", hint)
        with path.open("ab") as file:
            file.truncate(size)
    except OSError as error:
        raise UserError(f"data.cache: {path} cannot be written: {error.strerror}", hint) from None
    return path


def refuse_small_shared_memory(size: int, workers: int) -> None:
    """Loader processes hand over batches through `/dev/shm`, and die with a bus error where it is full.

    Args:
        size: bytes that all loader processes of one rank can hold there.
        workers: their number.

    Raises:
        UserError: the ranks of this node need more than there is.
    """
    ranks = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    status = os.statvfs(_SHARED_MEMORY)
    needed, free = ranks * size / 2**20, status.f_bavail * status.f_frsize / 2**20
    if needed > free:
        problem = f"{_SHARED_MEMORY} has {free:.0f} MiB free, and {ranks * workers} loader processes need {needed:.0f}"
        raise UserError(problem, "a larger one (docker: --shm-size), or fewer loader processes: --set data.workers=N")


def free_memory() -> int:
    """Bytes that this process may still take: of the machine, and of every cgroup that it is in."""
    limits = [_left(folder) for line in _lines(Path("/proc/self/cgroup")) for folder in _groups(line)]
    return min([psutil.virtual_memory().available, *(limit for limit in limits if limit is not None)])


def _refuse_too_large(size: int, free: int, kind: str, what: str, hint: str) -> None:
    if size > free * _SHARE[kind]:
        free = max(free, 0)
        problem = f"data.cache={kind}: {size / 2**30:.1f} GiB of decoded images do not fit into {free / 2**30:.1f} GiB"
        raise UserError(f"{problem} of {what}", hint)


def _groups(line: str) -> list[Path]:
    """The folders of a cgroup and those above it, where it counts memory; both versions of cgroups."""
    _, controllers, path = line.split(":", 2)
    if controllers not in ("", "memory"):
        return []
    inside = Path(path.lstrip("/"))
    return [_CGROUPS / controllers / folder for folder in (inside, *inside.parents)]


def _left(group: Path) -> int | None:
    """Bytes up to a cgroup's limit, files that can be forgotten counted as free; None where there is no limit."""
    for limit, used, forgettable in (
        ("memory.max", "memory.current", "inactive_file"),
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        numbers = [text for name in (limit, used) for text in _lines(group / name)]
        if len(numbers) == 2 and all(text.isdigit() for text in numbers):
            stat = dict(text.split() for text in _lines(group / "memory.stat"))
            return int(numbers[0]) - int(numbers[1]) + int(stat.get(forgettable, 0))
    return None


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
