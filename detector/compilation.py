"""torch.compile of the training step's forward and backward pass. Needs a C++ compiler on this machine."""

import os
import shutil
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from detector.errors import UserError

# Input sizes that multi-scale training may have, each of which is compiled for itself.
_MOST_SIZES = 32


def compiled(model: nn.Module, device: torch.device) -> Callable[..., Any]:
    """What calls the model in training mode, compiled at its first call; the model itself stays as it is.

    Images are compiled for their size, targets for any number of boxes.

    Raises:
        UserError: there is no compiler.
    """
    if not any(map(shutil.which, (os.environ.get("CXX", "g++"), "clang++"))):
        raise UserError(
            f"compile: torch needs a C++ compiler on {device.type} and finds none", "install g++, or leave it at false"
        )
    dynamo: Any = torch._dynamo
    dynamo.config.recompile_limit = max(dynamo.config.recompile_limit, _MOST_SIZES)
    call = torch.compile(model)

    def forward(images: Tensor, targets: Tensor) -> dict[str, Tensor]:
        dynamo.mark_static(images)
        dynamo.maybe_mark_dynamic(targets, 0)
        losses: dict[str, Tensor] = call(images, targets)
        return losses

    return forward
