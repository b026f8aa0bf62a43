"""What proc(5) says of a process: light, because `status` asks it."""

import signal
from pathlib import Path


def identity(pid: int) -> str | None:
    """What tells a process from every other on this machine, before and after a reboot or a jump of the clock.

    The boot's id and the start time in clock ticks since then (proc(5), field 22); `None` where there is none.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text()
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else f"{pid}-{fields[19]}-{boot[:8]}"


def catches(pid: int, number: signal.Signals) -> bool:
    """Whether a process has a handler for a signal (`SigCgt` of proc(5)); others would die of it or miss it."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
    mask = int(status.partition("SigCgt:")[2].split(None, 1)[0], 16)
    return bool(mask >> (number - 1) & 1)
