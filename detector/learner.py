"""The model while it learns: one optimizer step, and everything that a checkpoint must hold of it."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from detector.batch import AnyBatch
from detector.config import Train
from detector.models import Detector, weight_decay_groups
from detector.processes import Ranks
from detector.schedule import learning_rate

_DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


class Learner:
    """A detector with its optimizer, gradient scaler and schedule. `skipped` counts steps that AMP left out.

    `threads` are the cores that this rank computes with.
    """

    def __init__(self, model: Detector, config: Train, ranks: Ranks, steps: int) -> None:
        self.config = config
        self.ranks = ranks
        self.steps = steps
        layout = torch.channels_last if ranks.device.type == "cuda" else torch.contiguous_format
        self.model: nn.Module = model.to(ranks.device, memory_format=layout)  # type: ignore[call-overload]
        self.layout = layout
        self.wrapped = ranks.wrap(self.model)
        self.optimizer = _optimizer(self.model, config)
        self.scaler = torch.amp.GradScaler(ranks.device.type, enabled=config.precision == "fp16")
        self.skipped = 0
        self.threads = torch.get_num_threads()

    def autocast(self) -> torch.autocast:
        """Mixed precision for a forward pass; off for fp32."""
        precision = self.config.precision
        return torch.autocast(self.ranks.device.type, dtype=_DTYPES[precision], enabled=precision != "fp32")

    def images(self, batch: AnyBatch) -> Tensor:
        """A batch's images on the device: (B, 3, H, W) float in [0, 1]."""
        images = batch.images.to(self.ranks.device, non_blocking=True)
        return images.to(torch.float32, memory_format=self.layout).div_(255)

    def step(self, batches: Sequence[AnyBatch], step: int) -> tuple[Tensor, tuple[str, ...]]:
        """One optimizer step over this rank's micro-batches of one global batch.

        The generator is seeded by the step, so that a model that draws random numbers resumes exactly.

        Returns:
            The loss parts (P,), detached and on the device, and their names.
        """
        torch.manual_seed((self.config.seed << 32) + step * self.ranks.world + self.ranks.rank)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.config.optim, self.config.schedule, step, self.steps)
        parts = [self._backward(batch, last=batch is batches[-1], share=1 / len(batches)) for batch in batches]
        before = self.scaler.get_scale()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.skipped += self.scaler.get_scale() < before
        self.optimizer.zero_grad(set_to_none=True)
        return torch.stack([torch.stack(list(part.values())) for part in parts]).sum(0), tuple(parts[0])

    @property
    def lr(self) -> float:
        """The rate of the last step."""
        return float(self.optimizer.param_groups[0]["lr"])

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "skipped": self.skipped,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take up a checkpoint's state."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        self.skipped = state["skipped"]

    def _backward(self, batch: AnyBatch, *, last: bool, share: float) -> dict[str, Tensor]:
        """Gradients of one micro-batch; the ranks exchange them only behind the last one."""
        if not last and self.wrapped is not self.model:
            self.wrapped.require_backward_grad_sync = False  # type: ignore[assignment]
        with self.autocast():
            losses = self.wrapped(self.images(batch), batch.targets.to(self.ranks.device, non_blocking=True))
        self.scaler.scale(sum(losses.values()) * share).backward()
        if self.wrapped is not self.model:
            self.wrapped.require_backward_grad_sync = True  # type: ignore[assignment]
        return {name: loss.detach() * share for name, loss in losses.items()}


def _optimizer(model: nn.Module, config: Train) -> torch.optim.Optimizer:
    groups = weight_decay_groups(model, config.optim.weight_decay)
    if config.optim.name == "adamw":
        return torch.optim.AdamW(groups, lr=config.optim.lr, betas=(config.optim.momentum, 0.999), fused=True)
    return torch.optim.SGD(groups, lr=config.optim.lr, momentum=config.optim.momentum, fused=True)
