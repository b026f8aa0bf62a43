"""Loss parts between two log lines: kept on the device, read once, so that no step waits for the host."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from detector.processes import Ranks


class _Step(NamedTuple):
    step: int
    parts: Tensor
    images: tuple[Tensor, ...]


class LossLog:
    """The steps since the last log line."""

    def __init__(self, ranks: Ranks) -> None:
        self.ranks = ranks
        self.steps: list[_Step] = []
        self.names: tuple[str, ...] = ()

    def add(self, step: int, parts: Tensor, names: tuple[str, ...], images: Sequence[Tensor]) -> None:
        """Keep a step's loss parts (P,) and the ids of its images."""
        self.steps.append(_Step(step, parts, tuple(images)))
        self.names = names

    def read(self) -> dict[str, float]:
        """The mean of each part over the finite losses of all ranks, `{}` where none is; empties the log."""
        table = torch.stack([step.parts for step in self.steps])
        finite = table[torch.isfinite(table).all(1)]
        *sums, count = self.ranks.mean(torch.cat((finite.sum(0), table.new_tensor([len(finite)])))).tolist()
        self.steps = []
        return {name: total / count for name, total in zip(self.names, sums, strict=True)} if count else {}

    def first_broken(self) -> str | None:
        """Which loss of any rank was the first that is inf or NaN, in words, `None` where none is; alike on all ranks.

        It names step, value, part, rank and images.
        """
        found = [each for each in self.ranks.gather_all(self._first_broken()) if each]
        return min(found)[1] if found else None

    def _first_broken(self) -> tuple[int, str] | None:
        """This rank's, and its step."""
        if not self.steps:
            return None
        table = torch.stack([step.parts for step in self.steps]).cpu()
        broken = ~torch.isfinite(table)
        if not broken.any():
            return None
        row = int(broken.any(1).int().argmax())
        part = int(broken[row].int().argmax())
        step, _, batches = self.steps[row]
        images = [int(image) for batch in batches for image in batch][:8]
        where = f"part `{self.names[part]}`, rank {self.ranks.rank}, images {images}"
        return step, f"loss is {float(table[row, part])} at step {step}: {where}"
