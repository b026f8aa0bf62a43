"""Which images make up which step: pure functions of the seed and of the step, for any number of processes. No I/O.

Nothing here has a state. The order of an epoch follows from (seed, epoch), what happens to the image at a position of
that order from (seed, epoch, position), and the input size from (seed, step); so a run can start at any step, and
continues exactly as if it had never stopped.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from detector.config import Augment, ConfigError, Train
from detector.data.index import Int64
from detector.data.philox import ORDER, SIZE, generator


class Draw(NamedTuple):
    """What one process loads at once.

    Attributes:
        images: (B,) int64 positions in the index.
        size: side of the square input, pixels.
        epoch: from 0.
        first: place of `images[0]` in the order of the epoch; the others follow.
    """

    images: Int64
    size: int
    epoch: int = 0
    first: int = 0


def epoch_order(images: int, seed: int, epoch: int) -> Int64:
    """A permutation of the images."""
    return generator(seed, ORDER, (0, epoch)).permutation(images)


def input_size(augment: Augment, image_size: int, seed: int, step: int) -> int:
    """The side of the input at a step; with multi-scale another one each `multi_scale_every` steps."""
    if augment.multi_scale is None:
        return image_size
    smallest, largest = augment.multi_scale
    random = generator(seed, SIZE, (0, step // augment.multi_scale_every))
    return 32 * int(random.integers(smallest // 32, largest // 32 + 1))


def share(length: int, part: int, parts: int) -> slice:
    """One of several consecutive parts whose lengths differ by at most 1."""
    return slice(length * part // parts, length * (part + 1) // parts)


@dataclass(frozen=True, kw_only=True)
class TrainSampler:
    """What one rank loads from a step to the end of training: `accumulate` micro-batches per step.

    The global batch of a step is a run of consecutive images of the epoch's order, and rank r takes the r-th part of
    it: what a step learns from does not depend on the number of processes. Images that do not fill a last batch are
    left out of their epoch.
    """

    images: int
    config: Train
    rank: int = 0
    world: int = 1
    start_step: int = 0
    accumulate: int = 1

    def __post_init__(self) -> None:
        batch, parts = self.config.optim.batch_size, self.world * self.accumulate
        if batch > self.images:
            raise ConfigError(
                "optim.batch_size", f"{batch} is more than the {self.images} training images", f"at most {self.images}"
            )
        if batch < parts:
            problem = f"{batch} is less than one image for each of {self.world} processes and {self.accumulate} parts"
            raise ConfigError("optim.batch_size", problem, f"at least {parts}, or fewer processes")

    @property
    def steps_per_epoch(self) -> int:
        return self.images // self.config.optim.batch_size

    @property
    def steps(self) -> int:
        """Optimizer steps of the whole run."""
        return self.steps_per_epoch * self.config.epochs

    @property
    def largest_bytes(self) -> int:
        """The pixels of the largest micro-batch."""
        images = -(-self.config.optim.batch_size // (self.world * self.accumulate))
        scales = self.config.augment.multi_scale
        return (
            images * 3 * (max(self.config.data.image_size, scales[1]) if scales else self.config.data.image_size) ** 2
        )

    def __len__(self) -> int:
        return max(self.steps - self.start_step, 0) * self.accumulate

    def __iter__(self) -> Iterator[Draw]:
        for epoch in range(self.start_step // self.steps_per_epoch, self.config.epochs):
            order = epoch_order(self.images, self.config.seed, epoch)
            begin = epoch * self.steps_per_epoch
            for step in range(max(begin, self.start_step), begin + self.steps_per_epoch):
                yield from self._micro_batches(order, step)

    def _micro_batches(self, order: Int64, step: int) -> Iterator[Draw]:
        config, batch = self.config, self.config.optim.batch_size
        epoch, place = divmod(step, self.steps_per_epoch)
        mine = np.arange(place * batch, (place + 1) * batch)[share(batch, self.rank, self.world)]
        size = input_size(config.augment, config.data.image_size, config.seed, step)
        for part in range(self.accumulate):
            places = mine[share(len(mine), part, self.accumulate)]
            yield Draw(order[places], size, epoch, int(places[0]))


@dataclass(frozen=True, kw_only=True)
class EvalSampler:
    """What one rank evaluates: every `world`-th of the batches into which the images fall in their own order.

    Each image is in exactly one batch, and a batch holds the same images whatever the number of processes.
    """

    images: int
    config: Train
    rank: int = 0
    world: int = 1

    @property
    def largest_bytes(self) -> int:
        """The pixels of a batch."""
        return min(self.config.eval.batch_size, self.images) * 3 * self.config.data.image_size**2

    def __len__(self) -> int:
        return len(range(self.rank, -(-self.images // self.config.eval.batch_size), self.world))

    def __iter__(self) -> Iterator[Draw]:
        batch = self.config.eval.batch_size
        for first in range(self.rank * batch, self.images, self.world * batch):
            yield Draw(np.arange(first, min(first + batch, self.images)), self.config.data.image_size)
