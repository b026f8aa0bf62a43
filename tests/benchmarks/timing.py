"""Timing of whole processes and of calls, and the form in which a benchmark reports: raw figures beside the median."""

import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

EXECUTABLE = Path(sys.executable).parent / "detrun"


def of_command(*arguments: str, runs: int = 7, environment: dict[str, str] | None = None) -> list[float]:
    """Seconds of some runs of the installed `detrun`, after one that warms the caches, compiled modules among them."""
    return of_call(lambda: once(*arguments, environment=environment), runs)


def once(*arguments: str, environment: dict[str, str] | None = None) -> None:
    """One run of the installed `detrun`, which may write compiled modules."""
    warm = {**(environment or os.environ)}
    warm.pop("PYTHONDONTWRITEBYTECODE", None)
    subprocess.run([EXECUTABLE, *arguments], env=warm, capture_output=True, check=True)


def of_call(call: Callable[[], Any], runs: int = 7) -> list[float]:
    """Seconds of some calls, after one that warms the caches."""
    call()
    times = []
    for _ in range(runs):
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return times


def row(what: str, times: Sequence[float], budget_s: float | None = None) -> str:
    """One line: median, budget, whether it is met, and every figure."""
    median = statistics.median(times)
    bound = f"budget {budget_s * 1000:.0f} ms, {'met' if median <= budget_s else 'MISSED'}" if budget_s else ""
    raw = " ".join(f"{one * 1000:.0f}" for one in times)
    return f"{what:<44}{median * 1000:>8.0f} ms   {bound:<28}raw ms: {raw}"


def machine() -> str:
    """What the figures were taken on."""
    from importlib.metadata import version

    model = next((line.partition(":")[2].strip() for line in _cpuinfo() if line.startswith("model name")), "")
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "typer", "msgspec", "submitit", "hotcoco"))
    load = os.getloadavg()[0]
    cores = len(os.sched_getaffinity(0))
    return f"{cores} cores of {model}, Python {platform.python_version()}, {packages}, load {load:.1f}"


def _cpuinfo() -> list[str]:
    return Path("/proc/cpuinfo").read_text().splitlines()
