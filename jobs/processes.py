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
KEY = "DETRUN_ATTEMPT_KEY"


def marks(run: Path, node: int) -> dict[str, str]:
    """What the environment of a run's processes holds. Two nodes of a test cluster may be one machine."""
    return {MARK: str(run.resolve()), NODE: str(node)}


def marked(run: Path, node: int | None = None, key: str | None = None) -> list[psutil.Process]:
    """Every living process of a run on this machine, of one of its nodes and of one attempt where given.

    The caller is left out, and what started it: the local queue watches that one.
    """
    us = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    mark = {MARK: str(run.resolve())} if node is None else marks(run, node)
    mark |= {KEY: key} if key else {}
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid not in us and mark.items() <= process.environ().items() and _lives(process):
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess, OSError):
            continue
    return found


def children(pid: int) -> list[psutil.Process]:
    """What a process has started itself; of torchrun, its ranks."""
    try:
        found: list[psutil.Process] = psutil.Process(pid).children()
    except psutil.NoSuchProcess:
        return []
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
                send(process, signal.SIGKILL if force else signal.SIGTERM)
            seen.add(process.pid)
        time.sleep(0.1)
    return len(seen)


def kill(processes: list[psutil.Process]) -> None:
    """SIGKILL each process that still lives."""
    for process in processes:
        send(process, signal.SIGKILL)


def _lives(process: psutil.Process) -> bool:
    return bool(process.status() != psutil.STATUS_ZOMBIE)


def send(process: psutil.Process, number: signal.Signals) -> None:
    """Send a signal to a process that may have ended."""
    try:
        process.send_signal(number)
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return
