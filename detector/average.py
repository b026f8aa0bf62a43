"""The exponential moving average of a model while it trains, beside the model and never over it."""

import copy

import torch
from torch import nn


class Average:
    """Averaged weights and batch norm statistics, in evaluation mode, as `model`.

    The decay warms up with the step, so that a short run does not end as the mean of its beginning; being a function
    of the step, it resumes exactly.

    Args:
        model: the model that trains.
        decay: share of the average that one step keeps, at most; in (0, 1).
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.decay = decay
        pairs = list(zip(self.model.state_dict().values(), model.state_dict().values(), strict=True))
        self.averaged = [pair for pair in pairs if pair[0].is_floating_point()]
        self.counted = [pair for pair in pairs if not pair[0].is_floating_point()]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the model behind step `step`, from 0."""
        decay = min(self.decay, (1 + step) / (10 + step))
        means, values = (list(side) for side in zip(*self.averaged, strict=True))
        torch._foreach_lerp_(means, values, 1 - decay)
        for mean, value in self.counted:
            mean.copy_(value)
