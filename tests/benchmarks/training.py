"""What benchmarks of training share: a data set of photo-like images, the trainer in rounds, and its bare step."""

import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import msgspec
import numpy as np
import psutil
import torch

from detector import config
from detector.batch import Batch
from detector.config import Train
from detector.control import Control
from detector.learner import Learner
from detector.loop import Trainer
from detector.models import build
from detector.processes import Ranks

SIZE = (640, 480)
CLASSES = 20
BOXES = 8
# Steps at the start of a round that are not timed: what the other side had left ready or running is gone by then.
SETTLING = 3


def write_data(root: Path, train: int, val: int = 8) -> Path:
    """JPEGs of 640 x 480, about 90 KB each, with eight boxes, in COCO's layout."""
    for split, count in (("train", train), ("val", val)):
        random = np.random.default_rng(count)
        folder = root / "images" / split
        folder.mkdir(parents=True)
        images, annotations = [], []
        for number in range(1, count + 1):
            name = f"{number}.jpg"
            cv2.imwrite(str(folder / name), _photo(random), [cv2.IMWRITE_JPEG_QUALITY, 90])
            images.append({"id": number, "file_name": name, "width": SIZE[0], "height": SIZE[1]})
            for _ in range(BOXES):
                width, height = (int(side) for side in random.integers(20, 240, 2))
                left, top = int(random.integers(0, SIZE[0] - width)), int(random.integers(0, SIZE[1] - height))
                box = {"bbox": [left, top, width, height], "area": width * height, "iscrowd": 0}
                category = int(random.integers(CLASSES))
                annotations.append({"id": len(annotations) + 1, "image_id": number, "category_id": category, **box})
        categories = [{"id": each, "name": f"class {each}"} for each in range(CLASSES)]
        path = root / "annotations" / f"instances_{split}.json"
        path.parent.mkdir(exist_ok=True)
        whole = {"images": images, "annotations": annotations, "categories": categories}
        path.write_bytes(msgspec.json.encode(whole))
    return root


def _photo(random: np.random.Generator) -> Any:
    """Noise of many sizes, as textures of a photo: it takes a JPEG decoder as long as one."""
    whole = np.zeros((SIZE[1], SIZE[0], 3), np.float32)
    for cells in (4, 16, 64, 256):
        coarse = random.standard_normal((cells, cells, 3)).astype(np.float32)
        whole += cv2.resize(coarse, SIZE, interpolation=cv2.INTER_CUBIC) * 40 / cells**0.3
    return np.clip(whole + 128, 0, 255).astype(np.uint8)


class Spent(NamedTuple):
    """Seconds of the clock, and of all cores together in this process and its loader processes."""

    wall_s: float
    cpu_s: float

    def __sub__(self, other: "Spent") -> "Spent":
        return Spent(self.wall_s - other.wall_s, self.cpu_s - other.cpu_s)


def now() -> Spent:
    """Behind what the GPU has to do, where there is one."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    me = psutil.Process()
    times = [each.cpu_times() for each in (me, *me.children(recursive=True))]
    return Spent(time.perf_counter(), sum(each.user + each.system for each in times))


@dataclass
class Rounds(Control):
    """Stands where a worker's signals come in: times the trainer in rounds, with something else between them."""

    steps: int
    rounds: int
    between: Callable[[], None]
    spent: "list[Spent]" = field(default_factory=list)
    count: int = 0
    started: "Spent | None" = None

    def __post_init__(self) -> None:
        kept = {number: signal.getsignal(number) for number in (signal.SIGUSR2, signal.SIGTERM)}
        super().__init__(0, 0)
        for number, handler in kept.items():
            signal.signal(number, handler)

    def beat(self) -> None:
        """Called by the trainer behind each step."""
        self.count += 1
        if self.count == SETTLING:
            self.started = now()
        if self.count == SETTLING + self.steps and self.started:
            self.spent.append(now() - self.started)
            self.between()
            self.count = 0
            self._stop = len(self.spent) == self.rounds


class _StopBehind(Control):
    """Tells its rank to stop behind so many steps."""

    def __init__(self, steps: int) -> None:
        super().__init__(0, 0)
        self.left = steps

    def beat(self) -> None:
        self.left -= 1
        self._stop = self.left == 0


def settings(data: Path, **changes: Any) -> Train:
    """A configuration from dotted keys, dots written as `__`; evaluations are left out."""
    from jobs.overrides import apply

    table = {"epochs": 1000, "eval.every": 1000, "data.root": str(data)}
    return config.load(apply({}, table | {key.replace("__", "."): value for key, value in changes.items()}))


def train_in_rounds(run: Path, train: Train, rounds: Control, ranks: Ranks) -> Trainer:
    """The whole loop until the rounds are over."""
    run.mkdir(exist_ok=True)
    trainer = Trainer(run, train, ranks, rounds)
    trainer.go()
    return trainer


def train_until(run: Path, train: Train, steps: int) -> None:
    """The whole loop from the last checkpoint to one after so many steps, or to the end of the run with 0."""
    train_in_rounds(run, train, _StopBehind(steps), Ranks())


class Bare:
    """Forward, backward and step of the same model on one fixed batch, and nothing else."""

    def __init__(self, train: Train) -> None:
        ranks = Ranks()
        torch.manual_seed(0)
        # The learner puts model and optimizer where and as the trainer has them; its step is not used.
        self.learner = Learner(build(train.model, CLASSES, eval=train.eval), train, ranks, steps=10**9)
        for group in self.learner.optimizer.param_groups:
            group["lr"] = 1e-6
        self.learner.model.train()
        side, count = train.data.image_size, train.optim.batch_size
        pixels = torch.randint(0, 256, (count, 3, side, side), dtype=torch.uint8)
        self.images = self.learner.images(_batch(pixels))
        self.targets = _targets(count, side).to(ranks.device)

    def spend(self, steps: int) -> Spent:
        """On so many steps, after some that settle."""
        for _ in range(SETTLING):
            self._step()
        started = now()
        for _ in range(steps):
            self._step()
        return now() - started

    def _step(self) -> None:
        learner = self.learner
        with learner.precision.autocast():
            losses = learner.model(self.images, self.targets)
        sum(losses.values()).backward()
        learner.optimizer.step()
        learner.optimizer.zero_grad(set_to_none=True)


def rates(images: int, spent: Sequence[Spent]) -> list[float]:
    """Images per second of each round."""
    return [images / each.wall_s for each in spent]


def _targets(count: int, side: int) -> torch.Tensor:
    random = torch.Generator().manual_seed(0)
    rows = count * BOXES
    owners = torch.arange(count).repeat_interleave(BOXES).float()
    labels = torch.randint(0, CLASSES, (rows,), generator=random).float()
    sizes = (0.03 + 0.35 * torch.rand(rows, 2, generator=random)) * side
    centres = sizes / 2 + (side - sizes) * torch.rand(rows, 2, generator=random)
    return torch.column_stack([owners, labels, centres, sizes, torch.zeros(rows)])


def _batch(pixels: torch.Tensor) -> Batch:
    nothing = torch.empty(0)
    return Batch(pixels, nothing, nothing, nothing, nothing)
