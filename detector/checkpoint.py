"""Checkpoints: whole or absent, on disk before they count, loadable with `weights_only`.

`last.pt` is replaced by write, fsync, rename, and the one before it is kept as `previous.pt` until the new one
stands. `best.pt` is another name of the `last.pt` of its time.
"""

import os
import pickle
import shutil
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from detector.errors import UserError

SCHEMA = 1

State = dict[str, Any]


def save(path: Path, state: State) -> None:
    """Replace a checkpoint.

    Raises:
        UserError: the disk is full or the folder cannot be written; the old checkpoint stands.
    """
    temporary = path.with_suffix(".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            torch.save(state | {"schema": SCHEMA}, file)
            file.flush()
            os.fsync(file.fileno())
        _keep_previous(path)
        temporary.replace(path)
        _sync_folder(path.parent)
    except (OSError, RuntimeError) as error:
        # torch's zip writer reports a full disk as a RuntimeError.
        temporary.unlink(missing_ok=True)
        if isinstance(error, RuntimeError) and not _is_full(path.parent):
            raise
        reason = error.strerror if isinstance(error, OSError) else "no space left on device"
        raise UserError(f"cannot write {path}: {reason}", "free some space and `detrun retry` the run") from None


class Writer:
    """Saves in a thread while training goes on, one checkpoint at a time, in the order in which they were given.

    What the state holds when `save` returns is what is written. The interpreter does not end before the thread has.
    """

    def __init__(self) -> None:
        self.thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self.pending: Future[None] | None = None

    def save(self, path: Path, state: State) -> None:
        """Replace a checkpoint, soon.

        Raises:
            UserError: the one before could not be written.
        """
        self.wait()
        self.pending = self.thread.submit(save, path, on_host(state))

    def wait(self) -> None:
        """Until what was given is on disk.

        Raises:
            UserError: it could not be written.
        """
        pending, self.pending = self.pending, None
        if pending is not None:
            pending.result()


def on_host(state: Any) -> Any:
    """A copy of nested values whose tensors lie in host memory and stay as they are."""
    if isinstance(state, Tensor):
        return state.detach().to("cpu", copy=True)
    if isinstance(state, dict):
        return {key: on_host(value) for key, value in state.items()}
    if isinstance(state, list | tuple):
        return type(state)(on_host(value) for value in state)
    return state


def load(path: Path, device: torch.device | str = "cpu") -> State:
    """Read a checkpoint of ours.

    Raises:
        UserError: it is torn, or of another program.
    """
    try:
        state = torch.load(path, map_location=device, weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        hint = "it is torn, or no checkpoint of detrun"
        raise UserError(f"cannot read checkpoint {path}: {first[:200]}", hint) from None
    if not isinstance(state, dict) or "model" not in state or state.get("schema") != SCHEMA:
        raise UserError(f"{path} is no checkpoint of detrun", f"it lacks `model` or `schema` {SCHEMA}")
    return state


def resume(folder: Path, device: torch.device | str = "cpu") -> tuple[State | None, str]:
    """The newest checkpoint that can be read, and a word on what could not; `None` where there is none.

    Raises:
        UserError: there are checkpoints and none can be read.
    """
    complaints: list[str] = []
    for path in (folder / "last.pt", folder / "previous.pt"):
        if path.exists():
            try:
                return load(path, device), "; ".join(complaints)
            except UserError as error:
                complaints.append(str(error))
    if complaints:
        raise UserError("; ".join(complaints), f"move {folder} away to start from the beginning")
    return None, ""


def keep_as_best(folder: Path) -> None:
    """Name the last checkpoint the best: a hard link where the file system has them, else a copy."""
    last, best, temporary = folder / "last.pt", folder / "best.pt", folder / "best.partial"
    temporary.unlink(missing_ok=True)
    try:
        os.link(last, temporary)
    except OSError:
        shutil.copyfile(last, temporary)
    temporary.replace(best)


def _keep_previous(path: Path) -> None:
    if path.name == "last.pt" and path.exists():
        path.replace(path.with_name("previous.pt"))


def _sync_folder(folder: Path) -> None:
    """Make the renames last through a power loss."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _is_full(folder: Path) -> bool:
    return shutil.disk_usage(folder).free < 64 << 20
