"""What a checkpoint holds, to the last bit, whatever the order in which it was written."""

import hashlib
from pathlib import Path
from typing import Any

import torch


def fingerprint(path: Path) -> str:
    """The same for states that are equal bit by bit."""
    whole = hashlib.sha256()
    for name, value in sorted(_leaves(torch.load(path, weights_only=True), "")):
        whole.update(f"{name} ".encode() + value)
    return whole.hexdigest()


def _leaves(value: Any, name: str) -> list[tuple[str, bytes]]:
    if isinstance(value, torch.Tensor):
        shape = f"{value.dtype}{tuple(value.shape)}".encode()
        return [(name, shape + value.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())]
    if isinstance(value, dict):
        return [leaf for key, inner in value.items() for leaf in _leaves(inner, f"{name}.{key}")]
    if isinstance(value, list | tuple):
        return [leaf for place, inner in enumerate(value) for leaf in _leaves(inner, f"{name}.{place}")]
    return [(name, repr(value).encode())]
