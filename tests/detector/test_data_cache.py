"""Decoded images that are kept are the images that are decoded, however a run ends and whoever else writes them."""

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from coco_folder import box_row, image_row, write_annotations, write_image

from detector.config import Augment, Data, Optim, Train
from detector.data import room
from detector.data.coco import read_coco
from detector.data.index import CocoIndex
from detector.data.loader import eval_loader, train_loader
from detector.data.pictures import largest_side, reductions
from detector.data.room import free_memory, in_memory, on_disk
from detector.data.store import ImageStore, Slots, slots
from detector.errors import UserError
from detector.processes import Ranks
from detector.splits import Split, open_stores

IMAGES = 8


@pytest.fixture
def index(tmp_path: Path) -> CocoIndex:
    """Images of several sizes, larger than the input so that they are kept reduced; the last one has lost a half."""
    sizes = [(200 + 40 * number, 150) for number in range(IMAGES)]
    images = [image_row(number, f"{number}.jpg", *size) for number, size in enumerate(sizes)]
    boxes = [box_row(number, number, 1, [16.0, 12.0, 80.0, 60.0]) for number in range(IMAGES)]
    file = write_annotations(tmp_path, images, boxes, {1: "thing"})
    for number, (width, height) in enumerate(sizes):
        write_image(tmp_path / "images/train" / f"{number}.jpg", width, height)
    last = tmp_path / "images/train" / f"{IMAGES - 1}.jpg"
    last.write_bytes(last.read_bytes()[: last.stat().st_size // 2])
    return read_coco(file, tmp_path / "images/train")[0]


def config(**data: str) -> Train:
    augment = Augment(multi_scale=(32, 64), multi_scale_every=1, mosaic=0.5)
    settings = Data(image_size=64, workers=2, **data)  # type: ignore[arg-type]
    return Train(seed=1, epochs=2, data=settings, augment=augment, optim=Optim(batch_size=4))


def places(index: CocoIndex, train: Train) -> Slots:
    return slots(index.sizes, reductions(index.sizes, largest_side(train, train=True), stretched=False))


def images(index: CocoIndex, train: Train, store: ImageStore | None) -> list[torch.Tensor]:
    seen = train_loader(index, train, rank=0, world=1, start_step=0, workers=2, gpu=False, store=store)
    judged = eval_loader(index, train, rank=0, world=1, workers=0, gpu=False, store=store)
    return [batch.images for loader in (seen, judged) for batch in loader]


@pytest.mark.parametrize("kind", ["ram", "disk"])
def test_batches_are_the_same_with_a_cache_which_spares_every_second_decode(
    tmp_path: Path, index: CocoIndex, kind: str
) -> None:
    train = config()
    plan = places(index, train)
    path = in_memory("test", plan.size) if kind == "ram" else on_disk(str(tmp_path), "test", plan.size)
    store = ImageStore(path, plan)
    plain = images(index, train, None)
    first = images(index, train, store)
    assert len(store) == IMAGES - 1
    for position in range(IMAGES):
        index.path(position).write_text("not an image any more")
    second = images(index, train, ImageStore(path, plan))
    for made in (first, second):
        assert all(torch.equal(one, other) for one, other in zip(plain, made, strict=True))


WRITER = """
import pickle, sys
path, plan, pixels = pickle.load(sys.stdin.buffer)
from detector.data.store import ImageStore
store = ImageStore(path, plan)
print("writing", flush=True)
while True:
    for position, each in enumerate(pixels):
        store.put(position, each)
    if sys.argv[1] == "once":
        break
"""


def random_pixels(plan: Slots) -> list[np.ndarray]:
    random = np.random.default_rng(0)
    return [random.integers(0, 256, (*shape, 3), dtype=np.uint8) for shape in plan.shapes]


def writer(how: str, *what: object) -> "subprocess.Popen[bytes]":
    import pickle

    process = subprocess.Popen([sys.executable, "-c", WRITER, how], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin
    assert process.stdout
    process.stdin.write(pickle.dumps(what))
    process.stdin.close()
    assert process.stdout.readline() == b"writing\n"
    return process


@pytest.mark.parametrize("kind", ["ram", "disk"])
def test_what_one_process_keeps_another_one_reads(tmp_path: Path, kind: str) -> None:
    plan = slots(np.array([[30, 20], [7, 9]]), np.array([1, 2]))
    path = in_memory("test", plan.size) if kind == "ram" else on_disk(str(tmp_path), "test", plan.size)
    store = ImageStore(path, plan)
    assert store.get(0) is None
    pixels = random_pixels(plan)
    with writer("once", path, plan, pixels) as process:
        assert process.wait(120) == 0
    for position, each in enumerate(pixels):
        kept = store.get(position)
        assert kept is not None
        assert (kept == each).all()
    assert store.reduction(1) == 2
    assert store.get(1).shape == (5, 4, 3)  # type: ignore[union-attr]


def test_a_writer_that_is_killed_leaves_whole_images_or_none(tmp_path: Path) -> None:
    plan = slots(np.full((40, 2), 256), np.ones(40, np.int64))
    path = on_disk(str(tmp_path), "test", plan.size)
    pixels = random_pixels(plan)
    with writer("forever", path, plan, pixels) as process:
        time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    store = ImageStore(path, plan)
    kept = [store.get(position) for position in range(40)]
    assert all(one is None or (one == other).all() for one, other in zip(kept, pixels, strict=True))


def test_pixels_that_do_not_agree_with_their_entry_are_not_believed_and_written_again(tmp_path: Path) -> None:
    plan = slots(np.array([[30, 20], [30, 20]]), np.array([1, 1]))
    path = on_disk(str(tmp_path), "test", plan.size)
    pixels = random_pixels(plan)
    for position, each in enumerate(pixels):
        ImageStore(path, plan).put(position, each)
    with path.open("r+b") as file:
        file.seek(int(plan.starts[0]) + 100)
        file.write(b"\0" * 64)
    store = ImageStore(path, plan)
    assert store.get(0) is None
    assert (store.get(1) == pixels[1]).all()
    store.put(0, pixels[0])
    assert (store.get(0) == pixels[0]).all()


def test_a_disk_that_fills_up_ends_the_keeping_and_nothing_else(tmp_path: Path) -> None:
    plan = slots(np.full((3, 2), 64), np.ones(3, np.int64))
    store = ImageStore(on_disk(str(tmp_path), "test", plan.size), plan)
    pixels = random_pixels(plan)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(plan.starts[1]) + 10, before[1]))
    try:
        for position, each in enumerate(pixels):
            store.put(position, each)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    store.put(2, pixels[2])
    assert (store.get(0) == pixels[0]).all()
    assert [store.get(1), store.get(2)] == [None, None]


def test_a_store_is_refused_where_there_is_no_room_and_promised_room_is_none(tmp_path: Path) -> None:
    free = free_memory()
    for refused in (lambda: in_memory("test", 2 * free), lambda: in_memory("test", free // 2, free // 2)):
        with pytest.raises(UserError, match=r"data\.cache=ram: .* GiB of decoded images do not fit into"):
            refused()
    in_memory("test", free // 2)
    with pytest.raises(UserError, match=r"data\.cache=disk: .* of free space of"):
        on_disk(str(tmp_path), "test", 1 << 55)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("files", "left"),
    [
        ({"memory.max": "1000", "memory.current": "900", "memory.stat": "anon 5\ninactive_file 300\n"}, 400),
        ({"memory.max": "max", "memory.current": "900"}, None),
        ({"memory.limit_in_bytes": "1000", "memory.usage_in_bytes": "400", "memory.stat": ""}, 600),
        ({}, None),
    ],
)
def test_memory_is_what_the_cgroup_leaves(tmp_path: Path, files: dict[str, str], left: int | None) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert room._left(tmp_path) == left


def test_both_splits_share_the_room_and_ranks_decode_where_there_is_none(tmp_path: Path, index: CocoIndex) -> None:
    split = Split(index, None, tmp_path, "x")  # type: ignore[arg-type]
    folder = tmp_path / "kept"
    stores, complaint = open_stores(split, split, config(cache="disk", cache_dir=str(folder)), Ranks())
    assert complaint == ""
    assert stores.train is not None
    assert stores.val is not None
    # The same images, as large, and so the same file.
    assert [path.stat().st_size for path in folder.iterdir()] == [stores.train.places.size]
    (tmp_path / "file").write_text("")
    blocked = config(cache="disk", cache_dir=str(tmp_path / "file"))
    stores, complaint = open_stores(split, split, blocked, Ranks())
    assert stores == (None, None)
    assert f"{os.uname().nodename}: data.cache: " in complaint
    assert "images are decoded each time" in complaint
    assert open_stores(split, split, config(), Ranks()) == ((None, None), "")


def test_a_changed_image_or_another_input_size_means_another_file(tmp_path: Path, index: CocoIndex) -> None:
    folder = tmp_path / "kept"
    train = config(cache="disk", cache_dir=str(folder))
    larger = msgspec.structs.replace(train, augment=Augment(multi_scale=(32, 96)))
    for fingerprint, settings in (("a", train), ("a", train), ("b", train), ("a", larger)):
        split = Split(index, None, tmp_path, fingerprint)  # type: ignore[arg-type]
        open_stores(split, split, settings, Ranks())
    assert len(list(folder.iterdir())) == 3
