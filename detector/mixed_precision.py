"""Mixed precision, and what keeps a step whose numbers overflow from doing harm. No I/O."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

_DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


class MixedPrecision:
    """How a model computes, and its optimizer's steps: in fp16 and bf16 the broken ones are left out and counted.

    A step is broken where any gradient is inf or NaN. fp16 scales its gradients, and scales them less behind such a
    step; bf16 reaches as far as float32 and has no need to. In fp32 nothing is left out.

    Args:
        model: the model that trains, on its device.
        precision: as `config.Train` has it.
        device: of the model.
    """

    def __init__(self, model: nn.Module, precision: str, device: torch.device) -> None:
        self.device, self.dtype = device.type, _DTYPES[precision]
        self.enabled, self.scaled = precision != "fp32", precision == "fp16"
        self.scaler = torch.amp.GradScaler(
            device.type, init_scale=2.0**16 if self.scaled else 1.0, enabled=self.enabled
        )
        self.statistics = _Statistics(model) if self.enabled else None
        self.one = torch.ones((), device=device)
        self.left_out, self.in_a_row = torch.zeros(2, dtype=torch.int64, device=device)

    def autocast(self) -> torch.autocast:
        """For a forward pass; off for fp32."""
        return torch.autocast(self.device, dtype=self.dtype, enabled=self.enabled)

    def backward(self, loss: Tensor) -> None:
        """Add to the gradients."""
        torch.autograd.backward(self.scaler.scale(loss))

    def clip(self, optimizer: torch.optim.Optimizer, parameters: Iterable[Tensor], norm: float) -> None:
        """Bound the norm of the gradient."""
        self.scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(parameters, norm)

    def step(self, optimizer: torch.optim.Optimizer) -> None:
        """Step where no gradient has overflowed; the count of the others stays on the device."""
        if self.statistics is None:
            optimizer.step()
            return
        before = self.scaler.scale(self.one)
        self.scaler.step(optimizer)
        self.scaler.update()
        left_out = (self.scaler.scale(self.one) < before).long()
        self.left_out += left_out
        self.in_a_row += 1
        self.in_a_row *= left_out
        if not self.scaled:
            self.scaler.update(1.0)
        self.statistics.mend()

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds; waits for the device."""
        return {"scaler": self.scaler.state_dict(), "skipped": int(self.left_out)}

    def restore(self, state: dict[str, Any]) -> None:
        """Take up a checkpoint's state, behind the model's."""
        self.scaler.load_state_dict(state["scaler"])
        self.left_out.fill_(state["skipped"])
        if self.statistics:
            self.statistics.take()


class _Statistics:
    """Running means and variances of batch normalisation: a forward pass that overflows would spoil them for good."""

    def __init__(self, model: nn.Module) -> None:
        norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
        self.values = [value for norm in norms for value in (norm.running_mean, norm.running_var) if value is not None]
        self.take()

    def take(self) -> None:
        """Hold the present values for good ones."""
        self.good = torch.cat(self.values) if self.values else torch.empty(0)

    @torch.no_grad()
    def mend(self) -> None:
        """Put back the last good value where one is inf or NaN; waits for nothing."""
        if not self.values:
            return
        now = torch.cat(self.values)
        self.good = torch.where(now.isfinite(), now, self.good)
        torch._foreach_copy_(self.values, torch.split(self.good, [len(value) for value in self.values]))
