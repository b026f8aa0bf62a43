"""Slurm: the batch script, submission through submitit, and what squeue, sacct and scontrol say.

`script` is pure. Everything else runs one Slurm command and raises `SchedulerError` where that fails.
"""

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from jobs.errors import SchedulerError
from jobs.resources import Resources
from jobs.slurm_rows import HISTORY_COLUMNS, QUEUE_COLUMNS, HistoryRow, QueueRow, history_rows, queue_rows
from jobs.worker import Worker

_TIMEOUT_S = 20.0
_ASK_TIMEOUT_S = 3.0
# Slurm's default.
_ARRAY_SIZE = 1001


class Submission(msgspec.Struct, frozen=True, kw_only=True):
    """What goes into one `sbatch`: `runs` share a script. `folder` is submitit's and unique to it.

    `after` are the job ids that must end well first.
    """

    name: str
    folder: Path
    code: Path
    resources: Resources
    runs: tuple[Path, ...]
    after: tuple[str, ...] = ()


def available() -> bool:
    """Whether this machine can submit to Slurm."""
    return shutil.which("sbatch") is not None and shutil.which("srun") is not None


def script(submission: Submission) -> str:
    """The batch script, to the byte what `submit` sends. Works where there is no Slurm."""
    from submitit.slurm.slurm import _make_sbatch_string

    count = len(submission.runs)
    command = f"{_python(submission.resources)} -u -m submitit.core._submit {shlex.quote(str(submission.folder))}"
    text: str = _make_sbatch_string(
        command, submission.folder, map_count=count if count > 1 else None, **_parameters(submission)
    )
    return text


def submit(submission: Submission) -> list[str]:
    """Send one script for all its runs and return their job ids in order.

    Raises:
        SchedulerError: sbatch refused; its own words are in the message.
    """
    from submitit import SlurmExecutor
    from submitit.core.utils import FailedJobError, FailedSubmissionError

    try:
        executor = SlurmExecutor(folder=submission.folder, python=_python(submission.resources))
        executor.update_parameters(**_parameters(submission))
        jobs = executor.submit_array([Worker(run) for run in submission.runs])
    except (FailedJobError, FailedSubmissionError, OSError) as error:
        raise SchedulerError(f"sbatch refused: {_last_words(str(error))}", _sbatch_hint(str(error))) from None
    return [job.job_id for job in jobs]


def array_max(wanted: int) -> int:
    """How many of so many runs fit one array: the largest index is one less than `MaxArraySize`."""
    if wanted <= 1 or not available():
        return max(wanted, 1)
    shown = _run("scontrol", "show", "config", timeout_s=_ASK_TIMEOUT_S).stdout
    found = re.search(r"MaxArraySize\s*=\s*(\d+)", shown)
    return max(1, min(wanted, int(found[1]) if found else _ARRAY_SIZE))


def test(submission: Submission) -> None:
    """Let Slurm check a script without submitting it (`sbatch --test-only`).

    Raises:
        SchedulerError: it would be refused.
    """
    done = _run("sbatch", "--test-only", stdin=script(submission))
    if done.returncode != 0:
        raise SchedulerError(f"sbatch would refuse: {_last_words(done.stderr)}", _sbatch_hint(done.stderr))


def queue(users: Sequence[str]) -> list[QueueRow]:
    """All jobs of some users that the controller still knows, finished ones included.

    Raises:
        SchedulerError: squeue failed or took too long.
    """
    names = ",".join(sorted(set(users)))
    done = _run(
        "squeue",
        "--noheader",
        "--array",
        "--states=all",
        f"--user={names}",
        f"--format={QUEUE_COLUMNS}",
        timeout_s=_ASK_TIMEOUT_S,
    )
    if done.returncode != 0:
        raise SchedulerError(f"squeue failed: {_last_words(done.stderr)}")
    return queue_rows(done.stdout)


def history(job_ids: Sequence[str], since: float) -> list[HistoryRow]:
    """Every attempt of some jobs, from the accounting data base.

    Raises:
        SchedulerError: there is no accounting, or sacct failed.
    """
    start = datetime.fromtimestamp(since).strftime("%Y-%m-%dT%H:%M:%S")
    arguments = ["-D", "-X", "-P", "-n", f"--starttime={start}", f"--format={HISTORY_COLUMNS}"]
    done = _run("sacct", *arguments, f"--jobs={','.join(job_ids)}", timeout_s=_ASK_TIMEOUT_S)
    if done.returncode != 0:
        raise SchedulerError(f"sacct failed: {_last_words(done.stderr)}")
    return history_rows(done.stdout)


