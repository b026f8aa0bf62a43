"""Loss parts between two log lines: kept on the device, read once, so that no step waits for the host."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from detector.errors import UserError
from detector.processes import Ranks


class _Step(NamedTuple):
    step: int
    parts: Tensor
    images: tuple[Tensor, ...]


class LossLog:
    """The steps since the last log line."""

    def __init__(self, ranks: Ranks, *, tolerant: bool) -> None:
        self.ranks = ranks
        self.tolerant = tolerant
        self.steps: list[_Step] = []
        self.names: tuple[str, ...] = ()

    def add(self, step: int, parts: Tensor, names: tuple[str, ...], images: Sequence[Tensor]) -> None:
        """Keep a step's loss parts (P,) and the ids of its images."""
        self.steps.append(_Step(step, parts, tuple(images)))
        self.names = names

    def read(self) -> dict[str, float]:
        """The mean of each part over the steps and all ranks; empties the log.

        Raises:
            UserError: a loss is NaN or infinite, in every step where the gradient scaler can skip some.
        """
        table = torch.stack([step.parts for step in self.steps])
        self.refuse_broken(table)
        finite = table[torch.isfinite(table).all(1)]
        means = self.ranks.mean(finite.mean(0))
        self.steps = []
        return dict(zip(self.names, means.tolist(), strict=True))

    def refuse_broken(self, table: Tensor | None = None) -> None:
        """Raise on losses from which no training can recover; see `read`."""
        if not self.steps:
            return
        table = torch.stack([step.parts for step in self.steps]) if table is None else table
        broken = ~torch.isfinite(table)
        bad = broken.any(1).cpu()
        if not (bad.all() if self.tolerant else bad.any()):
            return
        row = int(bad.int().argmax())
        part = self.names[int(broken[row].cpu().int().argmax())]
        where = self.steps[row]
        images = [int(image) for batch in where.images for image in batch][:8]
        value = float(table[row].cpu()[self.names.index(part)])
        raise UserError(
            f"loss is {value} at step {where.step}: part `{part}`, rank {self.ranks.rank}, images {images}",
            "lower optim.lr, lengthen schedule.burn_in_steps, or look at those images",
        )
