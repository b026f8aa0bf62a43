"""The installed `detrun` as tests call it: a process of its own, in folders of its own, with no terminal."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
from processes import started_with

EXECUTABLE = Path(sys.executable).parent / "detrun"
# yolov3-tiny on the tiny data: seconds on one core.
SMALL = ("data.image_size=64", "optim.batch_size=8", "eval.batch_size=4", "log_every=1")


class Detrun:
    """`detrun` with a runs folder, a local queue, settings and caches that nobody else sees."""

    def __init__(self, folder: Path, data: Path, **environment: str) -> None:
        self.folder = folder
        self.data = data
        self.runs = folder / "runs"
        own = {
            "DETRUN_RUNS": self.runs,
            "DETRUN_STATE": folder / "state",
            "XDG_CONFIG_HOME": folder / "config",
            "XDG_CACHE_HOME": folder / "cache",
        }
        inherited = {key: value for key, value in os.environ.items() if not key.startswith(("SLURM", "DETRUN"))}
        self.environment = inherited | environment | {key: str(path) for key, path in own.items()}

    def __call__(
        self, *arguments: str, code: int | None = 0, timeout_s: float = 300
    ) -> subprocess.CompletedProcess[str]:
        """Run it and insist on an exit code; `None` takes any."""
        done = subprocess.run(
            [EXECUTABLE, *arguments],
            env=self.environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            stdin=subprocess.DEVNULL,
            check=False,
        )
        assert code is None or done.returncode == code, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def json(self, *arguments: str) -> Any:
        """What it prints with --json."""
        return json.loads(self(*arguments, "--json").stdout)

    def submit(self, *arguments: str, recipe: str = "yolov3-tiny-bccd", epochs: int = 2) -> list[dict[str, Any]]:
        """Submit a small training on the tiny data; the planned runs as `submit --json` lists them."""
        sets = [f"data.root={self.data}", f"epochs={epochs}", *SMALL]
        options = [word for text in sets for word in ("--set", text)]
        planned: list[dict[str, Any]] = self.json("submit", recipe, *options, "--gpus", "0", *arguments)["runs"]
        return planned

    def status(self, *runs: str) -> list[dict[str, Any]]:
        """The rows of `status --json`."""
        rows: list[dict[str, Any]] = self.json("status", *runs)["runs"]
        return rows

    def state(self, run: str) -> str:
        """One run's state."""
        state: str = self.status(run)[0]["state"]
        return state

    def wait(self, run: str, *states: str, timeout_s: float = 300) -> dict[str, Any]:
        """Wait until a run is in one of some states; its row."""
        return self.wait_for(run, lambda row: row["state"] in states, timeout_s)

    def wait_for(self, run: str, reached: Callable[[dict[str, Any]], bool], timeout_s: float = 300) -> dict[str, Any]:
        """Wait until a run's row is as wanted."""
        deadline = time.monotonic() + timeout_s
        while True:
            row = self.status(run)[0]
            if reached(row):
                return row
            if time.monotonic() > deadline:
                raise AssertionError(f"{run} is {row}\n{self.logs(run)}")
            time.sleep(0.3)

    def wait_for_step(self, run: str, step: int, timeout_s: float = 300) -> dict[str, Any]:
        """Wait until a run has made so many steps."""
        return self.wait_for(run, lambda row: (row["step"] or 0) >= step, timeout_s)

    def step(self, run: str) -> int:
        """The last step that a run of our trainer has logged; cheaper than `status`."""
        rows = self._lines(run, "metrics.jsonl")
        return int(json.loads(rows[-1])["step"]) if rows else 0

    def steps(self, run: str) -> list[int]:
        """Every step that a run of our trainer has logged, in order."""
        return [json.loads(row)["step"] for row in self._lines(run, "metrics.jsonl")]

    def events(self, run: str) -> list[str]:
        """The names of a run's events, heartbeats aside."""
        names = [json.loads(row)["event"] for row in self._lines(run, "events.jsonl")]
        return [name for name in names if name != "heartbeat"]

    def until(self, reached: Callable[[], bool], what: str, timeout_s: float = 300) -> None:
        """Wait until something is so."""
        deadline = time.monotonic() + timeout_s
        while not reached():
            assert time.monotonic() < deadline, f"{what}: not within {timeout_s:.0f} s\n{self('status').stdout}"
            time.sleep(0.1)

    def wait_for_line(self, run: str, text: str) -> None:
        """Wait until a rank has printed some text."""
        logs = self.runs / run / "logs"
        self.until(lambda: any(text in path.read_text() for path in logs.rglob("std*.log")), f"{text!r} of {run}")

    def submitted_again(self, *request: str) -> list[str]:
        """What a submission starts of runs that are there already."""
        return [run["id"] for run in self.json("submit", *request)["runs"] if run["submit"]]

    def processes(self) -> list[psutil.Process]:
        """Everything alive that this command started, directly or not."""
        return started_with("DETRUN_STATE", self.environment["DETRUN_STATE"])

    def _lines(self, run: str, name: str) -> list[bytes]:
        """The whole lines of a run's record."""
        path = self.runs / run / name
        return path.read_bytes().split(b"\n")[:-1] if path.exists() else []

    def logs(self, run: str) -> str:
        """What the ranks wrote, and torchrun and the worker if they did not."""
        done = self("logs", run, code=None)
        workers = "\n".join(path.read_text() for path in (self.runs / ".submissions").glob("*/*.out"))
        return done.stdout + done.stderr + workers
