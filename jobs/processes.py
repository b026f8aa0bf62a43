"""The processes of a run on this machine: finding, signalling and ending all of them.

torchrun's workers have sessions of their own and survive its death, so a process belongs to a run by the
mark in its environment, which it inherits, and not by its parent or its group.
"""

import os
import signal
import time
from pathlib import Path

import psutil

MARK = "DETRUN_RUN"
NODE = "DETRUN_NODE"


def marks(run: Path, node: int) -> dict[str, str]:
    """What the environment of a run's processes holds. Two nodes of a test cluster may be one machine."""
    return {MARK: str(run.resolve()), NODE: str(node)}


def marked(run: Path, node: int | None = None) -> list[psutil.Process]:
    """Every living process of a run on this machine, the caller left out; of one of its nodes where given."""
    mark = {MARK: str(run.resolve())} if node is None else marks(run, node)
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and mark.items() <= process.environ().items() and _lives(process):
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess, OSError):
            continue
    return found


def end(run: Path, grace_s: float = 3.0) -> int:
    """End every process of a run: SIGTERM, then SIGKILL; returns how many there were.

    New processes that appear while it works are ended too.
    """
    seen: set[int] = set()
    deadline = time.monotonic() + grace_s
    while living := marked(run):
        force = time.monotonic() > deadline
        for process in living:
            if force or process.pid not in seen:
                _send(process, signal.SIGKILL if force else signal.SIGTERM)
            seen.add(process.pid)
        time.sleep(0.1)
    return len(seen)


def kill(processes: list[psutil.Process]) -> None:
    """SIGKILL each process that still lives."""
    for process in processes:
        _send(process, signal.SIGKILL)


def _lives(process: psutil.Process) -> bool:
    return bool(process.status() != psutil.STATUS_ZOMBIE)


def _send(process: psutil.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return
