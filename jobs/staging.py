"""Data near the GPU: a copy of a data folder, or what a tar holds, on a node's own disk, made once per node.

`<scratch>/detrun-<uid>/<name>-<hash>/` is one copy, its name follows from the source and from the names, sizes and
times of what is in it. Its `data` is the root; `.complete` beside it is written last and names what was copied. A copy
that a kill left half is gone on with: a file counts as copied when its size and time are the source's. Jobs on one node
share a copy: whoever makes it holds its lock alone, whoever reads it holds it with others, and a copy that nobody holds
is removed when a new one needs its room.
"""

import fcntl
import hashlib
import os
import shutil
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any, NamedTuple

import msgspec

from jobs import records
from jobs.errors import CheckError
from jobs.overrides import lookup

_COPIERS = 8
_CHUNK_BYTES = 4 << 20
_ASK_AGAIN_S = 0.5


class Complete(msgspec.Struct, frozen=True, kw_only=True):
    """`.complete`: what a copy is of."""

    source: str
    files: int
    bytes: int
    copied_at: float


class _File(NamedTuple):
    """A file of the source: its name inside, and what tells whether a copy of it is whole."""

    name: str
    size: int
    time_ns: int


class Staging(threading.Thread):
    """One node's copy in the making. After it has ended, `root` is the copy, or `error` says why there is none.

    The copy cannot be removed until `release`, or the end of this process.
    """

    def __init__(self, source: Path, scratch: Path) -> None:
        super().__init__(daemon=True)
        self.source = source
        self.folder = scratch / f"detrun-{os.getuid()}"
        self.root: Path | None = None
        self.error = ""
        self._claim: int | None = None
        self.words = "looking at what there is to copy"
        self._given_up = threading.Event()
        self._copied = 0
        self._total = 0

    def give_up(self) -> None:
        """Stop soon; what is copied stays for the next attempt."""
        self._given_up.set()

    def release(self) -> None:
        """Let go of the copy."""
        if self._claim is not None:
            os.close(self._claim)
            self._claim = None

    def run(self) -> None:
        try:
            self._run()
        except (OSError, tarfile.TarError, CheckError) as error:
            self.error = f"cannot copy {self.source} to {self.folder}: {error}"
            self.release()

    def _run(self) -> None:
        files = _in_tar(self.source) if self.source.is_file() else _in_folder(self.source)
        place = self.folder / f"{self.source.name.partition('.')[0]}-{_identity(self.source, files)}"
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._claim = claim = _open_lock(place)
        made = False
        while not self._given_up.is_set():
            if _locked(claim, fcntl.LOCK_SH) and (place / ".complete").exists():
                self.root = _root(place / "data")
                self.words = self.words if made else "a copy was there"
                return
            fcntl.flock(claim, fcntl.LOCK_UN)
            if _locked(claim, fcntl.LOCK_EX):
                self._make(place, files)
                made = True
                fcntl.flock(claim, fcntl.LOCK_UN)
            else:
                self.words = "waiting for another job that copies it"
                self._given_up.wait(_ASK_AGAIN_S)

    def _make(self, place: Path, files: list[_File]) -> None:
        """Copy what is not there yet.

        Raises:
            CheckError: there is no room, or the source changed meanwhile.
        """
        data = place / "data"
        data.mkdir(parents=True, exist_ok=True)
        missing = [file for file in files if not _same(data / file.name, file)]
        self._total = sum(file.size for file in missing)
        self._make_room(place, self._total)
        copy = self._unpack if self.source.is_file() else self._copy_files
        copy(data, missing)
        if self._given_up.is_set():
            return
        if changed := [file.name for file in missing if not _same(data / file.name, file)]:
            raise CheckError(f"{changed[0]} changed while it was copied")
        os.sync()
        size = sum(file.size for file in files)
        self.words = f"{len(files)} files, {_size(size)}"
        complete = Complete(source=str(self.source), files=len(files), bytes=size, copied_at=time.time())
        records.write_record(place / ".complete", complete)

    def _make_room(self, place: Path, needed: int) -> None:
        """Remove copies that no job holds, oldest first, until there is room.

        Raises:
            CheckError: there is not enough even so.
        """
        others = [path for path in self.folder.iterdir() if path.is_dir() and path != place]
        for other in sorted(others, key=lambda path: path.stat().st_mtime):
            if shutil.disk_usage(self.folder).free >= needed:
                return
            claim = _open_lock(other)
            if _locked(claim, fcntl.LOCK_EX):
                (other / ".complete").unlink(missing_ok=True)
                shutil.rmtree(other, ignore_errors=True)
            os.close(claim)
        free = shutil.disk_usage(self.folder).free
        if free < needed:
            raise CheckError(f"{free / 2**30:.1f} GiB are free there, it needs {needed / 2**30:.1f} GiB")

    def _copy_files(self, data: Path, files: list[_File]) -> None:
        with ThreadPoolExecutor(_COPIERS) as pool:
            for _ in pool.map(lambda file: self._copy(self.source / file.name, data / file.name), files):
                self._tell()

    def _copy(self, source: Path, target: Path) -> None:
        if self._given_up.is_set():
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        with source.open("rb") as read, target.open("wb") as write:
            self._pour(read.read, write)
        shutil.copystat(source, target)

    def _unpack(self, data: Path, files: list[_File]) -> None:
        wanted = {file.name for file in files}
        with tarfile.open(self.source) as tar:
            for member in tar:
                if self._given_up.is_set():
                    return
                if os.path.normpath(member.name) in wanted:
                    self._unpack_one(tar, tarfile.data_filter(member, str(data)), data)
                    self._tell()

    def _unpack_one(self, tar: tarfile.TarFile, member: tarfile.TarInfo, data: Path) -> None:
        target = data / member.name
        target.parent.mkdir(parents=True, exist_ok=True)
        packed = tar.extractfile(member)
        assert packed is not None, "only regular files are listed"
        with packed, target.open("wb") as write:
            self._pour(packed.read, write)
        os.utime(target, (member.mtime, member.mtime))

    def _pour(self, read: Callable[[int], bytes], write: IO[bytes]) -> None:
        while not self._given_up.is_set() and (chunk := read(_CHUNK_BYTES)):
            write.write(chunk)
            self._copied += len(chunk)

    def _tell(self) -> None:
        self.words = f"{_size(self._copied)} of {_size(self._total)}"


