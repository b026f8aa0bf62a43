"""Downloads archives, goes on where a download broke off, verifies them, and unpacks them into a folder.

State is in `ROOT/.fetch/`: `NAME.part` while a file arrives, `NAME.done` once it is unpacked; the archive itself is
removed then. So whatever ends a fetch, the same command goes on from there, and one that is complete does nothing.
"""

import fcntl
import hashlib
import http.client
import shutil
import sys
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from detector.data.archives import Archive
from detector.data.unpack import unpack
from detector.errors import UserError

_BLOCK_BYTES = 1 << 20
_TIMEOUT_S = 60
# A connection that breaks is made anew, so often without a byte in between, after a pause that doubles.
_TRIES = 5
_PAUSE_S = 1.0

_GOES_ON = "the same command goes on where it stopped"
# What a broken connection raises.
_BROKEN = (urllib.error.URLError, OSError, http.client.HTTPException)


def fetch(archives: Sequence[Archive], root: Path, mirror: str = "") -> None:
    """Bring archives into a folder; those that are there already are left alone.

    Args:
        archives: what to fetch, one after the other.
        root: where they are unpacked.
        mirror: a folder on another server that has the same files under the same names.

    Raises:
        UserError: a server refuses, a file is not what it must be, the disk is full, or another fetch is at work.
    """
    state = root / ".fetch"
    try:
        state.mkdir(parents=True, exist_ok=True)
        with _alone(state):
            for archive in archives:
                if not (state / f"{archive.name}.done").exists():
                    _fetch(archive, root, state, mirror)
    except OSError as error:
        raise UserError(f"{root}: {error.strerror or error}", _GOES_ON) from None


def _fetch(archive: Archive, root: Path, state: Path, mirror: str) -> None:
    part = state / f"{archive.name}.part"
    _refuse_full(root, archive, part)
    _download(f"{mirror.rstrip('/')}/{archive.name}" if mirror else archive.url, part, archive)
    _say(f"{archive.name}: verifying and unpacking\n")
    try:
        _verify(archive, part)
        unpack(part, root, inside=archive.inside)
    except UserError:
        part.unlink()  # going on from it would fail for ever
        raise
    (state / f"{archive.name}.done").touch()
    part.unlink()


@contextmanager
def _alone(state: Path) -> Iterator[None]:
    with (state / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"{state.parent}: another fetch is at work there", "wait for it to end") from None
        yield


def _refuse_full(root: Path, archive: Archive, part: Path) -> None:
    """The archive and what is in it lie side by side for a while; neither images nor texts grow much."""
    needed, free = 2.2 * archive.size - _length(part), shutil.disk_usage(root).free
    if needed > free:
        problem = f"{root}: {archive.name} and its content need {needed / 2**30:.1f} GiB, {free / 2**30:.1f} are free"
        raise UserError(problem, "free some, or fetch to another folder")


def _download(url: str, part: Path, archive: Archive) -> None:
    """Until the file is whole, with as many connections as that takes."""
    failures, pause_s = 0, _PAUSE_S
    while archive.size == 0 or _length(part) < archive.size:
        before, reason = _length(part), "the connection broke off"
        try:
            if _receive(url, part, archive):
                return
        except urllib.error.HTTPError as error:
            error.close()
            reason = f"the server says {error.code} {error.reason}"
            if error.code < 500 and error.code != http.HTTPStatus.TOO_MANY_REQUESTS:
                raise UserError(f"{url}: {reason}", "--mirror URL names another server") from None
        except _BROKEN as error:
            reason = str(getattr(error, "reason", "") or error)
        failures, pause_s = (0, _PAUSE_S) if _length(part) > before else (failures + 1, 2 * pause_s)
        if failures == _TRIES:
            raise UserError(f"{url}: {reason}", _GOES_ON)
        time.sleep(pause_s)


def _receive(url: str, part: Path, archive: Archive) -> bool:
    """Append what one connection brings; whether that was all there is.

    A server that says no length breaks off with an error of its own (chunks), or cannot be told from one that is done.
    """
    there = _length(part) if archive.size else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={there}-"} if there else {})
    with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as response:
        begin = there if _resumes(response, there) else 0
        length = response.headers.get("Content-Length")
        if length and archive.size not in (0, begin + int(length)):
            problem = f"{url}: is {begin + int(length):,} bytes, and {archive.name} has {archive.size:,}"
            raise UserError(problem, "is it the right server? --mirror URL names another")
        with part.open("ab" if begin else "wb") as file:
            received = _copy(response, file, archive, begin)
    return received == int(length) if length else archive.size in (0, begin + received)


def _resumes(response: http.client.HTTPResponse, there: int) -> bool:
    """Whether a server goes on from a byte; one that knows no ranges begins anew."""
    told = response.headers.get("Content-Range", "")
    return response.status == http.HTTPStatus.PARTIAL_CONTENT and told.startswith(f"bytes {there}-")


def _copy(response: http.client.HTTPResponse, file: IO[bytes], archive: Archive, begin: int) -> int:
    """Write what arrives, as it arrives; how many bytes that were."""
    received, told_at = 0, 0.0
    while block := response.read(_BLOCK_BYTES):
        try:
            file.write(block)
            file.flush()
        except OSError as error:
            raise UserError(f"{file.name}: {error.strerror}", f"free some space; {_GOES_ON}") from None
        received += len(block)
        if sys.stderr.isatty() and time.monotonic() - told_at > 0.2:
            told_at = time.monotonic()
            _say(f"\r{archive.name}: {_progress(begin + received, archive.size)}\033[K")
    if sys.stderr.isatty():
        _say("\r\033[K")
    return received


def _verify(archive: Archive, part: Path) -> None:
    """Refuse a file that is not what it must be."""
    algorithm, _, expected = archive.checksum.partition(":")
    if algorithm:
        with part.open("rb") as file:
            found = hashlib.file_digest(file, algorithm).hexdigest()
        if found != expected:
            problem = f"{archive.name}: its {algorithm} is {found}, and should be {expected}"
            raise UserError(problem, "it was damaged on its way, or is another file; the same command fetches it anew")
    if archive.comment:
        found = _comment(part)
        if found != archive.comment:
            problem = f"{archive.name}: its comment is `{found}`, and should be `{archive.comment}`"
            raise UserError(problem, "it is cut short, or another file; the same command fetches it anew")


def _comment(part: Path) -> str:
    try:
        with zipfile.ZipFile(part) as archive:
            return archive.comment.decode(errors="replace")
    except zipfile.BadZipFile:
        return ""


def _length(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _progress(bytes_: int, total: int) -> str:
    return f"{bytes_ / 2**20:.0f} of {total / 2**20:.0f} MiB" if total else f"{bytes_ / 2**20:.0f} MiB"


def _say(text: str) -> None:
    print(text, end="", file=sys.stderr, flush=True)  # noqa: T201
