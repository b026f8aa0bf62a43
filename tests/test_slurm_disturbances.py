"""Runs that are stopped, put back, killed and lost on the private Slurm, all of them in flight at once.

What they end with is compared, bit by bit, with a run on this machine that nobody disturbed.
"""

import re
from pathlib import Path

import psutil
import pytest
from checkpoints import fingerprint
from command import Detrun
from counting import count, counted
from processes import environment
from slurm_cluster import Cluster

pytestmark = [pytest.mark.slurm, pytest.mark.torchrun]

EPOCHS = 8
# Three steps each; a checkpoint after each; one evaluation, after the last.
STEPS = 3 * EPOCHS


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, tiny: Path) -> str:
    """The last checkpoint of a run that went through at once."""
    detrun = Detrun(tmp_path_factory.mktemp("undisturbed"), tiny)
    run = detrun.submit("--on", "local", "--cpus", "1", "--set", f"eval.every={EPOCHS}", epochs=EPOCHS)[0]["id"]
    detrun.wait(run, "done")
    return last_checkpoint(detrun, run)


def last_checkpoint(detrun: Detrun, run: str) -> str:
    return fingerprint(detrun.runs / run / "checkpoints" / "last.pt")


def submit(detrun: Detrun, names: list[str], *options: str) -> tuple[dict[str, str], dict[str, str]]:
    """A sweep over how often a checkpoint is due, hours from now: runs of different ids that train alike."""
    sets = [
        "--set",
        f"eval.every={EPOCHS}",
        "--set",
        f"checkpoint.every_min={','.join(map(str, range(600, 600 + len(names))))}",
    ]
    planned = detrun.submit("--on", "slurm", "--cpus", "1", *sets, *options, epochs=EPOCHS)
    assert len(planned) == len(names)
    ids = {name: run["id"] for name, run in zip(names, planned, strict=True)}
    return ids, {name: run["job_id"] for name, run in zip(names, planned, strict=True)}


def ranks(detrun: Detrun, run: str) -> list[psutil.Process]:
    """The processes that train a run, in order of rank; their loaders' workers are younger."""
    path = str((detrun.runs / run).resolve())
    found: dict[int, psutil.Process] = {}
    for process in sorted(psutil.process_iter(), key=lambda process: process.pid):
        variables = environment(process)
        if variables.get("DETRUN_RUN") == path and "RANK" in variables and trains(process):
            found.setdefault(int(variables["RANK"]), process)
    return [found[rank] for rank in sorted(found)]


def trains(process: psutil.Process) -> bool:
    try:
        return "detector.train" in process.cmdline() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def until_step(detrun: Detrun, run: str, step: int) -> None:
    detrun.until(lambda: detrun.step(run) >= step, f"step {step} of {run}")


def test_no_step_is_lost_whatever_stops_a_run(on_slurm: Detrun, slurm: Cluster, undisturbed: str) -> None:
    names = ["requeued", "told", "early", "limited", "killed"]
    runs, jobs = submit(on_slurm, names)

    on_slurm.until(lambda: "start" in on_slurm.events(runs["early"]), "a start")
    slurm.run("scancel", "--signal=TERM", jobs["early"])
    until_step(on_slurm, runs["limited"], 3)
    slurm.run("scancel", "--signal=USR2", jobs["limited"])
    until_step(on_slurm, runs["requeued"], 4)
    slurm.run("scontrol", "requeue", jobs["requeued"])
    until_step(on_slurm, runs["told"], 5)
    slurm.run("scancel", "--signal=TERM", jobs["told"])
    until_step(on_slurm, runs["killed"], 7)
    ranks(on_slurm, runs["killed"])[0].kill()
    failed = on_slurm.wait(runs["killed"], "failed")
    on_slurm("retry", runs["killed"])
    rows = {name: on_slurm.wait(runs[name], "done", "failed", timeout_s=400) for name in names}

    assert {name: row["state"] for name, row in rows.items()} == dict.fromkeys(names, "done"), rows
    assert failed["reason"].startswith("rank 0 on n")
    assert "killed by SIGKILL" in failed["reason"]
    assert {name: row["attempts"] for name, row in rows.items()} == dict.fromkeys(names, 2)
    events = {name: on_slurm.events(runs[name]) for name in names}
    assert [events[name].count("requeued") for name in names] == [0, 1, 1, 1, 0]
    assert "stopped" in events["requeued"]
    assert "attempt 1  stopped at step 1\n" in on_slurm("status", runs["early"]).stdout
    reasons = {name: on_slurm("status", runs[name]).stdout for name in ("requeued", "told", "limited")}
    assert "stopping: requeued by Slurm" in reasons["requeued"]
    assert "requeued: SIGTERM" in reasons["told"]
    assert "requeued: time limit" in reasons["limited"]
    for name in names:
        assert last_checkpoint(on_slurm, runs[name]) == undisturbed, name
        steps = on_slurm.steps(runs[name])
        assert set(steps) == set(range(1, STEPS + 1)), name
        assert name == "killed" or steps == sorted(set(steps)), f"{name} made a step twice"


