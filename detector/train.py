"""One rank of a training run: `torchrun -m detector.train RUN_DIR`. The config comes from `RUN_DIR/config.json`.

Covers a run from its first step or its last checkpoint to its end. Not covered: choosing resources, restarting after
a failure, and anything about several runs; that is the job layer's.
"""

import ctypes
import os
import signal
import sys
from pathlib import Path

import msgspec

from detector import config
from detector.config import Train
from detector.control import Control
from detector.errors import UserError

# The first changes nothing of what is learnt but batch normalisation, which sees one part at a time.
_SMALLER = "parts of a batch, one after the other: --set optim.micro_batch=N; or a smaller batch, image or precision"


def main() -> None:
    """Train, and tell the worker how it ended."""
    os.dup2(1, 2)  # one log per rank, in order
    _die_with_torchrun()
    control = Control(int(os.environ.get("RANK", "0")), int(os.environ.get("LOCAL_RANK", "0")))
    from torch.distributed.elastic.multiprocessing.errors import record

    try:
        record(_train)(Path(sys.argv[1]), control)
    except UserError as error:
        print(f"error: {error}\nhint: {error.hint}" if error.hint else f"error: {error}", flush=True)  # noqa: T201
        sys.exit(1)


def _train(run: Path, control: Control) -> None:
    settings = read_config(run / "config.json")
    import torch

    from detector.loop import Trainer
    from detector.processes import Ranks

    ranks = Ranks()
    ranks.join()
    try:
        outcome = Trainer(run, settings, ranks, control).go()
    except torch.OutOfMemoryError as error:
        # How much was asked for, of how much: the first three of its sentences.
        raise UserError(". ".join(str(error).split(". ")[:3]), _SMALLER) from None
    ranks.leave()
    control.end(outcome)


def read_config(path: Path) -> Train:
    """A run's resolved configuration; `$DETRUN_DATA_ROOT` names a copy of its data on this node.

    Raises:
        ConfigError: it does not fit this version of detrun.
    """
    settings = config.load(msgspec.json.decode(path.read_bytes()))
    root = os.environ.get("DETRUN_DATA_ROOT", settings.data.root)
    return msgspec.structs.replace(settings, data=msgspec.structs.replace(settings.data, root=root))


def _die_with_torchrun() -> None:
    """Ask the kernel to end this rank when torchrun is gone (prctl(2), PR_SET_PDEATHSIG), whatever ended it."""
    pr_set_pdeathsig = 1
    ctypes.CDLL(None, use_errno=True).prctl(pr_set_pdeathsig, signal.SIGKILL)


if __name__ == "__main__":
    main()
