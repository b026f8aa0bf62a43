"""Jobs on the private Slurm that are asked twice: to stop while they stop, or to run what is another job's by now."""

import psutil
import pytest
from command import Detrun
from counting import count, counted
from processes import environment
from slurm_cluster import Cluster

pytestmark = [pytest.mark.slurm, pytest.mark.torchrun]

STEPS = 40


def kill_rank(detrun: Detrun, run: str) -> None:
    path = str((detrun.runs / run).resolve())
    for process in psutil.process_iter():
        variables = environment(process)
        if variables.get("DETRUN_RUN") == path and "RANK" in variables:
            process.kill()


def test_a_job_that_comes_back_leaves_its_run_alone_and_one_that_was_ended_does_not_come_back(
    on_slurm: Detrun, slurm: Cluster, counting: str
) -> None:
    names = ["put back", "brought back", "cancelled"]
    slow = on_slurm.json("submit", counting, "--on", "slurm", "--set", "seconds=4")["runs"][0]
    sweep = ("--set", "seed=0,1,2", "--set", f"steps={STEPS}", "--set", "hold=11", "--set", "seconds=0.2")
    planned = on_slurm.json("submit", counting, "--on", "slurm", *sweep)["runs"]
    runs = {name: run["id"] for name, run in zip(names, planned, strict=True)}
    jobs = {name: run["job_id"] for name, run in zip(names, planned, strict=True)}
    for run in runs.values():
        on_slurm.wait_for_line(run, "saved step 10")
    slurm.run("scancel", "--signal=TERM", slow["job_id"])
    on_slurm.until(lambda: "stopping" in on_slurm.events(slow["id"]), "the first signal")
    slurm.run("scancel", slow["job_id"])
    failing = [runs["put back"], runs["brought back"]]

    on_slurm("cancel", runs["cancelled"])
    for run in failing:
        kill_rank(on_slurm, run)
    for run in failing:
        on_slurm.wait(run, "failed")
    for name in ("put back", "brought back", "cancelled"):
        slurm.wait_job(jobs[name], "FAILED", "CANCELLED")
    slurm.run("scontrol", "requeue", jobs["put back"])
    on_slurm("retry", *failing)
    given_up = slurm.job_state(jobs["put back"])
    for name in ("brought back", "cancelled"):
        slurm.run("scontrol", "requeue", jobs[name])
    back = [slurm.wait_job(jobs[name], "COMPLETED", "FAILED") for name in ("brought back", "cancelled")]
    for run in failing:
        (on_slurm.runs / run / "go").touch()
    rows = {name: on_slurm.wait(runs[name], "done", "failed") for name in ("put back", "brought back")}
    ended = on_slurm.wait(slow["id"], "cancelled", "requeued", "failed", "lost")

    assert (ended["state"], ended["reason"]) == ("cancelled", "by scancel")
    assert "requeued" not in on_slurm.events(slow["id"])
    assert slurm.job_state(slow["job_id"]) == "CANCELLED"
    assert given_up == "CANCELLED"
    assert back == ["COMPLETED", "COMPLETED"]
    assert on_slurm.events(runs["cancelled"]) == ["start", "stopping", "cancelled"]
    for seed, name in enumerate(rows):
        assert on_slurm.events(runs[name]) == ["start", "failed", "start", "done"]
        assert counted(on_slurm.runs / runs[name]) == count(STEPS, seed)
