"""The task of finding objects: annotated splits, a detector, COCO's metrics."""

import time
from collections.abc import Sequence
from functools import partial

from torch.utils.data import DataLoader

from detector.batch import Batch
from detector.config import Train
from detector.data.loader import eval_loader, train_loader
from detector.evaluation import detections as boxes
from detector.evaluation import run as evaluation
from detector.evaluation.coco import Judge
from detector.evaluation.detections import Detections
from detector.evaluation.run import Progress
from detector.journal import Journal
from detector.learner import Learner
from detector.models import Detector, build
from detector.processes import Ranks
from detector.records import Evaluation
from detector.splits import Split, open_split, open_stores, refuse_other_classes, workers


class Detection:
    """See `detector.task.Task`."""

    def __init__(self, config: Train, ranks: Ranks, journal: Journal) -> None:
        self.config, self.ranks, self.journal = config, ranks, journal
        self.train, self.val = self._open("train"), self._open("val")
        refuse_other_classes(self.train, self.val)
        self.stores, complaint = open_stores(self.train, self.val, config, ranks)
        if complaint and ranks.is_first:
            journal.say(f"warning: {complaint}")
        self.scorer = Judge(self.val.annotations, config.eval.engine) if ranks.is_first else None

    @property
    def images(self) -> int:
        return len(self.train.index)

    @property
    def classes(self) -> Sequence[str]:
        return self.train.index.category_names

    def model(self) -> Detector:
        return build(self.config.model, len(self.classes), eval=self.config.eval)

    def train_loader(self, start_step: int, accumulate: int) -> DataLoader[Batch]:
        return train_loader(
            self.train.index,
            self.config,
            rank=self.ranks.rank,
            world=self.ranks.world,
            start_step=start_step,
            workers=workers(self.config, self.ranks),
            gpu=self.ranks.device.type == "cuda",
            accumulate=accumulate,
            store=self.stores.train,
        )

    def look(self, learner: Learner, going: Progress) -> list[Detections] | None:
        loader = eval_loader(
            self.val.index,
            self.config,
            rank=self.ranks.rank,
            world=self.ranks.world,
            workers=workers(self.config, self.ranks),
            gpu=self.ranks.device.type == "cuda",
            store=self.stores.val,
        )
        read = partial(boxes.of_batch, category_ids=self.val.index.category_ids)
        return evaluation.look(learner, loader, read, going)

    def gathered(self, found: list[Detections]) -> Detections | None:
        return evaluation.gathered(found, self.ranks)

    def judge(self, whole: Detections, *, epoch: int, step: int, started: float) -> Evaluation:
        assert self.scorer is not None, "rank 0 judges"
        return evaluation.record(
            self.journal.evaluations,
            whole,
            self.scorer,
            self.config,
            epoch=epoch,
            step=step,
            inference_s=time.monotonic() - started,
        )

    def _open(self, name: str) -> Split:
        split = open_split(self.config.data, name, self.ranks)
        if self.ranks.is_first:
            for row in split.report.lines():
                self.journal.say(row)
        return split
