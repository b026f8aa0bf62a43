"""Several ranks in processes of their own, without torchrun."""

import os
import socket
from collections.abc import Callable
from typing import Any

import torch
import torch.multiprocessing

from detector.processes import Ranks


def on_ranks(work: Callable[..., None], *arguments: Any, world: int = 2) -> None:
    """Call `work(ranks, *arguments)` on each of so many ranks, which joins them itself."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    torch.multiprocessing.spawn(_on_rank, (world, port, work, arguments), nprocs=world)


def _on_rank(rank: int, world: int, port: int, work: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    torch.set_num_threads(1)
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(world), "MASTER_ADDR": "localhost", "MASTER_PORT": str(port)}
    ranks = Ranks()
    work(ranks, *arguments)
    ranks.leave()
