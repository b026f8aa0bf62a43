"""A private two-node Slurm in one folder: start it, take parts of it away, end it without a trace.

    python tests/slurm_cluster.py start DIR | stop DIR | status DIR

munged, MariaDB, slurmdbd, slurmctld and two slurmd run as the calling user under their own `SLURM_CONF`, with
sockets and logs in the folder and TCP ports found by probing, so that several clusters live side by side and none
meets a Slurm of the machine. Needs Debian's slurm-wlm, munge, slurmdbd and mariadb-server, no service manager, and
no rights that an ordinary user lacks.
"""

import argparse
import contextlib
import getpass
import random
import secrets
import shutil
import signal
import socket
import sys
from pathlib import Path

import psutil
from processes import end
from slurm_config import DAEMONS, NODES, SLURMDS, Ports, config_files, gpu_files
from slurm_daemons import ClusterError, Daemons

# MariaDB's own tables, which slurmdbd's stored procedures need. Running this script takes a tenth of a second,
# mariadb-install-db takes three.
SYSTEM_TABLES = Path("/usr/share/mysql/mysql_system_tables.sql")
STATE_FOLDERS = ("db", "state", "spool", "gpu")
# The path of a Unix socket has at most 107 bytes, and slurmstepd's is folder/spool/n1/n1_<job>.<step>.
LONGEST_FOLDER = 70


class Cluster(Daemons):
    """One private Slurm; any process may open it by its folder, use it and stop it."""

    def start(self) -> None:
        """Start every daemon and wait until all nodes are idle. Nothing stays behind where that fails.

        Raises:
            ClusterError: it runs already, a program is missing, a daemon died, or the nodes do not become idle.
        """
        self._refuse_folder()
        self.stop()
        try:
            self._lay_out()
            for name in DAEMONS:
                self.start_daemon(name)
            self.wait_idle()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End every daemon and every process of every job, and drop all but the logs. Twice is as good as once."""
        if not self.conf.exists():
            return
        end(self._started_by_slurmd(), signal.SIGKILL)
        for name in reversed(DAEMONS):
            self.stop_daemon(name)
        self._kill(*DAEMONS)
        for name in STATE_FOLDERS:
            shutil.rmtree(self.folder / name, ignore_errors=True)
        for left in (*self.folder.glob("*.sock*"), *self.folder.glob("etc/*.pid")):
            left.unlink()

    def job_state(self, job: str) -> str:
        """A job's state by squeue's long name; `""` for one that slurmctld no longer knows."""
        return self.run("squeue", "-h", "-t", "all", "-o", "%T", "-j", job, check=False).stdout.strip()

    def wait_job(self, job: str, *states: str, timeout_s: float = 300) -> str:
        """Wait until a job is in one of some states, and return which."""
        found = ""

        def reached() -> bool:
            nonlocal found
            found = self.job_state(job)
            return found in states

        self._wait(reached, "slurmctld", timeout_s)
        return found

    def wait_idle(self, timeout_s: float = 300) -> None:
        """Wait until every node is up and free."""
        self._wait(self._idle, "slurmctld", timeout_s)

    def wait_empty(self) -> None:
        """Wait until no job waits or runs."""
        self._wait(lambda: not self.run("squeue", "-h").stdout.strip(), "slurmctld")

    def cancel_all(self) -> None:
        """Cancel every job and kill its processes at once, without the grace that a user's scancel gives."""
        self.run("scancel", "--user", getpass.getuser())
        self._wait(self._no_job, "slurmctld")

    def reset(self) -> None:
        """Back to the state after `start`, whatever a test did: daemons up, no job, nodes idle."""
        for process in self.daemons().values():
            process.send_signal(signal.SIGCONT)
        for name in DAEMONS:
            self.start_daemon(name)
        self.cancel_all()
        self.wait_idle()

    def _refuse_folder(self) -> None:
        if self.daemons():
            raise ClusterError(f"{self.folder}: a cluster runs there; stop it first")
        if self.folder.exists() and any(self.folder.iterdir()) and not self.conf.exists():
            raise ClusterError(f"{self.folder}: neither empty nor a cluster's folder")
        if len(str(self.folder)) > LONGEST_FOLDER:
            raise ClusterError(f"{self.folder}: too long for the path of a socket, at most {LONGEST_FOLDER} characters")

    def _lay_out(self) -> None:
        for name in (*STATE_FOLDERS, "etc", "log"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        for name, content in self._files().items():
            file = self.folder / "etc" / name
            file.touch(mode=0o600)
            file.write_bytes(content)
        for gpu in (gpu for node in NODES for gpu in gpu_files(self.folder, node)):
            gpu.symlink_to("/dev/null")

    def _files(self) -> dict[str, bytes]:
        if not SYSTEM_TABLES.exists():
            raise ClusterError("MariaDB is not installed; `make system` installs it")
        slurmctld, slurmdbd, *slurmd = free_ports(2 + len(NODES))
        ports = Ports(slurmctld=slurmctld, slurmdbd=slurmdbd, slurmd=tuple(slurmd))
        config = config_files(self.folder, ports, user=getpass.getuser(), host=socket.gethostname().split(".")[0])
        return {name: text.encode() for name, text in config.items()} | {
            "munge.key": secrets.token_bytes(128),
            "tables.sql": b"create database if not exists mysql;\nuse mysql;\n" + SYSTEM_TABLES.read_bytes(),
        }

    def _idle(self) -> bool:
        states = self.run("sinfo", "-h", "-N", "-p", "main", "-o", "%T", check=False).stdout.split()
        return states == ["idle"] * len(NODES)

    def _no_job(self) -> bool:
        end(self.job_processes(), signal.SIGKILL)
        return not self.run("squeue", "-h").stdout.strip()

    def _started_by_slurmd(self) -> set[psutil.Process]:
        return set(self.processes(*SLURMDS)) - set(self.daemons().values())


def free_ports(count: int) -> list[int]:
    """TCP ports that nobody listens on, below the range from which the kernel and torchrun take theirs."""
    found: list[int] = []
    for port in random.sample(range(11000, 20000), 1000):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("", port))
            found.append(port)
        if len(found) == count:
            return found
    raise ClusterError("no free TCP port between 11000 and 20000")


def _status(cluster: Cluster) -> int:
    up = cluster.daemons()
    for name in DAEMONS:
        print(f"{name:<10} {f'pid {up[name].pid}' if name in up else 'down'}")
    if "slurmctld" in up:
        print(cluster.run("sinfo", check=False).stdout, end="")
    return 0 if len(up) == len(DAEMONS) else 1


def _start(cluster: Cluster) -> int:
    if len(cluster.daemons()) < len(DAEMONS):
        cluster.start()
    print(f"export SLURM_CONF={cluster.conf}")
    return 0


def _stop(cluster: Cluster) -> int:
    cluster.stop()
    return 0


def main() -> int:
    """The command line: `start` prints the line to export, `status` exits 1 where a daemon is down."""
    parser = argparse.ArgumentParser(description="A private two-node Slurm in one folder.")
    parser.add_argument("verb", choices=(verbs := {"start": _start, "stop": _stop, "status": _status}))
    parser.add_argument("folder", type=Path, metavar="DIR")
    arguments = parser.parse_args()
    try:
        return verbs[arguments.verb](Cluster(arguments.folder))
    except ClusterError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
