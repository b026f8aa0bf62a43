"""Run directories: where everything of a run lies, and creating, finding and listing them."""

import os
from itertools import accumulate
from operator import itemgetter
from pathlib import Path

import msgspec

from detector.records import Event, decode_lines
from jobs import records
from jobs.at_once import mapped
from jobs.errors import RunError
from jobs.records import Job, Run

# Folders of the job layer inside the runs folder; no run's name starts with a dot.
CODE = ".code"
SUBMISSIONS = ".submissions"


class RunDir:
    """The paths of one run, and its small records."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def id(self) -> str:
        return self.path.name

    @property
    def run_json(self) -> Path:
        return self.path / "run.json"

    @property
    def config_json(self) -> Path:
        return self.path / "config.json"

    @property
    def job_json(self) -> Path:
        return self.path / "job.json"

    @property
    def script(self) -> Path:
        return self.path / "job.sbatch"

    @property
    def code(self) -> Path:
        return self.path / "code"

    @property
    def events(self) -> Path:
        return self.path / "events.jsonl"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def cancelled(self) -> Path:
        return self.path / "cancelled.json"

    @property
    def evaluations(self) -> Path:
        return self.path / "eval"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    def run(self) -> Run:
        """The run's record.

        Raises:
            RunError: this is no run directory, or its record is broken.
        """
        run = records.read_record(self.run_json, Run)
        if run is None:
            raise RunError(f"{self.path} is no run directory: it has no run.json")
        return run

    def job(self) -> Job | None:
        """The job's record, `None` before the first submission."""
        return records.read_record(self.job_json, Job)

    def attempt_logs(self, attempt: int) -> Path:
        """Where an attempt's logs lie."""
        return self.logs / f"attempt_{attempt}"

    def all_events(self, nodes: int | None = None) -> list[Event]:
        """Every event of every node, in order of time; `nodes` is how many the job has, where that is known.

        Of one node the order is that of its file, also where its clock was set back.
        """
        if nodes is None:
            job = self.job()
            nodes = job.resources.nodes if job else 1
        paths = [self.events, *(self.path / f"events.node{node}.jsonl" for node in range(1, nodes))]
        timed: list[tuple[float, Event]] = []
        for path in paths:
            events = decode_lines(_bytes(path), Event)
            timed += zip(accumulate((event.t for event in events), max), events, strict=True)
        return [event for _, event in sorted(timed, key=itemgetter(0))]


def default_runs() -> Path:
    """`$DETRUN_RUNS`, else `./runs`."""
    return Path(os.environ.get("DETRUN_RUNS") or "runs")


def create(path: Path, run: Run, config: dict[str, object]) -> RunDir:
    """Write a new run's records; `run.json` comes last and makes it a run."""
    directory = RunDir(path)
    records.write(directory.config_json, msgspec.json.format(msgspec.json.encode(config), indent=1) + b"\n")
    records.write_record(directory.run_json, run)
    return directory


def set_aside(directory: RunDir) -> None:
    """Move what a run has produced to `earlier/<n>`, so that it can start from the beginning; nothing is deleted."""
    earlier = directory.path / "earlier"
    number = 1 + len(list(earlier.glob("*")))
    outputs = (directory.metrics, directory.evaluations, directory.checkpoints, directory.logs, directory.job_json)
    for path in (*directory.path.glob("events*.jsonl"), *outputs):
        if path.exists():
            target = earlier / str(number) / path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            path.rename(target)


def newest_first(runs: Path) -> list[RunDir]:
    """The run directories of a runs folder by time of creation. A folder that is not there has none.

    Raises:
        RunError: the folder cannot be read.
    """
    try:
        names = [name for name in os.listdir(runs) if not name.startswith(".")]  # noqa: PTH208
    except FileNotFoundError:
        return []
    except OSError as error:
        hint = "name another with --runs DIR"
        raise RunError(f"cannot read the runs folder {runs}: {error.strerror}", hint) from None
    stamps = mapped(lambda name: stamp_of(f"{runs}/{name}/run.json"), names)
    found = sorted((stamp, name) for stamp, name in zip(stamps, names, strict=True) if stamp)
    return [RunDir(runs / name) for _, name in reversed(found)]


def stamp_of(path: str) -> tuple[int, int] | None:
    """A file's time of change and size, which tell whether it is as it was; `None` where there is none."""
    try:
        found = os.stat(path)  # noqa: PTH116
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