def test_preemption_loses_no_step_and_too_short_a_grace_time_only_those_since_the_checkpoint(
    on_slurm: Detrun, slurm: Cluster, undisturbed: str, counting: str
) -> None:
    """Preemption is what takes a node; a script that hears no signal is what no grace time is long enough for."""
    runs, _ = submit(on_slurm, ["ours"], "--sbatch", "nodelist=n1")
    deaf_to = ("--set", "obedience=none", "--set", "steps=60", "--set", "hold=25", "--sbatch", "nodelist=n1")
    deaf = on_slurm.json("submit", counting, "--on", "slurm", *deaf_to)["runs"][0]["id"]
    until_step(on_slurm, runs["ours"], 5)
    on_slurm.wait_for_line(deaf, "saved step 20")

    slurm.run("sbatch", "-p", "urgent", "-w", "n1", "--exclusive", "--wrap", "sleep 1", "-o", "/dev/null")
    on_slurm.until(lambda: "requeued" in on_slurm.events(runs["ours"]), "the preemption")
    waiting = on_slurm.wait(runs["ours"], "requeued")
    on_slurm.until(lambda: on_slurm.events(deaf).count("start") == 2, "the end of the grace time")
    (on_slurm.runs / deaf / "go").touch()
    rows = [on_slurm.wait(run, "done", "failed", timeout_s=400) for run in (runs["ours"], deaf)]

    assert (waiting["attempts"], waiting["state"]) == (1, "requeued")
    assert [(row["state"], row["attempts"]) for row in rows] == [("done", 2), ("done", 2)]
    assert "requeued: preempted" in on_slurm("status", runs["ours"]).stdout
    assert last_checkpoint(on_slurm, runs["ours"]) == undisturbed
    assert [event for event in on_slurm.events(deaf) if event != "requeued"] == ["start", "stopping", "start", "done"]
    assert counted(on_slurm.runs / deaf) == count(60)


def test_a_lost_node_is_left_for_another_and_a_rank_that_hangs_ends_the_others(
    on_slurm: Detrun, slurm: Cluster, undisturbed: str
) -> None:
    profile = on_slurm.folder / "config" / "detrun" / "config.toml"
    profile.parent.mkdir(parents=True)
    profile.write_text('[profile.watchful]\nhang_min = 0.2\nsetup = ["export GREETING=hello"]\n')
    hangs = on_slurm.submit(
        "--on", "slurm", "--profile", "watchful", "--procs", "2", "--sbatch", "nodelist=n1", epochs=50
    )
    hanging = hangs[0]["id"]
    runs, jobs = submit(on_slurm, ["lost"], "--sbatch", "exclude=n1")
    until_step(on_slurm, hanging, 2)
    greetings = {environment(rank).get("GREETING") for rank in ranks(on_slurm, hanging)}
    ranks(on_slurm, hanging)[1].suspend()
    until_step(on_slurm, runs["lost"], 4)

    slurm.lose_node("n2")
    hung = on_slurm.wait(hanging, "failed", "done")
    on_slurm.until(lambda: slurm.job_state(jobs["lost"]) == "PENDING", "the loss of the node")
    lost = on_slurm.status(runs["lost"])[0]
    slurm.start_daemon("slurmd-n2")
    row = on_slurm.wait(runs["lost"], "done", "failed", timeout_s=400)

    assert greetings == {"hello"}
    assert hung["state"] == "failed"
    assert re.fullmatch(r"rank 1 on n1: no rank made a step for \d\d s, this one is stopped", hung["reason"])
    assert ranks(on_slurm, hanging) == []
    assert lost["state"] == "requeued"
    assert (row["state"], row["attempts"]) == ("done", 2), row["reason"]
    assert last_checkpoint(on_slurm, runs["lost"]) == undisturbed
