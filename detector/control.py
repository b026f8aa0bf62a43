"""How a rank hears that it should stop, and says that it lives and how it ended.

The worker of the job layer names a node-local folder in `$DETRUN_CONTROL`; a rank started by hand has none and
then listens to signals alone. Files there: `stop` (the worker was told to stop), `beat_<rank>` (touched by every
rank at every step), `outcome` (`done` or `stopped`, by local rank 0).
"""

import os
import signal
from pathlib import Path
from types import FrameType


class Control:
    """A rank's line to its worker. Make it first, before the slow imports: it installs the signal handlers."""

    def __init__(self, rank: int, local_rank: int) -> None:
        folder = os.environ.get("DETRUN_CONTROL")
        self.folder = Path(folder) if folder else None
        self.rank = rank
        self.local_rank = local_rank
        self._stop = False
        for number in (signal.SIGUSR2, signal.SIGTERM):
            signal.signal(number, self._catch)
        # A stop from before the handlers stood left a file behind, so none is lost.
        if self.folder and (self.folder / "stop").exists():
            self._stop = True

    @property
    def stop_requested(self) -> bool:
        """Whether this rank was told to stop; the ranks must agree before one does."""
        return self._stop

    def beat(self) -> None:
        """Say that this rank makes progress."""
        if self.folder:
            (self.folder / f"beat_{self.rank}").touch()

    def end(self, outcome: str) -> None:
        """Say how the run ended here."""
        if self.folder and self.local_rank == 0:
            (self.folder / "outcome").write_text(outcome)

    def _catch(self, _number: int, _frame: FrameType | None) -> None:
        self._stop = True
