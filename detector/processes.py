"""The processes of one run: torchrun's ranks, NCCL on GPUs and gloo on CPUs, one code path for any number."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import timedelta
from inspect import signature
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from detector.errors import UserError
from detector.memory import keep_freed_memory

Value = TypeVar("Value")

_TIMEOUT = timedelta(minutes=10)
_NEWS_S = 1.0


class Ranks:
    """This process among the others. `control` is a gloo group for small things that must not touch a GPU."""

    def __init__(self) -> None:
        self.rank = int(os.environ.get("RANK", "0"))
        self.local_rank = int(os.environ.get("LOCAL_RANK", "0"))
        self.world = int(os.environ.get("WORLD_SIZE", "1"))
        self.device = _device(self.local_rank)
        self.control: Any = None

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def join(self) -> None:
        """Meet the other ranks; nothing to do for one alone."""
        if self.world == 1:
            return
        if self.device.type == "cuda":
            dist.init_process_group("cpu:gloo,cuda:nccl", timeout=_TIMEOUT, device_id=self.device)
        else:
            dist.init_process_group("gloo", timeout=_TIMEOUT)
        self.control = dist.new_group(backend="gloo", timeout=_TIMEOUT)

    def leave(self) -> None:
        """Part from the other ranks."""
        if self.world > 1:
            dist.destroy_process_group()

    def wrap(self, model: nn.Module) -> nn.Module:
        """The model as the training step calls it.

        Buffers are not broadcast at every step: only rank 0's batch norm statistics are ever used.
        """
        if self.world == 1:
            return model
        wrapped = nn.parallel.DistributedDataParallel
        # Newer versions of torch warn of the older name.
        names = ("forward_sync_buffers", "broadcast_buffers")
        known = next(name for name in names if name in signature(wrapped).parameters)
        device_ids = [self.device.index] if self.device.type == "cuda" else None
        options: dict[str, Any] = {known: False}
        return wrapped(model, device_ids=device_ids, gradient_as_bucket_view=True, **options)

    def with_shared_norms(self, model: nn.Module) -> nn.Module:
        """The model with batch normalisation over the images of all ranks.

        Raises:
            UserError: the ranks are on CPUs, for which torch has no such layer.
        """
        if self.world == 1:
            return model
        if self.device.type != "cuda":
            raise UserError("model.sync_norm: torch normalises across processes on GPUs alone", "leave it at false")
        converted: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
        return converted

    def share_buffers(self, model: nn.Module) -> None:
        """Give every rank the batch norm statistics of rank 0, so that all evaluate the same model."""
        if self.world > 1:
            for buffer in model.buffers():
                dist.broadcast(buffer, src=0)

    def mean(self, values: Tensor) -> Tensor:
        """The mean over ranks."""
        if self.world > 1:
            dist.all_reduce(values)
            values /= self.world
        return values

    def gather(self, value: Value) -> list[Value]:
        """Every rank's value, in order of rank, on rank 0; an empty list elsewhere."""
        if self.world == 1:
            return [value]
        values: list[Any] | None = [None] * self.world if self.is_first else None
        dist.gather_object(value, values, group=self.control)
        return values or []

    def gather_all(self, value: Value) -> list[Value]:
        """Every rank's value, in order of rank, on every rank."""
        if self.world == 1:
            return [value]
        values: list[Any] = [None] * self.world
        dist.all_gather_object(values, value, group=self.control)
        return values

    def from_first(self, value: Value) -> Value:
        """Rank 0's value."""
        box = [value]
        if self.world > 1:
            dist.broadcast_object_list(box, src=0, group=self.control)
        return box[0]

    def first_alone(self, work: Callable[[], Value], meanwhile: Callable[[], None]) -> Value | None:
        """What rank 0 does by itself, however long that takes: its result there, `None` elsewhere.

        No rank waits for another beyond the time limit of a collective, and all call `meanwhile` about every second.
        """
        with ThreadPoolExecutor(1) as thread:
            pending = thread.submit(work) if self.is_first else None
            while not self.from_first(pending is not None and bool(wait([pending], _NEWS_S).done)):
                meanwhile()
            return pending.result() if pending else None


class Vote:
    """Whether any rank wants something: asked while the step computes, answered at its end, alike on all ranks."""

    def __init__(self, ranks: Ranks) -> None:
        self.ranks = ranks
        self.ballot = torch.zeros(1, dtype=torch.int32)
        self.pending: Any = None

    def ask(self, mine: bool) -> None:
        """Start counting."""
        self.ballot.fill_(int(mine))
        if self.ranks.world > 1:
            self.pending = dist.all_reduce(self.ballot, op=dist.ReduceOp.MAX, group=self.ranks.control, async_op=True)

    def answer(self) -> bool:
        """The result of the last `ask`."""
        if self.pending is not None:
            self.pending.wait()
            self.pending = None
        return bool(self.ballot.item())


def _device(local_rank: int) -> torch.device:
    """This rank's GPU, or the CPU where the run has none.

    Raises:
        UserError: the job was given GPUs that torch cannot use.
    """
    if torch.cuda.is_available():
        torch.cuda.set_device(local_rank)
        # Others add in an order that changes from run to run, and a resumed run would not be the undisturbed one.
        torch.backends.cudnn.deterministic = True
        return torch.device("cuda", local_rank)
    wanted = int(os.environ.get("DETRUN_GPUS", "0"))
    if wanted:
        raise UserError(
            f"the job has {wanted} GPUs a node and torch {torch.__version__} sees none",
            "check the driver with nvidia-smi, or train on the CPU with --gpus 0",
        )
    keep_freed_memory()
    return torch.device("cpu")
