"""Unpacks zip and tar files of strangers: files and folders, below one folder and nowhere else. Reads and writes.

Nothing is written before every member's name is known to be a good one. Each file is written beside its place and
renamed, so that what stands there is whole.
"""

import contextlib
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Protocol

from detector.errors import UserError


class _Members(Protocol):
    """What the two kinds of archive have in common."""

    def names(self) -> list[str]:
        """Of every file.

        Raises:
            UserError: a member is neither a file nor a folder.
        """

    def open(self, name: str) -> IO[bytes]:
        """The content of a file."""


class _Zip:
    def __init__(self, archive: zipfile.ZipFile) -> None:
        self.archive = archive

    def names(self) -> list[str]:
        files = [member for member in self.archive.infolist() if not member.is_dir()]
        for member in files:
            # The upper half holds the mode of the file system that it comes from; a link's has this type.
            if member.external_attr >> 28 == 0o12:
                raise _refused(self.archive.filename, member.filename, "is a link")
        return [member.filename for member in files]

    def open(self, name: str) -> IO[bytes]:
        return self.archive.open(name)


class _Tar:
    def __init__(self, archive: tarfile.TarFile) -> None:
        self.archive = archive
        self.members = {member.name: member for member in archive if not member.isdir()}

    def names(self) -> list[str]:
        for member in self.members.values():
            if not member.isreg():
                raise _refused(str(self.archive.name), member.name, "is a link or a device")
        return list(self.members)

    def open(self, name: str) -> IO[bytes]:
        content = self.archive.extractfile(self.members[name])
        assert content is not None
        return content


def unpack(archive: Path, root: Path, inside: str = "") -> None:
    """Write the files of an archive, or those in one folder of it, below a folder.

    Raises:
        UserError: it is damaged, is no zip or tar file, lacks the folder, or has a member that would lie elsewhere.
        OSError: a file cannot be written.
    """
    try:
        with _opened(archive) as members:
            places = {name: _place(archive, name, inside) for name in members.names()}
            wanted = {name: place for name, place in places.items() if place is not None}
            if not wanted:
                raise UserError(f"{archive}: nothing in it" + (f" below `{inside}`" if inside else ""))
            for name, place in wanted.items():
                with members.open(name) as content:
                    _write(content, root / place)
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError) as error:
        raise UserError(
            f"{archive}: damaged: {str(error).splitlines()[0]}", "the same command fetches it anew"
        ) from None


@contextlib.contextmanager
def _opened(archive: Path) -> Iterator[_Members]:
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as opened:
            yield _Zip(opened)
    else:
        with tarfile.open(archive) as opened_tar:
            yield _Tar(opened_tar)


def _place(archive: Path, name: str, inside: str) -> PurePosixPath | None:
    """Where a member goes, relative to the root; None for one that lies beside the wanted folder."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name or not path.parts:
        raise _refused(archive, name, "points out of the folder")
    if not path.is_relative_to(inside):
        return None
    return path.relative_to(inside)


def _refused(archive: object, name: str, why: str) -> UserError:
    return UserError(f"{archive}: its member `{name}` {why}", "nothing was unpacked; do not trust where it is from")


def _write(content: IO[bytes], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.partial")
    try:
        with temporary.open("wb") as file:
            shutil.copyfileobj(content, file)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
