"""The local queue on disk, and what this machine has to give.

One folder per user and machine: `queue/` holds a file for each waiting run, `running/` one for each that was
started, both named by time of submission. Only the dispatcher moves files between them; `lock` guards that.
"""

import fcntl
import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from detector.errors import UserError
from jobs import records, settings
from jobs.errors import ResourceError
from jobs.resources import Resources


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A waiting or running run. `group` and `limit` bound how many of a submission run at once.

    `gpus` are the indices handed out and `leader` the identity of the process that leads the run (see
    `procfs.identity`), both empty while it waits.
    """

    run: str
    python: str
    environment: dict[str, str]
    group: str
    limit: int | None
    after: list[str] = []
    gpus: list[int] = []
    leader: str = ""


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """What the pool hands out: GPU indices, least loaded first, and CPU cores."""

    gpus: tuple[int, ...]
    cpus: int


def home() -> Path:
    """The queue's folder: under `$DETRUN_STATE`, `$XDG_STATE_HOME/detrun` or `~/.local/state/detrun`."""
    base = os.environ.get("DETRUN_STATE")
    if not base:
        base = str(Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "detrun")
    return Path(base) / socket.gethostname()


def machine() -> Machine:
    """This machine, or the part of it that `[local]` in the user's settings allows."""
    chosen = settings.load().local
    gpus = tuple(chosen.gpus) if chosen.gpus is not None else _gpus_by_load()
    return Machine(gpus=gpus, cpus=chosen.cpus or cpu_count())


def cpu_count() -> int:
    """Cores that this process may use, a container's quota included."""
    cores = len(os.sched_getaffinity(0))
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
    except (OSError, ValueError):
        return cores
    return cores if quota == "max" else max(1, min(cores, int(quota) // int(period)))


def check_fits(needs: Resources) -> None:
    """Refuse a run that this machine could never start.

    Raises:
        ResourceError: more GPUs or CPU cores than there are.
    """
    have = machine()
    if needs.gpus > len(have.gpus):
        found = f"{len(have.gpus)} GPUs" if have.gpus else "no GPU"
        raise ResourceError(f"--gpus {needs.gpus}: this machine has {found}", "use --gpus 0 to train on the CPU")
    if needs.cpus and needs.cpus > have.cpus:
        raise ResourceError(
            f"--cpus {needs.cpus}: this machine has {have.cpus} cores", f"use --cpus {have.cpus} or fewer"
        )
    if needs.gpus == 0 and needs.procs > have.cpus:
        raise ResourceError(
            f"--procs {needs.procs}: this machine has {have.cpus} cores", f"use --procs {have.cpus} or fewer"
        )


def cpus_of(needs: Resources, have: Machine) -> int:
    """Cores that a run occupies; a default larger than the machine takes all of it."""
    return min(needs.cpus_per_node, have.cpus)


def waiting(folder: Path) -> dict[Path, Entry]:
    """The queue in order, by file."""
    return _entries(folder / "queue")


def running(folder: Path) -> dict[Path, Entry]:
    """What was started and not yet cleared away."""
    return _entries(folder / "running")


def add(folder: Path, name: str, entry: Entry) -> None:
    """Put a run at the queue's end; `name` sorts by time."""
    path = folder / "queue" / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    records.write(path, msgspec.json.encode(entry))


def remove(folder: Path, run: Path) -> bool:
    """Take a waiting run out of the queue; whether it was there."""
    with lock(folder):
        mine = [path for path, entry in waiting(folder).items() if entry.run == str(run)]
        for path in mine:
            path.unlink(missing_ok=True)
    return bool(mine)


@contextmanager
def lock(folder: Path, name: str = "lock") -> Iterator[None]:
    """Hold the queue still."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        file = (folder / name).open("w")
    except OSError as error:
        raise UserError(f"cannot write the queue's folder {folder}: {error.strerror}", "set $DETRUN_STATE") from None
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _entries(folder: Path) -> dict[Path, Entry]:
    try:
        names = sorted(os.listdir(folder))  # noqa: PTH208
    except FileNotFoundError:
        return {}
    found = {}
    for name in names:
        if name.endswith(".json") and not name.startswith(".") and (entry := records.read_record(folder / name, Entry)):
            found[folder / name] = entry
    return found


def _gpus_by_load() -> tuple[int, ...]:
    """GPU indices by used memory, then use; none where there is no driver. `$CUDA_VISIBLE_DEVICES` bounds them."""
    query = ["nvidia-smi", "--query-gpu=index,memory.used,utilization.gpu", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ()
    rows = [
        [int(field) if field.strip().isdigit() else 0 for field in line.split(",")] for line in done.stdout.splitlines()
    ]
    by_load = (
        [index for index, *_ in sorted(rows, key=lambda row: (row[1], row[2], row[0]))] if done.returncode == 0 else []
    )
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return tuple(by_load)
    allowed = {int(part) for part in visible.split(",") if part.strip().isdigit()}
    return tuple(index for index in by_load if index in allowed)
