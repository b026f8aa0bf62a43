"""The torchrun of one node: its command line and its environment. Pure but for asking which interface to use."""

import os
import sys
from pathlib import Path
from typing import Any

from jobs import overrides, processes
from jobs.place import Meeting, Place, interface_towards
from jobs.plan import PLACEHOLDER
from jobs.resources import Resources
from jobs.rundir import RunDir
from jobs.snapshot import PROJECT

# torchrun must outlive the signals that Slurm sends to every process of a step; the ranks handle them themselves.
_SHELL = 'trap "" TERM INT HUP USR1 USR2; exec "$@"'


def command(
    run: RunDir, config: dict[str, Any], needs: Resources, place: Place, meeting: Meeting, root: Path | None
) -> list[str]:
    """The argument list that starts this node's ranks, one log folder for each node and attempt.

    `root` is this node's copy of the data, `None` where there is none.
    """
    logs = node_logs(run, meeting.attempt, place.node)
    arguments = [f"--nnodes={needs.nodes}", f"--nproc-per-node={needs.procs_per_node}", "--max-restarts=0"]
    arguments += [f"--log-dir={logs}", "--redirects=3", "--signals-to-handle=SIGQUIT"]
    if needs.nodes == 1:
        arguments.append("--standalone")
    else:
        arguments += [f"--node-rank={place.node}", f"--rdzv-id={place.key}"]
        arguments += [f"--master-addr={meeting.address}", f"--master-port={meeting.port}"]
    torchrun = [sys.executable, "-m", "torch.distributed.run", *arguments]
    return ["sh", "-c", _SHELL, "sh", *torchrun, *_program(run, config, root)]


def environment(
    run: RunDir, needs: Resources, place: Place, meeting: Meeting, control: Path, root: Path | None
) -> dict[str, str]:
    """The ranks' environment: what is ours replaces, what a user may have set stays."""
    threads = max(1, needs.cpus_per_node // needs.procs_per_node)
    settings = {
        **processes.marks(run.path, place.node),
        processes.KEY: place.key,
        "DETRUN_CONTROL": str(control),
        "DETRUN_HOST": place.host,
        "DETRUN_ATTEMPT": str(meeting.attempt),
        "DETRUN_GPUS": str(needs.gpus),
        "DETRUN_CPUS": str(needs.cpus_per_node),
        "PYTHONPATH": os.pathsep.join([str(run.code), *filter(None, [os.environ.get("PYTHONPATH")])]),
        "PYTHONUNBUFFERED": "1",
        "TORCHELASTIC_SHUTDOWN_TIMEOUT": "10",
    }
    if root:
        settings["DETRUN_DATA_ROOT"] = str(root)
    if not needs.gpus:
        settings["CUDA_VISIBLE_DEVICES"] = ""
    defaults = {"OMP_NUM_THREADS": str(threads)}
    interface = interface_towards(meeting.address) if needs.nodes > 1 else None
    if interface:
        defaults["GLOO_SOCKET_IFNAME"] = interface
    return {**defaults, **os.environ, **settings}


def folder(run: RunDir, workdir: str) -> Path:
    """Where the ranks start: a foreign trainer in its own snapshot, ours in the run directory."""
    return run.code / PROJECT / workdir if (run.code / PROJECT).is_dir() else run.path


def node_logs(run: RunDir, attempt: int, node: int) -> Path:
    """torchrun's log folder of one node and attempt."""
    return run.attempt_logs(attempt) / f"node_{node}"


def agent_log(run: RunDir, attempt: int, node: int) -> Path:
    """torchrun's own output on one node."""
    return run.attempt_logs(attempt) / f"torchrun_{node}.log"


def _program(run: RunDir, config: dict[str, Any], root: Path | None) -> list[str]:
    if "command" not in config:
        return ["-m", "detector.train", str(run.path)]
    params = overrides.apply(config["params"], {"data.root": str(root)}) if root else config["params"]

    def fill(text: str) -> str:
        return PLACEHOLDER.sub(lambda match: _value(match[1], run, params), text)

    return [fill(part) for part in config["command"]]


def _value(key: str, run: RunDir, params: dict[str, Any]) -> str:
    return str(run.path) if key == "run_dir" else overrides.show(overrides.lookup(params, key))
