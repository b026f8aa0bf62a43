"""Batches of images to classify, made by worker processes. Reads image files.

What is in a batch is decided by the sampler and by (seed, epoch, position) alone, as for detection.
"""

import time

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from detector.batch import NO_CLASS, ClassBatch
from detector.config import Train
from detector.data.augment import UNCHANGED, Colour, draw_colour, recolour
from detector.data.crop import Crop, draw_crop, middle_of, part_of
from detector.data.folder import FolderIndex
from detector.data.geometry import GREY, Rect, Shown, fit, paint, whole
from detector.data.image import ImageError, Picture, Pixels, decode
from detector.data.loader import loader
from detector.data.philox import SAMPLE, generator
from detector.data.pictures import RETRY_S
from detector.data.sampler import Draw, EvalSampler, TrainSampler


class ClassBatches(Dataset[ClassBatch]):
    """The batch that belongs to a `Draw`; random parts of images where `train` says so, their middles otherwise.

    On the way to a `gpu` they keep their colours, which it changes for the whole batch.
    """

    def __init__(self, index: FolderIndex, config: Train, *, train: bool, gpu: bool = False) -> None:
        self.index, self.config, self.train, self.gpu = index, config, train, gpu

    def __getitem__(self, draw: Draw) -> ClassBatch:
        images = np.empty((len(draw.images), 3, draw.size, draw.size), dtype=np.uint8)
        changes = [self._change(place, draw.epoch) for place in range(draw.first, draw.first + len(images))]
        colours = None
        if self.gpu and self.train:
            colours = torch.tensor([colour for _, colour in changes], dtype=torch.float32)
            changes = [(crop, UNCHANGED) for crop, _ in changes]
        bad = [
            int(position)
            for position, change, out in zip(draw.images, changes, images, strict=True)
            if not self._paint(int(position), *change, out)
        ]
        labels = self.index.labels[draw.images]
        labels[np.isin(draw.images, bad)] = NO_CLASS
        return ClassBatch(
            images=torch.from_numpy(images),
            targets=torch.from_numpy(labels),
            image_ids=torch.from_numpy(np.array(draw.images, dtype=np.int64)),
            bad=[self.index.name(position) for position in bad],
            colours=colours,
        )

    def _paint(self, position: int, crop: Crop | None, colour: Colour, out: Pixels) -> bool:
        """Draw one image on planes; false where it cannot be read, and there is grey."""
        pixels = _read(self.index, position)
        if pixels is None:
            out.fill(GREY)
            return False
        height, width, _ = pixels.shape
        part = part_of(crop, width, height) if crop else middle_of(width, height)
        _show(pixels, part, colour, out, mirrored=crop is not None and crop.mirrored)
        return True

    def _change(self, place: int, epoch: int) -> tuple[Crop | None, Colour]:
        if not self.train:
            return None, UNCHANGED
        random = generator(self.config.seed, SAMPLE, (place, epoch))
        return draw_crop(self.config.augment, random), draw_colour(self.config.augment, random)


def class_train_loader(
    index: FolderIndex,
    config: Train,
    *,
    rank: int,
    world: int,
    start_step: int,
    workers: int,
    gpu: bool,
    accumulate: int = 1,
) -> DataLoader[ClassBatch]:
    """Augmented micro-batches of one rank, from a step to the end of training, across epochs.

    Raises:
        ConfigError: `optim.batch_size` is more than the images, or less than the processes.
    """
    sampler = TrainSampler(
        images=len(index), config=config, rank=rank, world=world, start_step=start_step, accumulate=accumulate
    )
    return loader(ClassBatches(index, config, train=True, gpu=gpu), sampler, workers, gpu)


def class_eval_loader(
    index: FolderIndex, config: Train, *, rank: int, world: int, workers: int, gpu: bool
) -> DataLoader[ClassBatch]:
    """Batches of one rank: over all ranks each image once, in batches that no number of ranks changes."""
    sampler = EvalSampler(images=len(index), config=config, rank=rank, world=world)
    return loader(ClassBatches(index, config, train=False), sampler, workers, gpu)


def _read(index: FolderIndex, position: int) -> Pixels | None:
    for wait_s in (RETRY_S, 0.0):
        try:
            return decode(index.content(position), index.name(position))
        except (OSError, ImageError):
            time.sleep(wait_s)
    return None


def _show(pixels: Pixels, part: Rect, colour: Colour, out: Pixels, *, mirrored: bool) -> None:
    """Draw a part of an image on all of a square."""
    side = out.shape[-1]
    cut = pixels[part.top : part.bottom, part.left : part.right]
    picture = Picture(cut, 1, part.width, part.height).reduced((side, side))
    rows, columns, _ = picture.pixels.shape
    shown = Shown(Rect(0, 0, columns, rows), whole(side), mirrored)
    paint(recolour(fit(picture, shown), colour), shown.on, out)
