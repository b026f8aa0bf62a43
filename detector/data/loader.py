"""Batches of letterboxed or augmented images, made by worker processes. Reads image files.

A whole batch is one item of work: a worker fills one array, and nothing is stacked or copied afterwards. What is in a
batch is decided by the sampler and by (seed, epoch, position) alone, so that any number of workers makes the same bits.
"""

import os
import signal
import sys
import threading
from multiprocessing.queues import Queue
from typing import Any, NamedTuple, TypeVar

import cv2
import cv2.utils.logging
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from detector.batch import Batch
from detector.config import Train
from detector.data.image import Pixels
from detector.data.index import CocoIndex
from detector.data.mosaic import Change, Composition, Part, compose
from detector.data.philox import SAMPLE, generator
from detector.data.pictures import Pictures, largest_side
from detector.data.room import refuse_small_shared_memory
from detector.data.sample import Sample, load_sample
from detector.data.sampler import Draw, EvalSampler, TrainSampler
from detector.data.store import ImageStore
from detector.errors import UserError

Loaded = TypeVar("Loaded")

# Batches that each worker process may have ready.
_PREFETCHED = 2

# A GPU is fed by at most this many worker processes; with more they compete for memory bandwidth.
MOST_WORKERS = 16


class ImageBatches(Dataset[Batch]):
    """The batch that belongs to a `Draw`; augmented where `train` says so, letterboxed otherwise.

    On the way to a `gpu` an input that is one image keeps its colours: changing them takes a core longer than decoding,
    and the GPU does it for the whole batch.
    """

    def __init__(
        self, index: CocoIndex, config: Train, *, train: bool, gpu: bool = False, store: ImageStore | None = None
    ) -> None:
        side, stretched = largest_side(config, train=train), config.data.fit == "stretch"
        self.pictures = Pictures(index, side, stretched=stretched, store=store)
        self.config, self.train, self.gpu = config, train, gpu

    def __getitem__(self, draw: Draw) -> Batch:
        images = np.empty((len(draw.images), 3, draw.size, draw.size), dtype=np.uint8)
        inputs = [
            self._composition(int(position), draw.epoch, place)
            for place, position in enumerate(draw.images, start=draw.first)
        ]
        colours = None
        if self.gpu and self.train:
            apart = [each.without_colour() for each in inputs]
            inputs = [each for each, _ in apart]
            colours = torch.tensor([colour for _, colour in apart], dtype=torch.float32)
        samples = [load_sample(self.pictures, each, out) for each, out in zip(inputs, images, strict=True)]
        return _collate(self.pictures.index, draw, images, samples)._replace(colours=colours)

    def _composition(self, position: int, epoch: int, place: int) -> Composition:
        if not self.train:
            return Composition((Part(position, Change()),))
        config = self.config
        random = generator(config.seed, SAMPLE, (place, epoch))
        closing = epoch >= config.epochs - config.augment.close_epochs
        return compose(config.augment, position, len(self.pictures), random, closing=closing)


def train_loader(
    index: CocoIndex,
    config: Train,
    *,
    rank: int,
    world: int,
    start_step: int,
    workers: int,
    gpu: bool,
    accumulate: int = 1,
    store: ImageStore | None = None,
) -> DataLoader[Batch]:
    """Augmented micro-batches of one rank, from a step to the end of training, across epochs.

    A store of decoded images saves time, and changes no bit. For a GPU the batches lie in pinned memory, and their
    colours are changed there.

    Raises:
        ConfigError: `optim.batch_size` is more than the images, or less than the processes.
    """
    sampler = TrainSampler(
        images=len(index), config=config, rank=rank, world=world, start_step=start_step, accumulate=accumulate
    )
    return loader(ImageBatches(index, config, train=True, gpu=gpu, store=store), sampler, workers, gpu)


def eval_loader(
    index: CocoIndex,
    config: Train,
    *,
    rank: int,
    world: int,
    workers: int,
    gpu: bool,
    store: ImageStore | None = None,
) -> DataLoader[Batch]:
    """Letterboxed batches of one rank: over all ranks each image once, in batches that no number of ranks changes."""
    sampler = EvalSampler(images=len(index), config=config, rank=rank, world=world)
    return loader(ImageBatches(index, config, train=False, store=store), sampler, workers, gpu)


