"""Where a worker stands: its job, its node among the nodes, and where the ranks meet.

Reads the environment that Slurm or the local queue set, and asks `scontrol` for addresses.
"""

import os
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import msgspec
import psutil

from jobs import records
from jobs.errors import SchedulerError
from jobs.rundir import RunDir

_FIRST_PORT = 20000
_PORTS = 10000
_MEETING_TIMEOUT_S = 300.0


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """One node's part in one attempt. `key` is the same on all nodes and new for each attempt."""

    executor: str
    job_id: str
    key: str
    node: int
    nodes: tuple[str, ...]
    host: str

    @property
    def is_head(self) -> bool:
        return self.node == 0


class Meeting(msgspec.Struct, frozen=True, kw_only=True):
    """Where the ranks of an attempt meet; the head node writes it to `rendezvous.json`."""

    key: str
    attempt: int
    address: str
    port: int


def here(executor: str) -> Place:
    """The place of this process, started by Slurm or by the local queue."""
    if executor == "local":
        host = socket.gethostname()
        job_id = os.environ.get("SUBMITIT_LOCAL_JOB_ID", str(os.getpid()))
        return Place(
            executor=executor, job_id=job_id, key=f"{job_id}.{time.time_ns()}", node=0, nodes=(host,), host=host
        )
    raw, restart = os.environ["SLURM_JOB_ID"], os.environ.get("SLURM_RESTART_COUNT", "0")
    array, index = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    nodes = _hostnames(os.environ["SLURM_JOB_NODELIST"])
    return Place(
        executor=executor,
        job_id=f"{array}_{index}" if array else raw,
        key=f"{raw}.{restart}",
        node=int(os.environ.get("SLURM_NODEID", "0")),
        nodes=nodes,
        host=os.environ.get("SLURMD_NODENAME") or socket.gethostname(),
    )


def call_meeting(run: RunDir, place: Place, attempt: int) -> Meeting:
    """On the head node: choose an address and a free port, and tell the other nodes.

    The port follows from the job's number, so that jobs on one node rarely compete, and is probed.
    """
    number = int("".join(char for char in place.key.split(".")[0] if char.isdigit()) or 0)
    meeting = Meeting(key=place.key, attempt=attempt, address=_address(place.host), port=free_port(number))
    records.write_record(run.path / "rendezvous.json", meeting)
    return meeting


def join_meeting(run: RunDir, place: Place) -> Meeting:
    """On the other nodes: wait until the head node has called this attempt's meeting.

    Raises:
        SchedulerError: it did not within five minutes.
    """
    deadline = time.monotonic() + _MEETING_TIMEOUT_S
    while time.monotonic() < deadline:
        meeting = records.read_record(run.path / "rendezvous.json", Meeting)
        if meeting and meeting.key == place.key:
            return meeting
        time.sleep(0.2)
    raise SchedulerError(f"lost rendezvous: {place.nodes[0]} called no meeting within {_MEETING_TIMEOUT_S:.0f} s")


def free_port(number: int) -> int:
    """A TCP port that is free on this machine, below the ephemeral range."""
    for offset in range(_PORTS):
        port = _FIRST_PORT + (number + offset) % _PORTS
        with socket.socket() as probe:
            try:
                probe.bind(("", port))
            except OSError:
                continue
            return port
    raise SchedulerError(f"no free port from {_FIRST_PORT} to {_FIRST_PORT + _PORTS - 1}")


def interface_towards(address: str) -> str | None:
    """The network interface that reaches an address, for gloo, which else trusts the host's name."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((address, 9))
        except OSError:
            return None
        mine = probe.getsockname()[0]
    names = [name for name, entries in psutil.net_if_addrs().items() if any(entry.address == mine for entry in entries)]
    return names[0] if names else None


def _address(host: str) -> str:
    """An address of this node that others reach: by name, else as Slurm knows it.

    Names of many machines resolve to loopback on the machine itself, so that is not trusted.
    """
    by_name = _resolved(host)
    if by_name and not by_name.startswith("127."):
        return by_name
    known = _scontrol("show", "node", host, "-o").partition("NodeAddr=")[2].split(" ", 1)[0]
    return _resolved(known) or by_name or "127.0.0.1"


def _resolved(name: str) -> str | None:
    try:
        return socket.gethostbyname(name) if name else None
    except OSError:
        return None


def _hostnames(nodelist: str) -> tuple[str, ...]:
    """Slurm's compressed node list, in the order of `SLURM_NODEID`."""
    return tuple(_scontrol("show", "hostnames", nodelist).split()) or (nodelist,)


def _scontrol(*arguments: str) -> str:
    try:
        done = subprocess.run(["scontrol", *arguments], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


def scratch(place: Place) -> Path:
    """A new folder on this node for one attempt, in `$TMPDIR` or `/tmp`.

    Its name is nobody else's: clusters that share a host, or one that counts anew, give jobs the same numbers.
    """
    parent = Path(os.environ.get("TMPDIR") or "/tmp") / f"detrun-{os.getuid()}"
    parent.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix=f"{place.key}-{place.node}-", dir=parent))
