"""Processes that wait for one another."""

import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest
from spawned import on_ranks

from detector import processes
from detector.processes import Ranks


def be_late(ranks: Ranks, folder: str) -> None:
    """Rank 0 works by itself for longer than any collective may take."""
    processes._TIMEOUT = timedelta(seconds=3)
    ranks.join()
    beats: list[float] = []
    result = ranks.first_alone(lambda: time.sleep(8) or "scored", lambda: beats.append(time.monotonic()))
    (Path(folder) / str(ranks.rank)).write_text(f"{result} {len(beats)} {ranks.gather_all(ranks.rank)}")


def test_nobody_waits_beyond_a_time_limit_for_what_the_first_rank_does_alone(tmp_path: Path) -> None:
    on_ranks(be_late, str(tmp_path))
    for rank, result in enumerate(("scored", "None")):
        found, beats, both = (tmp_path / str(rank)).read_text().split(maxsplit=2)
        assert (found, both) == (result, "[0, 1]")
        assert int(beats) >= 4


def test_what_the_first_rank_cannot_do_is_raised() -> None:
    def fail() -> None:
        raise OSError("no space")

    with pytest.raises(OSError, match="no space"):
        Ranks().first_alone(fail, lambda: None)


FAULTS = """
import resource, torch
from detector.processes import Ranks
Ranks()
for step in range(12):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    values = [torch.ones(1 << 22) for _ in range(4)]
    del values
    if step > 5:
        print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def test_a_step_on_a_cpu_takes_the_memory_of_the_one_before_from_no_kernel() -> None:
    """64 MiB are 16,384 pages."""
    done = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True)
    faults = [int(line) for line in done.stdout.split()]
    assert len(faults) == 6
    assert max(faults) < 500
