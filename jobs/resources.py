"""What a run needs of a machine: a pure value, and the parsing of Slurm's time formats."""

import re
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from detector.config import nearest
from jobs.errors import ResourceError

_CLOCK = re.compile(r"(?:(?P<days>\d+)-)?(?P<clock>\d+(?::\d+){0,2})")
_SUFFIX_MIN = {"m": 1, "h": 60, "d": 1440}


class Resources(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Resources of one run. `gpus`, `procs`, `cpus` and `mem_gib` count per node.

    With `gpus` 0 a run trains on the CPU with `procs` gloo processes per node. `max_requeues` ends a run
    that is stopped again and again; `retries` restarts one after a failure that is worth it (a lost node
    or rendezvous). `hang_min` is how long a rank may make no step. `python` replaces the interpreter
    in the job, for instance `apptainer exec image.sif python`. `stage` is a folder on each node, variables
    allowed, to which the data are copied first.
    """

    nodes: Annotated[int, Meta(ge=1)] = 1
    gpus: Annotated[int, Meta(ge=0)] = 0
    procs: Annotated[int, Meta(ge=1)] = 1
    cpus: Annotated[int, Meta(ge=1)] | None = None
    mem_gib: Annotated[float, Meta(gt=0)] | None = None
    time_min: Annotated[int, Meta(ge=1)] = 1440
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    sbatch: dict[str, str] = {}
    setup: tuple[str, ...] = ()
    python: str | None = None
    stage: str | None = None
    max_parallel: Annotated[int, Meta(ge=1)] | None = None
    max_requeues: Annotated[int, Meta(ge=0)] = 20
    retries: Annotated[int, Meta(ge=0)] = 2
    hang_min: Annotated[float, Meta(gt=0)] = 15.0

    @property
    def procs_per_node(self) -> int:
        """Processes that torchrun starts on each node: one per GPU, else `procs`."""
        return self.gpus or self.procs

    @property
    def world_size(self) -> int:
        """Processes over all nodes."""
        return self.nodes * self.procs_per_node

    @property
    def cpus_per_node(self) -> int:
        """`cpus`, else eight for each GPU or two for each CPU process."""
        return self.cpus or (8 * self.gpus if self.gpus else 2 * self.procs)

    @property
    def grace_s(self) -> int:
        """Seconds before the time limit at which a run is told to save and stop."""
        return min(120, self.time_min * 60 // 3)


def load(table: dict[str, Any], where: str) -> Resources:
    """Check a `[resources]` table; `time` in it takes every form that `--time` takes.

    Raises:
        ResourceError: an unknown key or a wrong value; `where` names the source.
    """
    table = dict(table)
    if "time" in table:
        table["time_min"] = minutes(str(table.pop("time")))
    names = list(Resources.__struct_fields__)
    for name in table:
        if name not in names:
            raise ResourceError(f"{where}: unknown key `resources.{name}`", nearest(name, [*names, "time"]))
    try:
        return msgspec.convert(table, Resources)
    except msgspec.ValidationError as error:
        raise ResourceError(f"{where}: resources: {error}") from None


def minutes(text: str) -> int:
    """Minutes in a time limit: `90`, `90m`, `4h`, `2d`, and Slurm's `mm:ss`, `hh:mm:ss`, `d-hh[:mm[:ss]]`.

    Seconds are rounded up to a whole minute, because Slurm counts in minutes.

    Raises:
        ResourceError: not a time limit.
    """
    text = text.strip()
    if text[-1:] in _SUFFIX_MIN and re.fullmatch(r"\d+(\.\d+)?", text[:-1]):
        total_s = float(text[:-1]) * _SUFFIX_MIN[text[-1]] * 60
    elif match := _CLOCK.fullmatch(text):
        total_s = _clock_s(match["days"], [int(part) for part in match["clock"].split(":")])
    else:
        raise ResourceError(f"--time {text!r} is not a time limit", "use 90 (minutes), 90m, 4h or 1-12:00:00")
    if total_s <= 0:
        raise ResourceError(f"--time {text!r} leaves no time", "use 90 (minutes), 90m, 4h or 1-12:00:00")
    return -int(-total_s // 60)


def _clock_s(days: str | None, parts: list[int]) -> float:
    """Slurm reads one number as minutes, or as hours behind days, and counts on to the right from there."""
    if days is not None:
        hours, mins, secs = [*parts, 0, 0][:3]
        return ((int(days) * 24 + hours) * 60 + mins) * 60 + secs
    if len(parts) == 3:
        return (parts[0] * 60 + parts[1]) * 60 + parts[2]
    mins, secs = [*parts, 0][:2]
    return mins * 60 + secs
