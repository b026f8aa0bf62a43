"""The main job on the private two-node Slurm, through the installed command."""

import pytest
from command import Detrun
from slurm_cluster import Cluster

pytestmark = [pytest.mark.slurm, pytest.mark.torchrun]


def test_a_sweep_is_one_array_whose_runs_can_be_followed_to_their_end(on_slurm: Detrun, slurm: Cluster) -> None:
    planned = on_slurm.submit("--on", "slurm", "--set", "optim.lr=1e-3,3e-4", "--cpus", "1", epochs=1)
    runs = [run["id"] for run in planned]

    jobs = [run["job_id"] for run in planned]
    rows = [on_slurm.wait(run, "done", "failed") for run in runs]
    report = on_slurm.json("report", *runs)

    assert [job.partition("_")[2] for job in jobs] == ["0", "1"]
    assert len({job.partition("_")[0] for job in jobs}) == 1
    assert [row["state"] for row in rows] == ["done", "done"]
    assert {row["executor"] for row in rows} == {"slurm"}
    assert [row["hosts"][0] in ("n1", "n2") for row in rows] == [True, True]
    assert len({row["sweep"] for row in rows}) == 1
    assert len(report["runs"]) == 2
    assert slurm.job_state(jobs[0]) in ("COMPLETED", "COMPLETING")


def test_a_dry_run_prints_exactly_the_script_that_is_sent(on_slurm: Detrun) -> None:
    request = ["--on", "slurm", "--seeds", "2", "--time", "5m", "--mem-gib", "1", "--sbatch", "comment=mine"]
    shown = on_slurm.json("submit", "digits", "--dry-run", *request)

    sent = on_slurm.json("submit", "digits", *request)

    assert not shown["problems"]
    for run in sent["runs"]:
        assert (on_slurm.runs / run["id"] / "job.sbatch").read_text() == shown["script"]
    folder = next((on_slurm.runs / ".submissions").iterdir())
    assert next(folder.glob("*_submission.sh")).read_text() == shown["script"]
    on_slurm("cancel", *(run["id"] for run in sent["runs"]))


def test_two_nodes_train_one_model_under_torchrun(on_slurm: Detrun) -> None:
    run = on_slurm.submit("--on", "slurm", "--nodes", "2", "--cpus", "1", epochs=1)[0]["id"]

    row = on_slurm.wait(run, "done", "failed")

    assert row["state"] == "done", row["reason"]
    assert row["hosts"] == ["n1", "n2"]
    assert "2 processes on cpu" in on_slurm.logs(run)
    assert len(list((on_slurm.runs / run / "logs" / "attempt_1" / "node_1").rglob("stdout.log"))) == 1


def test_status_follows_a_run_through_every_state(on_slurm: Detrun, slurm: Cluster) -> None:
    both = ("-N2", "--exclusive", "-o", "/dev/null", "--wrap", "sleep 300")
    blocker = slurm.run("sbatch", "--parsable", *both).stdout.strip()
    run = on_slurm.submit("--on", "slurm", "--cpus", "1", epochs=1)[0]["id"]

    waiting = on_slurm.wait_for(run, lambda row: row["state"] == "pending" and row["reason"] == "Resources")
    slurm.run("scancel", blocker)
    running = on_slurm.wait_for(run, lambda row: row["state"] == "running" and row["step"])
    done = on_slurm.wait(run, "done")

    assert waiting["step"] is None
    assert running["epoch"] == 1
    assert done["metrics"] is not None
    assert done["ended_at"] > done["started_at"]


def test_cancel_ends_a_job_on_two_nodes_and_all_of_its_processes(on_slurm: Detrun, slurm: Cluster) -> None:
    run = on_slurm.submit("--on", "slurm", "--nodes", "2", "--cpus", "1", epochs=100)[0]["id"]
    job = on_slurm.wait_for_step(run, 2)["job_id"]

    on_slurm("cancel", run)

    assert on_slurm.state(run) == "cancelled"
    slurm.wait_job(job, "CANCELLED")
    assert slurm.job_processes() == []


def test_what_slurm_refuses_is_told_in_its_own_words_with_a_hint(on_slurm: Detrun) -> None:
    refused = on_slurm("submit", "digits", "--on", "slurm", "--partition", "nowhere", code=1)

    assert "error: sbatch would refuse: " in refused.stderr
    assert "partition" in refused.stderr
    assert "hint: `sinfo -s` lists the partitions" in refused.stderr
    assert on_slurm.status() == []
