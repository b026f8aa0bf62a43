"""Batches of real images: the same bits however they are made, boxes where the pixels are, bad files named."""

import subprocess
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest
import torch
from coco_folder import box_row, exif, image_row, write_annotations, write_image
from PIL import Image

from detector.batch import CROWD, CX, CY, HEIGHT, IMAGE, LABEL, WIDTH, Batch
from detector.config import Augment, Data, Eval, Optim, Train
from detector.data.coco import read_coco
from detector.data.geometry import GREY
from detector.data.index import CocoIndex
from detector.data.loader import auto_workers, eval_loader, train_loader
from detector.data.read import read_split
from detector.data.sampler import TrainSampler


def config(root: Path, *, batch_size: int = 6, size: int = 128, augment: Augment | None = None) -> Train:
    return Train(
        seed=3,
        epochs=2,
        data=Data(root=str(root), image_size=size),
        augment=augment or Augment(multi_scale=(64, 128), multi_scale_every=2),
        optim=Optim(batch_size=batch_size),
        eval=Eval(batch_size=batch_size),
    )


@pytest.fixture(scope="module")
def coco_mini(shared: Path) -> tuple[CocoIndex, Train]:
    train = config(shared / "data" / "coco-mini")
    return read_split(train.data, "train").index, train


@pytest.fixture(params=["alone", "composed"])
def any_mini(request: pytest.FixtureRequest, coco_mini: tuple[CocoIndex, Train]) -> tuple[CocoIndex, Train]:
    """Inputs of one image each, or of several."""
    index, train = coco_mini
    if request.param == "alone":
        return coco_mini
    augment = msgspec.structs.replace(train.augment, mosaic=0.6, mixup=0.4, scale=(0.5, 1.5), close_epochs=1)
    return index, msgspec.structs.replace(train, augment=augment)


def batches(
    data: tuple[CocoIndex, Train], *, workers: int = 0, rank: int = 0, world: int = 1, start: int = 0, parts: int = 1
) -> Iterator[Batch]:
    index, train = data
    loader = train_loader(
        index,
        train,
        rank=rank,
        world=world,
        start_step=start,
        workers=workers,
        gpu=False,
        accumulate=parts,
    )
    return iter(loader)


def same(one: Batch, other: Batch) -> bool:
    tensors = zip(one[:5], other[:5], strict=True)
    return all(torch.equal(mine, theirs) for mine, theirs in tensors) and list(one.bad) == list(other.bad)


def joined(parts: list[Batch]) -> Batch:
    """Several parts of a batch as one."""
    before = np.cumsum([0, *(len(part.images) for part in parts)])
    targets = [part.targets.clone() for part in parts]
    for rows, shift in zip(targets, before, strict=False):
        rows[:, IMAGE] += float(shift)
    others = ([part[field] for part in parts] for field in (0, 2, 3, 4))
    images, ids, placements, sizes = (torch.cat(list(tensors)) for tensors in others)
    return Batch(images, torch.cat(targets), ids, placements, sizes, [name for part in parts for name in part.bad])


def test_any_number_of_workers_makes_the_same_bits(any_mini: tuple[CocoIndex, Train]) -> None:
    alone = list(islice(batches(any_mini), 6))
    helped = list(islice(batches(any_mini, workers=2), 6))
    assert all(same(one, other) for one, other in zip(alone, helped, strict=True))
    assert len({batch.images.shape[-1] for batch in alone}) > 1


def test_a_resumed_run_makes_the_same_bits_across_epochs(any_mini: tuple[CocoIndex, Train]) -> None:
    sampler = TrainSampler(images=len(any_mini[0]), config=any_mini[1])
    start = sampler.steps_per_epoch - 2
    whole = list(islice(batches(any_mini, start=start - 2), 6))
    resumed = list(islice(batches(any_mini, start=start, workers=1), 4))
    assert all(same(one, other) for one, other in zip(whole[2:], resumed, strict=True))


def test_two_ranks_or_two_micro_batches_make_the_bits_of_one(any_mini: tuple[CocoIndex, Train]) -> None:
    alone = list(islice(batches(any_mini), 2))
    ranks = [list(islice(batches(any_mini, rank=rank, world=2), 2)) for rank in range(2)]
    parts = list(islice(batches(any_mini, parts=2), 4))
    for step in range(2):
        assert same(joined([ranks[0][step], ranks[1][step]]), alone[step])
        assert same(joined(parts[2 * step : 2 * step + 2]), alone[step])


def test_a_loader_leaves_the_random_bits_of_the_model_alone(coco_mini: tuple[CocoIndex, Train]) -> None:
    before = torch.get_rng_state()
    next(batches(coco_mini))
    assert torch.equal(torch.get_rng_state(), before)


