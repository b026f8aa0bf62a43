"""Why an attempt failed: one line with rank and host, from what torchrun and the ranks left behind.

Reads log files, writes nothing.
"""

import contextlib
import re
import signal
from pathlib import Path

import msgspec
import psutil

_AGENT_LINE = re.compile(r"failed \(exitcode: (-?\d+)\) local_rank: (\d+) \(pid: \d+\)")
_EXCEPTION_LINE = re.compile(r"^(?:[\w.]+\.)?\w*(?:Error|Exception|Interrupt|Exit|Warning)\b.*")
# What the other ranks say when one has gone; it is never the cause.
_ECHO = re.compile(
    r"connection (?:closed by peer|reset|refused)|broken pipe|NCCL communicator was aborted|remote process exited"
    r"|ncclRemoteError|ncclSystemError|TCPStore|Timed out waiting .*ms for (?:recv|send)|gloo/transport",
    re.IGNORECASE,
)
_RENDEZVOUS = re.compile(
    r"Rendezvous\w*(?:Error|Timeout)|DistStoreError|DistNetworkError|lost rendezvous", re.IGNORECASE
)
_TAIL_BYTES = 16384
_STUCK = {psutil.STATUS_STOPPED: "is stopped", psutil.STATUS_DISK_SLEEP: "waits for a disk"}


class Cause(msgspec.Struct, frozen=True, kw_only=True):
    """One line of why. `echo` marks a rank that failed only because another one did."""

    reason: str
    local_rank: int | None = None
    exit_code: int | None = None
    echo: bool = False
    retriable: bool = False


def find(logs: Path, agent_log: Path, exit_code: int) -> Cause:
    """The first cause of a node's failed torchrun.

    Args:
        logs: torchrun's log folder of this node and attempt.
        agent_log: torchrun's own output.
        exit_code: torchrun's.
    """
    agent = _tail(agent_log)
    causes = [_of_rank(logs, int(rank), int(code)) for code, rank in _AGENT_LINE.findall(agent)]
    causes += [
        _of_rank(logs, rank, 1) for rank in _ranks_with_errors(logs) if rank not in {c.local_rank for c in causes}
    ]
    if causes:
        return min(causes, key=lambda cause: cause.echo)
    return _of_agent(agent, exit_code)


def hang(living: list[psutil.Process], silent_s: float) -> Cause:
    """Which of a node's processes keeps the ranks from making steps, where their states tell."""
    age = f"{silent_s:.0f} s" if silent_s < 120 else f"{silent_s / 60:.0f} min"
    for process in living:
        with contextlib.suppress(psutil.Error, OSError):
            state, rank = _STUCK.get(process.status()), process.environ().get("LOCAL_RANK")
            if state and rank:
                return Cause(reason=f"no rank made a step for {age}, this one {state}", local_rank=int(rank))
    return Cause(reason=f"no rank made a step for {age}")


def rank_logs(logs: Path, local_rank: int) -> list[Path]:
    """stderr and stdout of a rank; torchrun puts them under `<id>/attempt_<n>/<local rank>/`."""
    return sorted(logs.glob(f"*/attempt_*/{local_rank}/std*.log"))


def _ranks_with_errors(logs: Path) -> list[int]:
    return sorted(int(path.parent.name) for path in logs.glob("*/attempt_*/*/error.json"))


def _of_rank(logs: Path, local_rank: int, exit_code: int) -> Cause:
    if exit_code < 0:
        reason = f"killed by {_signal_name(-exit_code)}"
        if exit_code == -signal.SIGKILL:
            reason += " (out of memory is the usual cause)"
        # A rank that torchrun itself ends with SIGTERM followed another one.
        return Cause(reason=reason, local_rank=local_rank, exit_code=exit_code, echo=exit_code == -signal.SIGTERM)
    message = _error_json(logs, local_rank) or _last_exception(logs, local_rank) or f"exit code {exit_code}"
    return Cause(
        reason=message,
        local_rank=local_rank,
        exit_code=exit_code,
        echo=bool(_ECHO.search(message)),
        retriable=bool(_RENDEZVOUS.search(message)),
    )


def _of_agent(agent: str, exit_code: int) -> Cause:
    if exit_code < 0:
        return Cause(reason=f"torchrun was killed by {_signal_name(-exit_code)}", exit_code=exit_code)
    lines = [line for line in agent.splitlines() if _EXCEPTION_LINE.match(line)]
    reason = lines[-1] if lines else f"torchrun ended with exit code {exit_code}"
    return Cause(reason=reason[:300], exit_code=exit_code, retriable=bool(_RENDEZVOUS.search(agent)))


def _error_json(logs: Path, local_rank: int) -> str | None:
    """The exception that `torch.distributed.elastic`'s `@record` wrote."""
    for path in logs.glob(f"*/attempt_*/{local_rank}/error.json"):
        try:
            message = msgspec.json.decode(path.read_bytes())["message"]
        except (OSError, msgspec.MsgspecError, KeyError, TypeError):
            continue
        if not isinstance(message, dict):
            return _one_line(str(message))
        stack = message.get("extraInfo", {}).get("py_callstack", "")
        return _one_line(_without_class(str(message["message"]), str(stack)))
    return None


def _without_class(text: str, stack: str) -> str:
    """What our trainer says to its user needs no name of an exception."""
    name, colon, rest = text.partition(": ")
    return rest if colon and re.search(rf"\bdetector\.[\w.]+\.{re.escape(name)}: ", stack) else text


def _last_exception(logs: Path, local_rank: int) -> str | None:
    for path in rank_logs(logs, local_rank):
        lines = [line for line in _tail(path).splitlines() if _EXCEPTION_LINE.match(line)]
        if lines:
            return _one_line(lines[-1])
    return None


def _one_line(text: str) -> str:
    first = next((line.strip() for line in text.splitlines() if line.strip()), "")
    return first[:300]


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _tail(path: Path) -> str:
    try:
        with path.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - _TAIL_BYTES))
            return file.read().decode(errors="replace")
    except OSError:
        return ""
