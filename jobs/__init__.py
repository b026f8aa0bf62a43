"""What machines see of detrun: recipes, plans, run directories, Slurm and the local queue.

For notebooks and scripts, the same functions that the command line uses:

    from jobs import submit, status
    submit("digits", sets=["optim.lr=1e-3,3e-4"], on="local")
    status().runs[0].state
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jobs.control import cancel, retry
    from jobs.overview import status
    from jobs.send import submit

__all__ = ["cancel", "retry", "status", "submit"]

_HOMES = {"cancel": "jobs.control", "retry": "jobs.control", "status": "jobs.overview", "submit": "jobs.send"}


def __getattr__(name: str) -> Any:
    """Import on first use, so that `import jobs` costs nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module `jobs` has no attribute `{name}`")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
