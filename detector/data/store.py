"""Decoded images in one file that all processes of a node map: the ranks, their workers, and other runs.

The file begins with one 8-byte entry per image, 0 while it is empty and else the image's CRC-32 with a bit above it;
the pixels follow, each image at a place that its size alone decides. Whoever decodes an image first writes it, the
pixels before the entry. Nothing is locked: two writers write the same bytes, and a process believes an entry only when
the pixels it sees agree with it. So half-written images, other machines' write order and torn pages after a power loss
cost a decode, and never a wrong pixel.
"""

import mmap
import os
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from detector.data.image import Pixels
from detector.data.index import Int64

_FULL = 1 << 32
_ALIGNMENT = 64


class Slots(NamedTuple):
    """Where each of N images lies in the file.

    Attributes:
        reductions: (N,) int64; see `Picture`.
        shapes: (N, 2) int64; rows and columns.
        starts: (N + 1,) int64; byte at which the pixels begin; the last one is the size of the file.
    """

    reductions: Int64
    shapes: Int64
    starts: Int64

    @property
    def size(self) -> int:
        """Bytes of the whole file."""
        return int(self.starts[-1])


def slots(sizes: NDArray[np.integer[Any]], reductions: Int64) -> Slots:
    """Places for images of (N, 2) widths and heights that are reduced."""
    shapes = -(-sizes[:, ::-1].astype(np.int64) // reductions[:, None])
    lengths = [8 * len(sizes), *(shapes.prod(axis=1) * 3)]
    aligned = -(-np.array(lengths, dtype=np.int64) // _ALIGNMENT) * _ALIGNMENT
    return Slots(reductions, shapes, np.cumsum(aligned))


class ImageStore:
    """A file of decoded images.

    Args:
        path: the file, as long as the slots say; made by `detector.data.room`.
        places: the slots.
    """

    def __init__(self, path: Path, places: Slots) -> None:
        self.path, self.places = path, places
        self._file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        self._bytes = np.frombuffer(mmap.mmap(self._file, places.size, prot=mmap.PROT_READ), dtype=np.uint8)
        self._entries = self._bytes[: 8 * len(places.shapes)].view(np.uint64)
        self._believed = np.zeros(len(places.shapes), dtype=bool)
        self._writing = True

    def __reduce__(self) -> tuple[Any, ...]:
        return ImageStore, (self.path, self.places)

    def __len__(self) -> int:
        """How many images are in the file."""
        return int(np.count_nonzero(self._entries))

    def filled_bytes(self) -> int:
        """How much of the file takes room."""
        return os.fstat(self._file).st_blocks * 512

    def reduction(self, position: int) -> int:
        """Pixels of the file that one stored pixel stands for, in either direction."""
        return int(self.places.reductions[position])

    def get(self, position: int) -> Pixels | None:
        """The pixels of an image, (rows, columns, 3), not to be written to; None where they are not there."""
        entry = int(self._entries[position])
        if not entry:
            return None
        rows, columns = (int(side) for side in self.places.shapes[position])
        start = int(self.places.starts[position])
        pixels: Pixels = self._bytes[start : start + rows * columns * 3].reshape(rows, columns, 3)
        if not self._believed[position]:
            if entry != _FULL | zlib.crc32(pixels.data):
                return None
            self._believed[position] = True
        return pixels

    def put(self, position: int, pixels: Pixels) -> None:
        """Keep an image; one of another shape than planned is not kept, nor any more once the disk is full."""
        if not self._writing or pixels.shape[:2] != tuple(self.places.shapes[position]):
            return
        data = np.ascontiguousarray(pixels).data
        entry = np.uint64(_FULL | zlib.crc32(data)).tobytes()
        try:
            whole = os.pwrite(self._file, data, int(self.places.starts[position])) == data.nbytes
            self._writing = whole and os.pwrite(self._file, entry, 8 * position) == len(entry)
        except OSError:
            self._writing = False
