"""The daemons of a private Slurm: start, find, signal and end them, with all that they have started.

What they do together is `slurm_cluster`'s business.
"""

import contextlib
import getpass
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psutil
from processes import alive, end, environment
from slurm_config import DAEMONS, command

# Every daemon is started with this variable, and every step manager inherits it: the proof that a pid is ours.
MARK = "DETRUN_CLUSTER_DAEMON"


class ClusterError(Exception):
    """The private Slurm cannot do what was asked; the message ends with what the daemon or command said."""


class Daemons:
    """The daemons of one folder. The folder alone names them: any process may find, use and stop them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.conf = self.folder / "etc" / "slurm.conf"
        self._children: list[subprocess.Popen[bytes]] = []

    @property
    def env(self) -> dict[str, str]:
        """The environment in which `sbatch` and its kin, and `detrun`, talk to this cluster and no other."""
        ours = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM", "SBATCH"))}
        return ours | {"SLURM_CONF": str(self.conf), "PATH": _search_path()}

    def run(self, *argv: str | Path, check: bool = True, timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
        """Run a command against this cluster; with `check`, an exit code other than 0 raises ClusterError."""
        done = subprocess.run(argv, env=self.env, capture_output=True, text=True, timeout=timeout_s, check=False)
        if check and done.returncode:
            raise ClusterError(f"{' '.join(map(str, argv))}: exit {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def daemons(self) -> dict[str, psutil.Process]:
        """The daemons that run, by name, in the order in which they start."""
        found = {}
        for name in DAEMONS:
            with contextlib.suppress(FileNotFoundError, psutil.NoSuchProcess):
                process = psutil.Process(int(self._pid_file(name).read_text()))
                if alive([process]) and self._daemon_of(process) == name:
                    found[name] = process
        return found

    def processes(self, *daemons: str) -> list[psutil.Process]:
        """The living ones of these daemons, with the step managers and jobs that they started."""
        return alive(process for process in psutil.process_iter() if self._daemon_of(process) in daemons)

    def job_processes(self) -> list[psutil.Process]:
        """What jobs have started; step managers are not among it."""
        return alive(process for process in psutil.process_iter() if self._node_of(process))

    def start_daemon(self, name: str) -> None:
        """Start one of `DAEMONS` and wait until it answers; does nothing where it runs already.

        Raises:
            ClusterError: the program is missing, or it died or did not answer.
        """
        if name in self.daemons():
            return
        program, *arguments = command(name, self.folder, getpass.getuser())
        path = shutil.which(program, path=_search_path())
        if path is None:
            raise ClusterError(f"{program} is not installed; `make system` installs it")
        child = self._spawn(name, [path, *arguments])
        self._wait(lambda: child.poll() is not None or self._answers(name), name)
        if child.returncode is not None:
            raise ClusterError(f"{name} ended with exit code {child.returncode}\n{self.log_tail(name)}")

    def stop_daemon(self, name: str, how: signal.Signals = signal.SIGTERM) -> None:
        """End one daemon; SIGKILL makes it a crash. Jobs on a node outlive their slurmd."""
        if process := self.daemons().get(name):
            end([process], how)
        self._children = [child for child in self._children if child.poll() is None]

    def signal_daemon(self, name: str, what: signal.Signals) -> None:
        """Send a signal to one running daemon: SIGSTOP makes it hang, SIGCONT wakes it."""
        self.daemons()[name].send_signal(what)

    def lose_node(self, node: str) -> None:
        """Kill a node's slurmd and all that runs under it, as a power cut would."""
        self.stop_daemon(f"slurmd-{node}", signal.SIGKILL)
        self._kill(f"slurmd-{node}")

    def log_tail(self, name: str, lines: int = 20) -> str:
        """The last lines that a daemon wrote."""
        return "\n".join(self._log(name).read_text(errors="replace").splitlines()[-lines:])

    def _spawn(self, name: str, argv: list[str]) -> subprocess.Popen[bytes]:
        env = self.env | {"MYSQL_UNIX_PORT": str(self.folder / "db.sock"), MARK: f"{self.folder}:{name}"}
        with self._log(name).open("ab") as log:
            child = subprocess.Popen(
                argv, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        self._children.append(child)
        self._pid_file(name).write_text(str(child.pid))
        return child

    def _answers(self, name: str) -> bool:
        match name:
            case "munged":
                return _listens(self.folder / "munge.sock")
            case "mariadbd":
                return _listens(self.folder / "db.sock")
            case "slurmdbd":
                return self.run("sacctmgr", "-n", "show", "cluster", check=False).returncode == 0
            case "slurmctld":
                return self.run("scontrol", "ping", check=False).returncode == 0
            case _:
                return name in self.daemons() and _serves(self.daemons()[name])

    def _kill(self, *daemons: str) -> None:
        """Kill daemons and all that they started, again and again: what dies may have just forked."""
        deadline = time.monotonic() + 30
        while (left := self.processes(*daemons)) and time.monotonic() < deadline:
            end(left, signal.SIGKILL)

    def _daemon_of(self, process: psutil.Process) -> str | None:
        if node := self._node_of(process):
            return f"slurmd-{node}"
        folder, _, name = environment(process).get(MARK, "").rpartition(":")
        return name if folder == str(self.folder) else None

    def _node_of(self, process: psutil.Process) -> str | None:
        """The node on which a job of ours started this process; slurmd sets both variables, `--export` or not."""
        env = environment(process)
        return env.get("SLURMD_NODENAME") if env.get("SLURM_CONF") == str(self.conf) else None

    def _wait(self, ready: Callable[[], bool], name: str, timeout_s: float = 300) -> None:
        deadline = time.monotonic() + timeout_s
        while not ready():
            if time.monotonic() > deadline:
                raise ClusterError(f"{name}: not ready after {timeout_s:.0f} s\n{self.log_tail(name)}")
            time.sleep(0.05)

    def _log(self, name: str) -> Path:
        return self.folder / "log" / f"{name}.log"

    def _pid_file(self, name: str) -> Path:
        return self.folder / "etc" / f"{name}.pid"


def _listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


def _serves(process: psutil.Process) -> bool:
    return any(connection.status == psutil.CONN_LISTEN for connection in process.net_connections("tcp"))


def _search_path() -> str:
    return f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
