"""A training script that is not ours, under the same sweeps, queue, snapshot, requeue, logs and records."""

from pathlib import Path

import pytest
from command import Detrun
from slurm_cluster import Cluster

pytestmark = pytest.mark.torchrun


@pytest.mark.slurm
def test_a_sweep_on_slurm_stops_resumes_and_is_reported(on_slurm: Detrun, slurm: Cluster, project: Path) -> None:
    sets = ["--set", f"data.root={on_slurm.data}", "--set", "optim.lr=0.1,0.01", "--set", "seconds=0.4"]
    stage = ("--stage", str(on_slurm.folder / "scratch"))
    planned = on_slurm.json("submit", str(project / "train.toml"), "--on", "slurm", *sets, *stage)["runs"]
    stopped, calm = (run["id"] for run in planned)
    (project / "src" / "train.py").write_text("raise SystemExit('the run must use its snapshot')")
    on_slurm.wait_for_line(stopped, "Epoch: [1]")

    slurm.run("scancel", "--signal=TERM", planned[0]["job_id"])
    rows = {run: on_slurm.wait(run, "done", "failed") for run in (stopped, calm)}
    report = {Path(run["source"]).name: run for run in on_slurm.json("report", stopped, calm)["runs"]}

    assert [rows[run]["state"] for run in (stopped, calm)] == ["done", "done"], rows
    assert [(rows[run]["attempts"], rows[run]["trainer"]) for run in (stopped, calm)] == [
        (2, "train.py"),
        (1, "train.py"),
    ]
    assert [(rows[run]["epoch"], rows[run]["epochs"]) for run in (stopped, calm)] == [(3, 3), (3, 3)]
    for run in (stopped, calm):
        assert report[run]["metrics"] == rows[run]["metrics"]
        assert report[run]["evaluations"] == 3
    assert rows[stopped]["metrics"]["AP"] < rows[calm]["metrics"]["AP"]
    assert "resumed at step" in on_slurm.logs(stopped)
    history = on_slurm("status", stopped).stdout
    assert "requeued: SIGTERM" in history
    assert "attempt 2" in history
    assert on_slurm.submitted_again(str(project / "train.toml"), "--on", "slurm", *sets) == []


def test_a_script_that_hears_no_signal_runs_on_this_machine_and_its_failure_has_a_cause(
    detrun: Detrun, project: Path
) -> None:
    sets = ("--set", "fail=3,-1", "--set", "steps=6", "--procs", "2")
    planned = detrun.json("submit", str(project / "count.toml"), "--on", "local", *sets)["runs"]
    failing, good = (run["id"] for run in planned)

    rows = [detrun.wait(run, "done", "failed") for run in (failing, good)]

    assert [row["state"] for row in rows] == ["failed", "done"]
    assert rows[0]["reason"].startswith("rank 1 on ")
    assert rows[0]["reason"].endswith("ValueError: cannot count on")
    assert rows[1]["metrics"] is None
    assert "[rank 1] saved step 6" in detrun("logs", good).stdout


def test_a_recipe_whose_script_is_not_there_is_refused(detrun: Detrun, project: Path) -> None:
    (project / "count.py").unlink()

    refused = detrun("submit", str(project / "count.toml"), "--on", "local", code=1)

    assert f"no script {project / 'count.py'}" in refused.stderr
    assert not detrun.runs.exists()