def test_batches_are_planes_of_bytes_and_targets_of_their_images(coco_mini: tuple[CocoIndex, Train]) -> None:
    index, _ = coco_mini
    by_id = {int(number): position for position, number in enumerate(index.image_ids)}
    for batch in islice(batches(coco_mini), 5):
        count, _, size, _ = batch.images.shape
        assert (count, batch.images.dtype) == (6, torch.uint8)
        assert batch.images.is_contiguous()
        assert batch.targets.dtype == batch.placements.dtype == batch.sizes.dtype == torch.float32
        assert batch.image_ids.dtype == torch.int64
        for number, image_id in enumerate(batch.image_ids.tolist()):
            truth = index.truth(by_id[image_id])
            rows = batch.targets[batch.targets[:, IMAGE] == number].numpy()
            scale, offset = np.split(batch.placements[number].numpy(), 2)
            ends = np.stack([truth.boxes[:, :2], truth.boxes[:, :2] + truth.boxes[:, 2:]]) * scale + offset
            seen = (np.abs(ends[1] - ends[0]) >= 1).all(axis=1)
            assert np.allclose(rows[:, [CX, CY]], ends.mean(axis=0)[seen], atol=0.02)
            assert np.allclose(rows[:, [WIDTH, HEIGHT]], np.abs(ends[1] - ends[0])[seen], atol=0.02)
            assert rows[:, LABEL].tolist() == truth.labels[seen].tolist()
            assert rows[:, CROWD].tolist() == truth.crowd[seen].tolist()
            assert batch.sizes[number].tolist() == index.sizes[by_id[image_id]].tolist()
        assert (batch.targets[:, [CX, CY]] <= size).all()


def test_evaluation_letterboxes_every_image_and_its_boxes_map_back(shared: Path) -> None:
    train = config(shared / "data" / "bccd", batch_size=10, size=96)
    index = read_split(train.data, "val").index
    seen, boxes = [], []
    for batch in eval_loader(index, train, rank=0, world=1, workers=1, gpu=False):
        assert batch.images.shape[1:] == (3, 96, 96)
        assert (batch.images[:, :, :12] == GREY).all()
        assert (batch.images[:, :, -12:] == GREY).all()
        assert torch.equal(batch.placements, torch.tensor([[0.15, 0.15, 0, 12]]).expand(len(batch.images), 4))
        owner = batch.targets[:, IMAGE].long()
        centres = (batch.targets[:, [CX, CY]] - batch.placements[owner, 2:]) / batch.placements[owner, :2]
        extents = batch.targets[:, [WIDTH, HEIGHT]] / batch.placements[owner, :2]
        boxes.append(torch.cat([centres - extents / 2, extents], dim=1))
        seen += batch.image_ids.tolist()
    assert seen == index.image_ids.tolist()
    wide = index.boxes[(index.boxes[:, 2:] * 0.15 >= 1).all(axis=1)]
    assert np.allclose(torch.cat(boxes).numpy(), wide, atol=1e-2)


def test_evaluation_pixels_are_those_of_a_plain_letterbox(shared: Path) -> None:
    train = config(shared / "data" / "bccd", batch_size=4, size=416)
    index = read_split(train.data, "val").index
    batch = next(iter(eval_loader(index, train, rank=0, world=1, workers=0, gpu=False)))
    for position, image in enumerate(batch.images.numpy()):
        pixels = cv2.cvtColor(cv2.imread(str(index.path(position))), cv2.COLOR_BGR2RGB)
        expected = np.full((416, 416, 3), GREY, np.uint8)
        expected[52:364] = cv2.resize(pixels, (416, 312))
        assert (image == expected.transpose(2, 0, 1)).all()


def test_an_image_is_augmented_differently_in_each_epoch(tmp_path: Path) -> None:
    index = folder_of(tmp_path, ["a.png"])
    first, second = batches((index, config(tmp_path, batch_size=1, augment=Augment())))
    assert not torch.equal(first.images, second.images)
    assert not torch.equal(first.placements, second.placements)


def test_colours_change_in_training_and_around_the_image_too(tmp_path: Path) -> None:
    index = folder_of(tmp_path, ["a.png"])
    still = Augment(flip=0, jitter=0, hue=0, saturation=1, exposure=1)
    plain, _ = batches((index, config(tmp_path, batch_size=1, augment=still)))
    lit, _ = batches((index, config(tmp_path, batch_size=1, augment=msgspec.structs.replace(still, exposure=2.0))))
    assert torch.equal(lit.placements, plain.placements)
    grey = plain.images == GREY
    factor = float(lit.images[grey].float().median()) / GREY
    assert abs(factor - 1) > 0.02
    brightest = plain.images.float().amax(dim=1, keepdim=True).clamp(min=1)
    expected = plain.images * (255 / brightest).clamp(max=factor)
    assert (lit.images.float() - expected).abs().mean() < 2


def folder_of(root: Path, names: list[str]) -> CocoIndex:
    """A data set of images of 64 x 48, each with a box of 8 x 6 at (16, 12)."""
    images = [image_row(number, name) for number, name in enumerate(names)]
    boxes = [box_row(number, number, 1, [16, 12, 8, 6]) for number in range(len(names))]
    index, _ = read_coco(write_annotations(root, images, boxes, {1: "thing"}), root / "images" / "train")
    for name in names:
        write_image(root / "images" / "train" / name)
    return index


