"""The two splits of a run's data, read once and shared, their image files looked at by all ranks together."""

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeVar, cast

from detector.config import Data, Train
from detector.data.digits import resolve_root
from detector.data.folder import FolderIndex, read_folders
from detector.data.index import SAME_CATEGORIES, CocoIndex
from detector.data.layout import Name
from detector.data.loader import auto_workers
from detector.data.pictures import largest_side, reductions
from detector.data.read import Annotated, read_split
from detector.data.report import DataReport
from detector.data.room import in_memory, on_disk
from detector.data.scan import checked, fingerprint, scan_images
from detector.data.store import ImageStore, Slots, slots
from detector.errors import UserError
from detector.processes import Ranks

Value = TypeVar("Value")


@dataclass(frozen=True)
class Split:
    """A split ready for use.

    Attributes:
        index: the images that have files.
        report: what was found on the way.
        annotations: the COCO file of the val split for evaluation; of the train split, what was read.
        fingerprint: changes where any image file does.
    """

    index: CocoIndex
    report: DataReport
    annotations: Path
    fingerprint: str


class _Refusal(NamedTuple):
    """A `UserError` on its way to the other ranks."""

    problem: str
    hint: str


def open_split(data: Data, name: str, ranks: Ranks) -> Split:
    """Read a split's annotations on the first rank, and share the look at its files among all.

    Raises:
        UserError: the data cannot be used.
    """
    resolve_root(data.root)  # composes a built-in data set on every node
    annotated, truth = from_first(ranks, lambda: _read(data, cast(Name, name)))
    scans = ranks.gather_all(scan_images(annotated.index, ranks.rank, ranks.world))
    index, report = checked(annotated.index, annotated.report, scans)
    return Split(index, report, truth, fingerprint(scans))


def open_folders(data: Data, ranks: Ranks) -> tuple[FolderIndex, FolderIndex]:
    """Look for the images to classify on the first rank, and share what it finds: the train split and the val split.

    Raises:
        UserError: the data cannot be used.
    """
    return from_first(ranks, lambda: read_folders(data))


def refuse_other_classes(train: Split, val: Split) -> None:
    """Labels are positions in a split's own list of categories; they mean the same only where the lists are the same.

    Raises:
        UserError: the splits have other categories.
    """
    if differ := train.index.differences(val.index):
        problem = f"{val.report.source}: its categories are not those of {train.report.source}: {differ}"
        raise UserError(problem, SAME_CATEGORIES)


class Stores(NamedTuple):
    """This node's decoded images of the two splits; `None` where they are decoded each time."""

    train: ImageStore | None = None
    val: ImageStore | None = None


def open_stores(train: Split, val: Split, config: Train, ranks: Ranks) -> tuple[Stores, str]:
    """The node's decoded images, as `data.cache` asks for them, and a warning, `""` for none.

    All ranks call it together. Where a node has no room its ranks decode each time: slower, and the same bits.
    """
    if config.data.cache == "none":
        return Stores(), ""
    first, complaint = _open_store(train, config, ranks, largest_side(config, train=True), promised=0)
    # A file takes room only as it fills; what the train split was promised is not free any more.
    promised = first.places.size - first.filled_bytes() if first else 0
    second, other = _open_store(val, config, ranks, largest_side(config, train=False), promised)
    return Stores(first, second), "; ".join(filter(None, (complaint, other)))


def _open_store(split: Split, config: Train, ranks: Ranks, side: int, promised: int) -> tuple[ImageStore | None, str]:
    stretched = config.data.fit == "stretch"
    places = slots(split.index.sizes, reductions(split.index.sizes, side, stretched=stretched))
    form = f"{side}{'s' * stretched}"
    mine = _room(split, config.data, places, form, promised) if ranks.local_rank == 0 else None
    offers = [offer for offer in ranks.gather_all((os.uname().nodename, mine)) if offer[1] is not None]
    path = next((room for node, room in offers if node == os.uname().nodename and isinstance(room, Path)), None)
    refusals = [f"{node}: {room}" for node, room in offers if isinstance(room, str)]
    return ImageStore(path, places) if path else None, "; ".join(refusals)


def _room(split: Split, data: Data, places: Slots, form: str, promised: int) -> Path | str:
    """A file for the store on this node, or why there is none; `promised` bytes are not free although they seem so."""
    content = f"{split.fingerprint} {hashlib.sha256(split.index.names).hexdigest()} {form}".encode()
    name = f"detrun-{hashlib.sha256(content + places.starts.tobytes()).hexdigest()[:16]}"
    try:
        if data.cache == "ram":
            return in_memory(name, places.size, promised)
        return on_disk(data.cache_dir, name, places.size, promised)
    except UserError as error:
        return f"{error}; images are decoded each time ({error.hint})"


def from_first(ranks: Ranks, read: Callable[[], Value]) -> Value:
    """What the first rank reads, on every rank.

    Raises:
        UserError: reading raised one; then every rank does.
    """
    result: Value | _Refusal | None = None
    if ranks.is_first:
        try:
            result = read()
        except UserError as error:
            result = _Refusal(str(error), error.hint)
    result = ranks.from_first(result)
    if isinstance(result, _Refusal):
        raise UserError(*result)
    return cast(Value, result)


def workers(config: Train, ranks: Ranks) -> int:
    """Loader processes of this rank."""
    here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    cpus = int(os.environ.get("DETRUN_CPUS") or len(os.sched_getaffinity(0)))
    return auto_workers(config, cpus, here, gpu=ranks.device.type == "cuda")


def _read(data: Data, name: Name) -> tuple[Annotated, Path]:
    annotated = read_split(data, name)
    return annotated, annotated.ground_truth() if name == "val" else Path(annotated.report.source)
