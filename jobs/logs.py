"""A run's log files, read as they grow: every attempt, node and rank in order. Reads only.

torchrun writes `logs/attempt_<a>/node_<n>/<id>/attempt_0/<local rank>/{stdout,stderr}.log`; its own words, and those
of the worker, are in `torchrun_<n>.log` and in the submission's folder.
"""

from collections.abc import Iterator
from pathlib import Path

import msgspec

from jobs.rundir import RunDir


class Source(msgspec.Struct, frozen=True, order=True):
    """One log file; `rank` is global, -1 for torchrun itself. Sorts in reading order."""

    attempt: int
    rank: int
    name: str
    path: str


def newest(run: RunDir) -> Path | None:
    """The log of the last attempt's first rank, torchrun's own where no rank has one."""
    attempts = sorted(run.logs.glob("attempt_*"), key=lambda path: int(path.name.removeprefix("attempt_")))
    for attempt in attempts[-1:]:
        found = sorted(attempt.glob("node_0/*/attempt_*/0/stdout.log")) or sorted(attempt.glob("torchrun_0.log"))
        return found[-1] if found else None
    return None


class LogReader:
    """Hands out each line once, in the order in which files and lines appear."""

    def __init__(self, run: RunDir, *, rank: int | None = None, attempt: int | None = None) -> None:
        self.run = run
        self.rank = rank
        self.attempt = attempt
        self.offsets: dict[str, int] = {}
        self.empty = True
        job = run.job()
        needs = job.resources if job else run.run().resources
        self.per_node, self.world = needs.procs_per_node, needs.world_size

    def new_lines(self, *, final: bool) -> Iterator[str]:
        """Lines since the last call; an unfinished last line only where no more will come."""
        for source in self._sources():
            for line in self._read(source, final):
                self.empty = False
                yield f"[rank {source.rank}] {line}" if self.world > 1 and self.rank is None else line

    def _sources(self) -> list[Source]:
        """The ranks' files; torchrun's own only where no rank wrote any, since it repeats their errors."""
        found = []
        for path in self.run.logs.glob("attempt_*/node_*/*/attempt_*/*/std*.log"):
            parts = path.relative_to(self.run.logs).parts
            attempt, node = int(parts[0].removeprefix("attempt_")), int(parts[1].removeprefix("node_"))
            rank = node * self.per_node + int(parts[4])
            if self.rank in (None, rank) and self.attempt in (None, attempt):
                found.append(Source(attempt, rank, path.name, str(path)))
        silent = {source.attempt for source in found if Path(source.path).stat().st_size}
        for path in self.run.logs.glob("attempt_*/torchrun_*.log"):
            attempt = int(path.parent.name.removeprefix("attempt_"))
            if attempt not in silent and self.rank is None and self.attempt in (None, attempt):
                found.append(Source(attempt, -1, path.name, str(path)))
        return sorted(found)

    def _read(self, source: Source, final: bool) -> Iterator[str]:
        start = self.offsets.get(source.path, 0)
        with Path(source.path).open("rb") as file:
            file.seek(start)
            text = file.read()
        whole = len(text) if final else text.rfind(b"\n") + 1
        self.offsets[source.path] = start + whole
        for line in text[:whole].splitlines():
            yield line.decode(errors="replace").rstrip("\r")
