"""The model while it learns: one optimizer step, and everything that a checkpoint must hold of it."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from detector.average import Average
from detector.batch import AnyBatch
from detector.compilation import compiled
from detector.config import Optim, Train
from detector.mixed_precision import MixedPrecision
from detector.models import Detector, weight_decay_groups
from detector.processes import Ranks
from detector.schedule import learning_rate
from detector.transfer import Transfer


class Learner:
    """A detector with its optimizer, gradient scaler, schedule and average.

    Attributes:
        model: as checkpoints have it.
        wrapped: the same with the exchange of gradients around it.
        forward: the same as the step calls it; compiled where the run compiles.
        accumulate: micro-batches per step, alike on all ranks.
        threads: cores that this rank computes with.
    """

    def __init__(self, model: Detector, config: Train, ranks: Ranks, steps: int) -> None:
        self.config = config
        self.ranks = ranks
        self.steps = steps
        self.model: nn.Module = model.to(ranks.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.transfer = Transfer(ranks.device)
        if config.model.norm_momentum:
            _set_norm_momentum(self.model, config.model.norm_momentum)
        if config.model.sync_norm:
            self.model = ranks.with_shared_norms(self.model)
        self.wrapped = ranks.wrap(self.model)
        self.forward: Callable[..., Any] = compiled(self.wrapped, ranks.device) if config.compile else self.wrapped
        self.average = Average(self.model, config.optim.ema) if config.optim.ema else None
        self.accumulate = _micro_batches(config.optim, ranks.world)
        self.optimizer = _optimizer(self.model, config)
        self.precision = MixedPrecision(self.model, config.precision, ranks.device)
        self.threads = torch.get_num_threads()

    def images(self, batch: AnyBatch) -> Tensor:
        """A batch's images on the device: (B, 3, H, W) float in [0, 1]."""
        return self.transfer.images(batch)

    def step(self, batches: Sequence[AnyBatch], step: int) -> tuple[Tensor, tuple[str, ...]]:
        """One optimizer step over this rank's micro-batches of one global batch.

        The generator is seeded by the step, so that a model that draws random numbers resumes exactly.

        Returns:
            The loss parts (P,), detached and on the device, and their names.
        """
        torch.manual_seed((self.config.seed << 32) + step * self.ranks.world + self.ranks.rank)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.config.optim, self.config.schedule, step, self.steps)
        # A loss is a mean over a micro-batch, and the ranks' gradients are averaged: together, a mean over the batch.
        images = self.config.optim.batch_size / self.ranks.world
        parts = [
            self._backward(batch, last=batch is batches[-1], share=len(batch.images) / images) for batch in batches
        ]
        if self.config.optim.clip_norm:
            self.precision.clip(self.optimizer, self.model.parameters(), self.config.optim.clip_norm)
        self.precision.step(self.optimizer)
        self.optimizer.zero_grad(set_to_none=True)
        if self.average:
            self.average.update(step)
        return torch.stack([torch.stack(list(part.values())) for part in parts]).sum(0), tuple(parts[0])

    def broken(self) -> str | None:
        """The name of a weight that is inf or NaN, `None` where all are numbers; waits for the device."""
        if nn.utils.get_total_norm(self.model.parameters(), float("inf")).isfinite():
            return None
        return next(name for name, weight in self.model.named_parameters() if not weight.isfinite().all())

    @property
    def evaluated(self) -> nn.Module:
        """The model by which the run is judged: the average where there is one."""
        return self.average.model if self.average else self.model

    @property
    def lr(self) -> float:
        """The rate of the last step."""
        return float(self.optimizer.param_groups[0]["lr"])

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds."""
        average = {"average": self.average.model.state_dict()} if self.average else {}
        return average | {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            **self.precision.state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take up a checkpoint's state."""
        self.model.load_state_dict(state["model"])
        if self.average:
            self.average.model.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.precision.restore(state)

    def _backward(self, batch: AnyBatch, *, last: bool, share: float) -> dict[str, Tensor]:
        """Gradients of one micro-batch; the ranks exchange them only behind the last one."""
        if not last and self.wrapped is not self.model:
            self.wrapped.require_backward_grad_sync = False  # type: ignore[assignment]
        with self.precision.autocast():
            losses = self.forward(self.images(batch), self.transfer.copied(batch.targets))
        self.precision.backward(sum(losses.values()) * share)
        if self.wrapped is not self.model:
            self.wrapped.require_backward_grad_sync = True  # type: ignore[assignment]
        return {name: loss.detach() * share for name, loss in losses.items()}


def _set_norm_momentum(model: nn.Module, momentum: float) -> None:
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = momentum


def _micro_batches(optim: Optim, world: int) -> int:
    """Parts into which the largest share of a rank falls."""
    share = -(-optim.batch_size // world)
    return -(-share // (optim.micro_batch or share))


def _optimizer(model: nn.Module, config: Train) -> torch.optim.Optimizer:
    groups = weight_decay_groups(model, config.optim.weight_decay)
    if config.optim.name == "adamw":
        return torch.optim.AdamW(groups, lr=config.optim.lr, betas=(config.optim.momentum, 0.999), fused=True)
    return torch.optim.SGD(groups, lr=config.optim.lr, momentum=config.optim.momentum, fused=True)
