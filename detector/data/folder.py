"""Images to classify, one folder for each class, as ImageNet is laid out; in a folder or, in place, in a tar file.

    ROOT/train/CLASS/NAME.jpg, ROOT/val/CLASS/NAME.jpg

In a tar file the same may lie in a folder of any name. It is read where it is, by any number of processes: nothing is
unpacked, and over a network one large file is faster than a million small ones.
"""

import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np

from detector.config import ConfigError, Data
from detector.data.header import is_image
from detector.data.image import Pixels
from detector.data.index import Int64, starts
from detector.data.layout import SPELLINGS, SPLITS, Name, locate_classes
from detector.errors import UserError


@dataclass(frozen=True, kw_only=True, eq=False)
class FolderIndex:
    """N images of C classes; position addresses an image. Flat arrays, which forked workers share.

    Attributes:
        root: a folder, or a tar file.
        names: the N file names relative to the root, UTF-8, one after the other; `name_starts` (N + 1,) int64.
        labels: (N,) int64; index into `classes`.
        classes: the names of the folders of the train split, sorted.
        spans: (N, 2) int64; first byte and length of each file in a tar file, (0, -1) in a folder.
    """

    root: Path
    names: bytes
    name_starts: Int64
    labels: Int64
    classes: tuple[str, ...]
    spans: Int64

    def __len__(self) -> int:
        return len(self.labels)

    def name(self, position: int) -> str:
        """File name of an image, relative to `root`."""
        return self.names[self.name_starts[position] : self.name_starts[position + 1]].decode()

    def content(self, position: int) -> Pixels:
        """The bytes of an image's file.

        Raises:
            OSError: it cannot be read.
        """
        first, length = (int(value) for value in self.spans[position])
        path = self.root if length >= 0 else self.root / self.name(position)
        return np.fromfile(path, dtype=np.uint8, count=length, offset=first)


class _File(NamedTuple):
    """A file of a class; `first` and `length` are its bytes in a tar file."""

    label: str
    name: str
    first: int = 0
    length: int = -1


def read_folders(data: Data) -> tuple[FolderIndex, FolderIndex]:
    """The images of the train and of the val split by class and name; the labels of both are those of the train split.

    Raises:
        UserError: the root or a split is missing, has no images, or has a class that is not trained.
    """
    root = Path(data.root).expanduser()
    if root.is_file():
        members = _members(root)
        files = {each: _in_tar(data, root, members, each) for each in SPLITS}
    else:
        files = {each: list(_in_folder(_root(root), locate_classes(data, root, each))) for each in SPLITS}
    classes = tuple(sorted({file.label for file in files["train"]}))
    for split in SPLITS:
        _refuse_unusable(data, files[split], classes, split)
    train, val = (_index(root, sorted(files[split]), classes) for split in SPLITS)
    return train, val


def _root(root: Path) -> Path:
    if not root.is_dir():
        hint = "`--set data.root=/path` names a folder with `train` and `val`, or a .tar with them"
        raise ConfigError("data.root", f"no folder or tar file `{root}`", hint)
    return root


def _in_folder(root: Path, split: Path) -> Iterator[_File]:
    for folder in split.iterdir():
        if folder.is_dir():
            names = (path for path in folder.iterdir() if is_image(path.name) and not path.name.startswith("."))
            yield from (_File(folder.name, str(path.relative_to(root))) for path in names)


def _members(path: Path) -> list[tarfile.TarInfo]:
    try:
        with tarfile.open(path, "r:") as archive:
            return [member for member in archive if member.isreg() and is_image(member.name)]
    except tarfile.TarError as error:
        hint = "a compressed one cannot be read in place; unpack it, or store it without compression"
        raise UserError(f"{path}: not a plain tar file: {error}", hint) from None


def _in_tar(data: Data, root: Path, members: Iterable[tarfile.TarInfo], split: Name) -> list[_File]:
    configured = getattr(data, f"{split}_images")
    wanted = (PurePosixPath(configured).parts,) if configured else tuple((name,) for name in SPELLINGS[split])
    found = []
    for member in members:
        path = PurePosixPath(member.name)
        *folders, label = path.parent.parts or ("",)
        if not path.name.startswith(".") and any(tuple(folders[-len(each) :]) == each for each in wanted):
            found.append(_File(label, member.name, member.offset_data, member.size))
    if not found:
        expected = configured or SPELLINGS[split][0]
        raise ConfigError(f"data.{split}_images", f"no `{expected}/CLASS/NAME.jpg` in `{root}`", "")
    return found


def _refuse_unusable(data: Data, files: list[_File], classes: tuple[str, ...], split: Name) -> None:
    if not files:
        raise UserError(f"{data.root}: its {split} split has no images in folders of classes")
    unknown = sorted({file.label for file in files} - set(classes))
    if unknown:
        problem = f"{len(unknown)} classes of the {split} split are not in the train split, such as {unknown[0]}"
        raise UserError(f"{data.root}: {problem}", "both splits must have the same folders")


def _index(root: Path, files: list[_File], classes: tuple[str, ...]) -> FolderIndex:
    names = [file.name.encode() for file in files]
    numbers = {label: number for number, label in enumerate(classes)}
    return FolderIndex(
        root=root,
        names=b"".join(names),
        name_starts=starts([len(name) for name in names]),
        labels=np.array([numbers[file.label] for file in files], dtype=np.int64),
        classes=classes,
        spans=np.array([(file.first, file.length) for file in files], dtype=np.int64),
    )
