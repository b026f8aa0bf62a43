"""The records of the job layer: `run.json` and `job.json`, and reading and writing whole files.

A whole file is replaced by write, fsync, rename, so that a reader sees the old one or the new one.
"""

import os
import uuid
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from jobs.errors import RunError
from jobs.resources import Resources

SCHEMA = 1

# How often a worker says in `events.jsonl` that it lives.
HEARTBEAT_S = 30.0

# A file on disk for sure takes milliseconds, in which others can be written too.
_WRITERS = 16

Record = TypeVar("Record", bound=msgspec.Struct)
Item = TypeVar("Item")
Result = TypeVar("Result")


class Code(msgspec.Struct, frozen=True, kw_only=True):
    """The code that runs. `files` is a digest of its content, `root` where it was taken from."""

    version: str
    root: str
    files: str
    git_sha: str | None = None
    dirty: bool = False

    @property
    def label(self) -> str:
        """How a table names it."""
        if self.git_sha is None:
            return f"detrun {self.version}"
        return f"{self.git_sha[:7]} ({'dirty' if self.dirty else 'clean'})"


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """`run.json`: what was asked for and from where.

    `digest` is over `config.json`. `trainer` names a program that is not our own, and `workdir` is where it starts,
    inside its snapshot.
    """

    schema: int = SCHEMA
    id: str
    recipe: str
    sweep: str | None
    overrides: dict[str, Any]
    digest: str
    created_at: float
    command_line: list[str]
    cwd: str
    user: str
    host: str
    code: Code
    versions: dict[str, str]
    resources: Resources
    trainer: str | None = None
    workdir: str = ""


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """`job.json`: who runs it. `name` is the submission's; `folder`, submitit's, is unique to it.

    For Slurm `job_id` is `<array job>_<index>`, or the job's number where it is alone; it is empty until sbatch
    has answered. For the local queue it is the identity of the job's leader on `host` (see
    `procfs.identity`), empty while the run waits. `attempts_before` counts the attempts of earlier
    submissions, whose ends no longer count. `code` is the digest of the snapshot, `after` are the
    runs that had to end well first.
    """

    schema: int = SCHEMA
    executor: str
    name: str
    folder: str
    submitted_at: float
    resources: Resources
    host: str
    index: int = 0
    job_id: str = ""
    script: str = "job.sbatch"
    code: str = ""
    attempts_before: int = 0
    after: list[str] = []


def write(path: Path, content: bytes) -> None:
    """Replace a file as a whole.

    Raises:
        RunError: the folder cannot be written; nothing was changed.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise unwritable(path, error) from None


def side_by_side(work: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """Work that waits for a disk, on several items at once; the results in order.

    Raises what the first one that fails does.
    """
    with ThreadPoolExecutor(_WRITERS) as pool:
        return list(pool.map(work, items))


def write_record(path: Path, record: msgspec.Struct) -> None:
    """Replace a record's file; keys stand on lines of their own, because people read them."""
    write(path, msgspec.json.format(msgspec.json.encode(record), indent=1) + b"\n")


def read_record(path: Path, kind: type[Record]) -> Record | None:
    """A record, or `None` where there is none.

    Raises:
        RunError: the file is there and is not such a record.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError:
        return None
    except NotADirectoryError:
        return None
    except OSError as error:
        raise RunError(f"cannot read {path}: {error.strerror}") from None
    except msgspec.MsgspecError as error:
        raise RunError(f"{path} is not a record of detrun: {error}") from None


def unwritable(path: Path, error: OSError) -> RunError:
    """The error for a path that cannot be written."""
    return RunError(
        f"cannot write {path}: {error.strerror}",
        "use a folder with room that you may write: --runs DIR, or $DETRUN_RUNS",
    )