def source_of(config: dict[str, Any]) -> Path | None:
    """What a run's config has to copy: its own `data.root`, or another trainer's; `None` where there is nothing."""
    root = lookup(config.get("params", config), "data.root")
    return Path(root) if root and not str(root).startswith("builtin:") else None


def _in_folder(source: Path) -> list[_File]:
    """Every file below a folder in order of names; links are followed, each folder once."""
    found, seen = [], set()
    for folder, folders, names in os.walk(source, followlinks=True):
        if (real := os.path.realpath(folder)) in seen:
            folders.clear()
            continue
        seen.add(real)
        for name in names:
            status = os.stat(f"{folder}/{name}")  # noqa: PTH116
            relative = os.path.relpath(f"{folder}/{name}", source)
            found.append(_File(relative, status.st_size, status.st_mtime_ns))
    if not found:
        raise CheckError("there is nothing in it")
    return sorted(found)


def _in_tar(source: Path) -> list[_File]:
    with tarfile.open(source) as tar:
        members = [member for member in tar if member.isreg()]
    return sorted(_File(os.path.normpath(member.name), member.size, int(member.mtime * 10**9)) for member in members)


def _identity(source: Path, files: list[_File]) -> str:
    whole = hashlib.sha256(f"{source}\0".encode())
    for file in files:
        whole.update(f"{file.name}\0{file.size}\0{file.time_ns}\0".encode(errors="surrogateescape"))
    return whole.hexdigest()[:12]


def _same(path: Path, file: _File) -> bool:
    try:
        status = path.stat()
    except OSError:
        return False
    return status.st_size == file.size and status.st_mtime_ns // 10**9 == file.time_ns // 10**9


def _open_lock(place: Path) -> int:
    return os.open(place.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _locked(file: int, how: int) -> bool:
    try:
        fcntl.flock(file, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _root(data: Path) -> Path:
    """An archive often holds one folder that holds everything."""
    inside = list(_entries(data))
    return _root(inside[0]) if len(inside) == 1 and inside[0].is_dir() else data


def _entries(folder: Path) -> Iterator[Path]:
    return (path for path in folder.iterdir() if not path.name.startswith("."))


def _size(count: int) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"