def cancel(job_ids: Sequence[str]) -> None:
    """End jobs, whatever state they are in. A job that has ended already is no error."""
    done = _run("scancel", *job_ids)
    if done.returncode != 0 and "Invalid job id" not in done.stderr:
        raise SchedulerError(f"scancel failed: {_last_words(done.stderr)}")


def _python(needs: Resources) -> str:
    """The interpreter, told to ignore the signals that may arrive before the worker handles them."""
    import sys

    inner = needs.python or shlex.quote(sys.executable)
    return f'sh -c \'trap "" TERM USR2; exec "$@"\' sh {inner}'


def _parameters(submission: Submission) -> dict[str, Any]:
    """submitit's parameters for `_make_sbatch_string`."""
    needs = submission.resources
    memory = {"mem": f"{int(needs.mem_gib * 1024)}M"} if needs.mem_gib else {}
    gpus = {"gpus_per_node": needs.gpus} if needs.gpus else {}
    named = {key: getattr(needs, key) for key in ("partition", "account", "qos", "constraint")}
    code = shlex.quote(str(submission.code))
    waits = {"dependency": ":".join(("afterok", *submission.after)), "kill-on-invalid-dep": "yes"}
    after = waits if submission.after else {}
    return {
        "job_name": submission.name,
        "time": needs.time_min,
        "nodes": needs.nodes,
        "ntasks_per_node": 1,
        "cpus_per_task": needs.cpus_per_node,
        **memory,
        **gpus,
        **{key: value for key, value in named.items() if value},
        "signal_delay_s": needs.grace_s,
        "array_parallelism": needs.max_parallel or len(submission.runs),
        "stderr_to_stdout": True,
        "wckey": None,
        "setup": [*needs.setup, f"export PYTHONPATH={code}${{PYTHONPATH:+:$PYTHONPATH}}"],
        "srun_args": _srun_arguments(needs),
        "additional_parameters": {"requeue": True, "chdir": str(submission.folder), **after, **needs.sbatch},
    }


def _srun_arguments(needs: Resources) -> list[str]:
    """srun inherits neither CPUs (since 22.05) nor, where a site exports nothing, the environment."""
    arguments = ["--export=ALL", "--kill-on-bad-exit=1", f"--cpus-per-task={needs.cpus_per_node}"]
    if needs.gpus:
        arguments.append(f"--gpus-per-node={needs.gpus}")
    if needs.mem_gib:
        arguments.append(f"--mem={int(needs.mem_gib * 1024)}M")
    return arguments


def _run(*command: str, stdin: str | None = None, timeout_s: float = _TIMEOUT_S) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "SLURM_BITSTR_LEN": "0", "SLURM_TIME_FORMAT": "standard"}
    try:
        return subprocess.run(
            command, input=stdin, capture_output=True, text=True, timeout=timeout_s, check=False, env=environment
        )
    except FileNotFoundError:
        raise SchedulerError(
            f"no `{command[0]}` on this machine", "submit from a login node, or use --on local"
        ) from None
    except subprocess.TimeoutExpired:
        raise SchedulerError(f"{command[0]} did not answer within {timeout_s:.0f} s") from None


def _last_words(text: str) -> str:
    """The line of a Slurm error that says what is wrong."""
    lines = [line.strip() for line in text.splitlines() if "error:" in line] or text.strip().splitlines()[-1:]
    words = lines[0] if lines else "no reason given"
    return words.partition("error: ")[2] or words


def _sbatch_hint(text: str) -> str:
    if "partition" in text:
        return "`sinfo -s` lists the partitions: --partition NAME"
    if "account" in text or "qos" in text.lower():
        return "`sacctmgr show assoc user=$USER` lists yours: --account NAME, --qos NAME"
    if "Requested node configuration" in text:
        return "no node has that many GPUs, CPUs or that much memory: see `sinfo -N -o '%N %c %m %G'`"
    if "Unable to contact" in text:
        return "the Slurm controller does not answer; try again later"
    return ""
