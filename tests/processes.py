"""Find, signal and end processes that are not our children. Linux only: reads /proc."""

import contextlib
import signal
import time
from collections.abc import Iterable
from pathlib import Path

import psutil


def alive(processes: Iterable[psutil.Process]) -> list[psutil.Process]:
    """Those that still run. A zombie has ended, even where the machine's pid 1 never reaps it."""
    return [process for process in processes if _runs(process)]


def end(processes: Iterable[psutil.Process], how: signal.Signals = signal.SIGTERM, patience_s: float = 5) -> None:
    """Send a signal, wait until all are gone, and SIGKILL what outlives `patience_s`; a stopped one is woken first."""
    left = alive(processes)
    for what in (how, signal.SIGKILL):
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(what)
                process.send_signal(signal.SIGCONT)
        deadline = time.monotonic() + patience_s
        while (left := alive(left)) and time.monotonic() < deadline:
            time.sleep(0.02)


def environment(process: psutil.Process) -> dict[str, str]:
    """The variables a process was started with; none for a zombie or another user's process.

    `psutil.Process.environ` stops at the first gap, and slurmstepd's process title leaves one.
    """
    try:
        block = Path(f"/proc/{process.pid}/environ").read_bytes()
    except OSError:
        return {}
    pairs = (entry.decode(errors="replace").partition("=") for entry in block.split(b"\0"))
    return {name: value for name, _, value in pairs if name}


def started_with(name: str, value: str) -> list[psutil.Process]:
    """Living processes that have a variable of that value in their environment."""
    return alive(process for process in psutil.process_iter() if environment(process).get(name) == value)


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
