"""The ranks of one node: torchrun and the processes that it starts, told to stop, looked after and ended."""

import signal
import subprocess
import time
from pathlib import Path
from typing import Any

from jobs import failure, launch, processes, procfs
from jobs.place import Meeting, Place
from jobs.resources import Resources
from jobs.rundir import RunDir

# Our trainer's handler first; another one may know only what Slurm and Kubernetes send.
_STOP_SIGNALS = (signal.SIGUSR2, signal.SIGUSR1, signal.SIGTERM)


class Ranks:
    """One attempt's processes on one node. `control` is the folder in which they hear of a stop and show a pulse."""

    def __init__(self, run: RunDir, needs: Resources, place: Place, control: Path) -> None:
        self.run = run
        self.needs = needs
        self.place = place
        self.control = control
        self.torchrun: subprocess.Popen[bytes] | None = None
        self.told: set[int] = set()

    def start(self, config: dict[str, Any], meeting: Meeting, root: Path | None) -> "subprocess.Popen[bytes]":
        """Start torchrun; `root` is this node's copy of the data, `None` where there is none."""
        agent_log = launch.agent_log(self.run, meeting.attempt, self.place.node)
        agent_log.parent.mkdir(parents=True, exist_ok=True)
        with agent_log.open("ab") as log:
            self.torchrun = subprocess.Popen(
                launch.command(self.run, config, self.needs, self.place, meeting, root),
                env=launch.environment(self.run, self.needs, self.place, meeting, self.control, root),
                cwd=launch.folder(self.run, self.run.run().workdir),
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
            )
        return self.torchrun

    def tell(self, reason: str) -> None:
        """Tell each rank once to save and stop: those that hear a signal by one, those that start later by the file."""
        if not (order := self.control / "stop").exists():
            order.write_text(reason)
        for rank in processes.children(self.torchrun.pid) if self.torchrun else ():
            heard = [number for number in _STOP_SIGNALS if procfs.catches(rank.pid, number)]
            if rank.pid not in self.told and heard:
                self.told.add(rank.pid)
                processes.send(rank, heard[0])

    def kill(self) -> None:
        """End what this attempt has started here; a newer attempt's processes on the same host are not touched."""
        processes.kill(processes.marked(self.run.path, self.place.node, self.place.key))

    def end_hang(self) -> failure.Cause | None:
        """End ranks that make no steps any more, and say why; `None` while they do.

        Every rank beats at every step; all soon wait for one that hangs, so its state has to tell which it is.
        """
        beats = [path.stat().st_mtime for path in self.control.glob("beat_*")]
        if not beats or (silent_s := time.time() - min(beats)) <= self.needs.hang_min * 60:
            return None
        cause = failure.hang(processes.marked(self.run.path, self.place.node, self.place.key), silent_s)
        self.kill()
        return cause

    def outcome(self) -> str:
        """What the first rank said of its end: `done`, `stopped`, or nothing."""
        try:
            return (self.control / "outcome").read_text()
        except FileNotFoundError:
            return ""
