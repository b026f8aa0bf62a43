"""Opens every image file as far as its header, and compares it with the annotations. Reads files, writes nothing.

One process can scan a whole data set, or each of several a part of it; `checked` puts the parts together.

Orientation: a camera may store a photo turned, with an EXIF tag that says how to turn it back, and an annotation tool
may have shown it either way. The annotated width and height tell: the orientation whose size agrees with them is used.
Where both agree (a half turn, a square) or neither does, EXIF applies, as in any viewer.
"""

import hashlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import msgspec
import numpy as np

from detector.data.header import UNREADABLE, Header, read_header
from detector.data.index import CocoIndex
from detector.data.report import DataReport, findings
from detector.errors import UserError

# They wait for storage at once, which over a network is most of a scan. Each takes a share of the images, not one at a
# time, since handing over costs as much as reading a header.
THREADS = 16

_SCAN_KINDS = ("missing_files", "unreadable_files", "other_size", "rotated", "greyscale")


class Scan(msgspec.Struct, frozen=True, kw_only=True):
    """What one part of a scan found. Small, and cheap to gather.

    Attributes:
        positions: the images of which something is to be said, by kind of finding.
        states: size in bytes and time of change in ns of every file of this part, in order; 0 for a missing one.
    """

    positions: dict[str, list[int]]
    states: list[tuple[int, int]]


def scan_images(index: CocoIndex, part: int = 0, parts: int = 1) -> Scan:
    """Compare the headers of every `parts`-th image, from `part` on, with the index."""
    mine = range(part, len(index), parts)
    positions: dict[str, list[int]] = {kind: [] for kind in _SCAN_KINDS}
    states: list[tuple[int, int]] = [(0, 0)] * len(mine)
    with ThreadPoolExecutor(THREADS) as pool:
        for thread, told in enumerate(pool.map(lambda thread: _told(index, mine[thread::THREADS]), range(THREADS))):
            states[thread::THREADS] = [state for state, _ in told]
            for position, (_, kinds) in zip(mine[thread::THREADS], told, strict=True):
                for kind in kinds:
                    positions[kind].append(position)
    return Scan(positions=positions, states=states)


def fingerprint(scans: list[Scan]) -> str:
    """A name for the state of all files, the same for any number of parts; changes where any file does."""
    states = [(0, 0)] * sum(len(scan.states) for scan in scans)
    for part, scan in enumerate(scans):
        states[part :: len(scans)] = scan.states
    return hashlib.sha256(np.array(states, dtype=np.int64).tobytes()).hexdigest()


def checked(index: CocoIndex, report: DataReport, scans: Iterable[Scan]) -> tuple[CocoIndex, DataReport]:
    """The index without the images that have no file, and the report with what all parts of a scan found.

    Raises:
        UserError: none of the images has a file.
    """
    parts = list(scans)
    merged = {kind: sorted(at for scan in parts for at in scan.positions[kind]) for kind in _SCAN_KINDS}
    missing = merged["missing_files"]
    if len(missing) == len(index):
        hint = "is data.train_images or data.val_images the folder that its file names are relative to?"
        raise UserError(
            f"{index.folder}: none of the {len(index)} annotated images is there, such as {index.name(0)}", hint
        )
    found = findings((kind, [index.name(position) for position in at]) for kind, at in merged.items())
    left = index.without(np.array(missing, dtype=np.int64)) if missing else index
    return left, DataReport.of(report.source, left, (*report.findings, *found))


def _told(index: CocoIndex, positions: Iterable[int]) -> list[tuple[tuple[int, int], list[str]]]:
    return [_look(index, position) for position in positions]


def _look(index: CocoIndex, position: int) -> tuple[tuple[int, int], list[str]]:
    """The state of a file, and the kinds of finding that it gives."""
    try:
        status = index.path(position).stat()
    except OSError as error:
        return (0, 0), ["missing_files" if isinstance(error, FileNotFoundError) else "unreadable_files"]
    state = (status.st_size, status.st_mtime_ns)
    try:
        header = read_header(index.path(position))
    except UNREADABLE:
        return state, ["unreadable_files"]
    return state, _kinds(index, position, header)


def _kinds(index: CocoIndex, position: int, header: Header) -> list[str]:
    annotated = tuple(index.sizes[position])
    stored = (header.width, header.height)
    kinds = {
        "other_size": annotated not in (stored, header.shown),
        "rotated": header.orientation > 1,
        "greyscale": header.grey,
    }
    return [kind for kind, holds in kinds.items() if holds]