def auto_workers(config: Train, cpus: int, world: int, *, gpu: bool) -> int:
    """Worker processes for one rank: as configured, else what suits the host.

    Args:
        config: `data.workers` decides unless it is -1.
        cpus: cores of this host that the run may use.
        world: ranks on this host.
        gpu: whether the model runs on a GPU. On CPU one worker is enough to stay ahead of any model.
    """
    if config.data.workers >= 0:
        return config.data.workers
    return max(1, min(cpus // world - 1, MOST_WORKERS)) if gpu else 1


def _collate(index: CocoIndex, draw: Draw, images: Pixels, samples: list[Sample]) -> Batch:
    owners = np.repeat(np.arange(len(samples)), [len(sample.rows) for sample in samples])
    targets = np.column_stack([owners, np.concatenate([sample.rows for sample in samples])])
    return Batch(
        images=torch.from_numpy(images),
        targets=torch.from_numpy(targets.astype(np.float32)),
        image_ids=torch.from_numpy(index.image_ids[draw.images]),
        placements=torch.tensor([sample.placement for sample in samples], dtype=torch.float32),
        sizes=torch.tensor([sample.size for sample in samples], dtype=torch.float32),
        bad=list(dict.fromkeys(index.name(at) for sample in samples for at in sample.bad)),
    )


def loader(
    batches: Dataset[Loaded], sampler: TrainSampler | EvalSampler, workers: int, pin_memory: bool
) -> DataLoader[Loaded]:
    """Whole batches, one for each `Draw` of a sampler, made by worker processes or, with 0 workers, by this one.

    Raises:
        UserError: shared memory is too small for the worker processes.
    """
    if workers:
        refuse_small_shared_memory(workers * _PREFETCHED * sampler.largest_bytes, workers)
    return _Loader(
        _Handed(batches),
        batch_size=None,
        sampler=sampler,
        num_workers=workers,
        prefetch_factor=_PREFETCHED if workers else None,
        pin_memory=pin_memory,
        collate_fn=_as_it_is,
        worker_init_fn=_settle_worker,
        generator=torch.Generator(),  # a DataLoader draws a seed for its workers; not from the model's random bits
    )


class _Failure(NamedTuple):
    """Why a worker could not hand over a batch; an exception would arrive as a traceback in its message."""

    problem: str


class _Handed(Dataset[Any]):
    """Batches in shared memory, where a worker makes them.

    The queue would put them there itself, in a thread whose errors reach nobody: the rank would wait for ever.
    """

    def __init__(self, batches: Dataset[Any]) -> None:
        self.batches = batches

    def __getitem__(self, draw: Draw) -> Any:
        batch = self.batches[draw]
        if torch.utils.data.get_worker_info() is None:
            return batch
        try:
            for part in batch:
                if isinstance(part, torch.Tensor):
                    part.share_memory_()  # type: ignore[no-untyped-call]
        except RuntimeError as error:
            return _Failure(f"a loader process cannot hand over a batch: {str(error).splitlines()[0]}")
        return batch


class _Loader(DataLoader[Loaded]):
    """Raises a `UserError` where a worker fails; torch's `RuntimeError` on a dead one can come at any time, too."""

    def __iter__(self) -> Any:
        batches = super().__iter__()
        while True:
            try:
                batch = next(batches)
            except StopIteration:
                return
            except (EOFError, ConnectionError, FileNotFoundError) as error:
                # A worker that dies takes along the memory of the batches that it has announced.
                hint = "out of memory is the usual cause: fewer of them, --set data.workers=N"
                raise UserError(f"a loader process died: {type(error).__name__}", hint) from error
            if isinstance(batch, _Failure):
                raise UserError(batch.problem, "a larger /dev/shm, or fewer loader processes: --set data.workers=N")
            yield batch


def _as_it_is(batch: Any) -> Any:
    return batch


def _settle_worker(_: int) -> None:
    """One thread per worker, and no talk on stderr: bad files are named in `Batch.bad`.

    Slurm sends its signals to every process of a job. A rank answers them by finishing its step, for which it needs
    its workers; they end with the rank, or when the rank itself tells them to.
    """
    for number in (signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    threading.Thread(target=_end_when_the_rank_says, daemon=True).start()
    # Python calls this where a batch cannot be sent, and goes on; the rank would wait for that batch for ever.
    Queue._on_queue_feeder_error = staticmethod(_end_with)  # type: ignore[attr-defined]
    cv2.setNumThreads(0)
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


def _end_with(error: BaseException, _: object) -> None:
    """End this worker, which the rank then tells as its own end."""
    print(f"a loader process cannot send a batch: {error!r}", file=sys.stderr, flush=True)  # noqa: T201
    os._exit(1)


def _end_when_the_rank_says() -> None:
    """Of the SIGTERMs that a worker gets, obey the one by which its parent ends it."""
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != os.getppid():
        pass
    os._exit(0)
