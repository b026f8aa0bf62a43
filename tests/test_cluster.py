"""The private Slurm behaves as the worker's tests expect of it, and ends without a trace."""

import itertools
import re
import shlex
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import slurm_cluster
from slurm_cluster import Cluster
from slurm_config import DAEMONS
from slurm_daemons import ClusterError

pytestmark = pytest.mark.slurm

STUBBORN = "trap '' TERM; while :; do sleep 0.2; done"


@pytest.fixture
def spare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A second cluster, not started."""
    cluster = Cluster(tmp_path_factory.mktemp("spare"))
    yield cluster
    cluster.stop()


def submit(slurm: Cluster, folder: Path, command: str, *options: str) -> str:
    return slurm.run("sbatch", "--parsable", f"--output={folder}/%j.out", *options, "--wrap", command).stdout.strip()


def output(folder: Path, job: str) -> list[str]:
    return sorted((folder / f"{job}.out").read_text().split())


def accounted(slurm: Cluster, job: str, columns: str, expected: list[str]) -> list[str]:
    """sacct's rows, one per attempt. slurmctld reports to slurmdbd in its own time: asked again for up to a minute."""
    deadline = time.monotonic() + 60
    rows: list[str] = []
    while rows != expected and time.monotonic() < deadline:
        rows = slurm.run("sacct", "-n", "-X", "-D", "-P", "-j", job, "-o", columns).stdout.split()
    return rows


def seen_by_the_system(folder: Path) -> list[str]:
    """Processes whose command line, environment or working folder names a folder; read from /proc alone."""
    name = str(folder).encode()
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            traces = [(process / "cmdline").read_bytes(), (process / "environ").read_bytes()]
            traces.append(bytes((process / "cwd").readlink()))
        except OSError:
            continue
        if any(name in trace for trace in traces):
            found.append(traces[0].decode(errors="replace").replace("\0", " "))
    return found


def test_both_nodes_are_idle_with_their_gpus(slurm: Cluster) -> None:
    nodes = slurm.run("sinfo", "-h", "-N", "-p", "main", "-o", "%N %T %c %G").stdout.splitlines()
    assert nodes == ["n1 idle 8 gpu:4", "n2 idle 8 gpu:4"]


def test_a_job_of_two_nodes_runs_on_both_with_the_gpus_it_asked_for(slurm: Cluster, tmp_path: Path) -> None:
    step = "srun --gres=gpu:2 bash -c 'echo $SLURMD_NODENAME:$CUDA_VISIBLE_DEVICES'"
    job = submit(slurm, tmp_path, step, "--nodes=2", "--gres=gpu:2")
    assert slurm.wait_job(job, "COMPLETED", "FAILED") == "COMPLETED"
    assert output(tmp_path, job) == ["n1:0,1", "n2:0,1"]


def test_accounting_knows_a_finished_job_and_its_gpus(slurm: Cluster, tmp_path: Path) -> None:
    job = submit(slurm, tmp_path, "exit 3", "--gres=gpu:1")
    slurm.wait_job(job, "FAILED")
    expected = ["FAILED|3:0|billing=1,cpu=1,gres/gpu=1,node=1"]
    assert accounted(slurm, job, "State,ExitCode,AllocTRES", expected) == expected


def test_a_requeued_job_starts_again(slurm: Cluster, tmp_path: Path) -> None:
    job = submit(slurm, tmp_path, "echo attempt ${SLURM_RESTART_COUNT:-0}; sleep 60", "--requeue", "--open-mode=append")
    slurm.wait_job(job, "RUNNING")
    slurm.run("scontrol", "requeue", job)
    slurm.wait_job(job, "PENDING")
    slurm.wait_job(job, "RUNNING")
    assert slurm.run("scontrol", "show", "job", job).stdout.count("Restarts=1") == 1


def test_slurm_requeues_a_preempted_job_after_its_grace_time(slurm: Cluster, tmp_path: Path) -> None:
    dies_at_the_second_signal = "trap \"trap 'exit 1' TERM\" TERM; while :; do sleep 0.2; done"
    victim = submit(slurm, tmp_path, f"srun bash -c {shlex.quote(dies_at_the_second_signal)}", "--nodes=2", "--requeue")
    slurm.wait_job(victim, "RUNNING")
    urgent = submit(slurm, tmp_path, "sleep 1", "--nodes=2", "--exclusive", "--partition=urgent")
    preempted = time.monotonic()
    slurm.wait_job(urgent, "RUNNING")
    assert time.monotonic() - preempted > 18
    slurm.wait_job(victim, "RUNNING")
    assert accounted(slurm, victim, "State", ["PREEMPTED", "RUNNING"]) == ["PREEMPTED", "RUNNING"]


def test_a_lost_node_takes_its_job_along_and_comes_back_with_a_reset(slurm: Cluster, tmp_path: Path) -> None:
    job = submit(slurm, tmp_path, f"srun bash -c {shlex.quote(STUBBORN)}", "--nodes=2")
    slurm.wait_job(job, "RUNNING")
    slurm.lose_node("n2")
    assert not slurm.processes("slurmd-n2")
    slurm.reset()
    assert slurm.job_state(job) in ("CANCELLED", "FAILED"), "whichever comes first, the reset or the end of the step"
    assert not slurm.job_processes()
    assert list(slurm.daemons()) == list(DAEMONS)


def test_a_reset_brings_back_daemons_that_were_stopped_killed_or_hung(slurm: Cluster) -> None:
    slurm.stop_daemon("slurmdbd")
    slurm.stop_daemon("slurmctld", signal.SIGKILL)
    slurm.signal_daemon("slurmd-n1", signal.SIGSTOP)
    assert slurm.run("scontrol", "ping", check=False).returncode != 0
    slurm.reset()
    assert list(slurm.daemons()) == list(DAEMONS)


def test_two_clusters_run_side_by_side_and_one_ends_without_a_trace(slurm: Cluster, spare: Cluster) -> None:
    spare.start()
    job = submit(spare, spare.folder, f"srun bash -c {shlex.quote('setsid sleep 600 & ' + STUBBORN)}", "--nodes=2")
    spare.wait_job(job, "RUNNING")
    assert seen_by_the_system(spare.folder)
    spare.stop()
    spare.stop()
    assert seen_by_the_system(spare.folder) == []
    assert list(slurm.daemons()) == list(DAEMONS)


def test_a_start_that_fails_says_why_and_leaves_nothing(spare: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as busy:
        busy.bind(("", 0))
        ports = itertools.cycle([busy.getsockname()[1]])
        monkeypatch.setattr(slurm_cluster, "free_ports", lambda count: list(itertools.islice(ports, count)))
        with pytest.raises(ClusterError, match=re.compile("slurmdbd.*Address already in use", re.DOTALL)):
            spare.start()
    assert seen_by_the_system(spare.folder) == []


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "db").mkdir()
    with pytest.raises(ClusterError, match="neither empty nor a cluster's folder"):
        Cluster(tmp_path).start()
    assert (tmp_path / "db").exists()