def test_files_that_cannot_be_read_become_grey_and_are_named(tmp_path: Path) -> None:
    index = folder_of(tmp_path, ["a.jpg", "cut.jpg", "c.jpg", "gone.jpg"])
    cut = index.path(1)
    whole = next(iter(eval_loader(index, config(tmp_path), rank=0, world=1, workers=0, gpu=False)))
    cut.write_bytes(cut.read_bytes()[:300])
    index.path(3).unlink()
    for workers in (0, 1):
        batch = next(iter(eval_loader(index, config(tmp_path), rank=0, world=1, workers=workers, gpu=False)))
        assert list(batch.bad) == ["cut.jpg", "gone.jpg"]
        assert (batch.images[[1, 3]] == GREY).all()
        assert torch.equal(batch.images[[0, 2]], whole.images[[0, 2]])
        assert batch.targets[:, IMAGE].tolist() == [0, 2]
        assert torch.equal(batch.sizes, whole.sizes)
        assert torch.isfinite(batch.placements).all()


def test_a_file_that_comes_back_in_time_is_not_bad(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = folder_of(tmp_path, ["a.jpg"])
    there, away = index.path(0), tmp_path / "away.jpg"
    there.rename(away)
    monkeypatch.setattr("time.sleep", lambda _: away.rename(there))
    batch = next(iter(eval_loader(index, config(tmp_path), rank=0, world=1, workers=0, gpu=False)))
    assert not batch.bad
    assert len(batch.targets) == 1


def test_boxes_are_pixels_of_the_file_where_its_size_is_another_than_annotated(tmp_path: Path) -> None:
    index = folder_of(tmp_path, ["a.jpg"])
    write_image(index.path(0), 32, 32)
    batch = next(iter(eval_loader(index, config(tmp_path), rank=0, world=1, workers=0, gpu=False)))
    assert batch.sizes.tolist() == [[32, 32]]
    assert batch.placements.tolist() == [[4, 4, 0, 0]]
    assert batch.targets[0, CX:CROWD].tolist() == [80, 60, 32, 24]


def test_a_turned_photo_is_loaded_upright(tmp_path: Path) -> None:
    index = folder_of(tmp_path, ["plain.png", "turned.png"])
    pixels = write_image(index.path(0))
    upright = next(iter(eval_loader(index, config(tmp_path), rank=0, world=1, workers=0, gpu=False))).images
    Image.fromarray(np.rot90(pixels)).save(index.path(1), exif=exif(6))
    batch = next(iter(eval_loader(index, config(tmp_path), rank=0, world=1, workers=0, gpu=False)))
    assert torch.equal(batch.images[1], upright[0])


def test_a_batch_without_boxes_has_no_targets(tmp_path: Path) -> None:
    root = tmp_path
    file = write_annotations(root, [image_row(1, "a.png")], [], {1: "thing"})
    write_image(root / "images" / "train" / "a.png")
    index, _ = read_coco(file, root / "images" / "train")
    (batch,) = islice(batches((index, config(root, batch_size=1))), 1)
    assert batch.targets.shape == (0, 7)


SIGNALLED = """
import subprocess, sys
from multiprocessing import active_children
from pathlib import Path
from detector.config import Data, Optim, Train
from detector.data.loader import train_loader
from detector.data.read import read_split

config = Train(epochs=50, data=Data(root=sys.argv[1], image_size=32), optim=Optim(batch_size=2))
index = read_split(config.data, "train").index
batches = iter(train_loader(index, config, rank=0, world=1, start_step=0, workers=2, gpu=False))
next(batches)
for signal in ("TERM", "INT", "USR1", "USR2", "TERM"):
    subprocess.run(["kill", f"-{signal}", *(str(child.pid) for child in active_children())], check=True)
print(sum(len(batch.images) for batch, _ in zip(batches, range(30))), len(active_children()))
raise SystemExit(7)
"""


def test_workers_outlive_the_signals_of_a_scheduler_and_end_with_their_rank(tmp_path: Path) -> None:
    folder_of(tmp_path, ["a.jpg", "b.jpg"])
    run = [sys.executable, "-c", SIGNALLED, str(tmp_path)]
    ended = subprocess.run(run, capture_output=True, text=True, timeout=300, check=False)
    assert (ended.stdout.split(), ended.returncode) == (["60", "2"], 7), ended.stderr


@pytest.mark.parametrize(
    ("configured", "cpus", "world", "gpu", "expected"),
    [
        (-1, 16, 1, True, 15),
        (-1, 64, 8, True, 7),
        (-1, 128, 2, True, 16),
        (-1, 2, 4, True, 1),
        (-1, 2, 1, False, 1),
        (-1, 64, 2, False, 1),
        (0, 64, 1, True, 0),
        (5, 2, 1, False, 5),
    ],
)
def test_workers_are_as_configured_or_as_the_host_allows(
    configured: int, cpus: int, world: int, gpu: bool, expected: int
) -> None:
    assert auto_workers(Train(data=Data(workers=configured)), cpus, world, gpu=gpu) == expected
