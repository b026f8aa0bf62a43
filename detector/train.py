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


def main() -> None:
    """Train, and tell the worker how it ended."""
    os.dup2(1, 2)  # one log per rank, in order
    _die_with_torchrun()
    control = Control(int(os.environ.get("RANK", "0")), int(os.environ.get("LOCAL_RANK", "0")))
    from torch.distributed.elastic.multiprocessing.errors import record

    record(_train)(Path(sys.argv[1]), control)


def _train(run: Path, control: Control) -> None:
    settings = read_config(run / "config.json")
    from detector.loop import Trainer
    from detector.processes import Ranks

    ranks = Ranks()
    ranks.join()
    outcome = Trainer(run, settings, ranks, control).go()
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
