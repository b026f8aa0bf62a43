"""Slurm's own time limit, a run inside a container, a log that is followed, and a rank that fails: runs that count."""

import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from command import EXECUTABLE, Detrun
from counting import count, counted
from processes import environment
from slurm_cluster import Cluster

pytestmark = [pytest.mark.slurm, pytest.mark.torchrun]

STEPS = 20
HOLD = 5


def ranks(detrun: Detrun, run: str) -> list[dict[str, str]]:
    """The environments of a run's ranks."""
    path = str((detrun.runs / run).resolve())
    found = [environment(process) for process in psutil.process_iter()]
    return [variables for variables in found if variables.get("DETRUN_RUN") == path and "RANK" in variables]


@pytest.fixture
def contained(project: Path, counting: str) -> str:
    """The counting recipe with the interpreter of an image, in place of `apptainer exec image.sif python`."""
    box = project / "box"
    box.write_text('#!/bin/sh\ntest "$1" = exec || exit 2\nexport INSIDE="$2"\nshift 2\nexec "$@"\n')
    box.chmod(0o755)
    recipe = project / "contained.toml"
    recipe.write_text(Path(counting).read_text() + f'python = "{box} exec image.sif {sys.executable}"\n')
    return str(recipe)


def test_a_run_in_a_container_meets_slurms_time_limit_and_goes_on_and_its_log_is_followed_to_the_end(
    on_slurm: Detrun, contained: str
) -> None:
    """The limit is a minute, less twenty seconds to save; Slurm may say so at any time before, more than once."""
    options = ("--time", "1m", "--procs", "2", "--set", f"steps={STEPS}", "--set", f"hold={HOLD}")
    run = on_slurm.json("submit", contained, "--on", "slurm", *options)["runs"][0]["id"]
    on_slurm.wait_for_line(run, "counting from step 0")
    inside = [variables.get("INSIDE") for variables in ranks(on_slurm, run)]
    follow = subprocess.Popen(
        [EXECUTABLE, "logs", run, "-f", "--grep", "counting from step"],
        env=on_slurm.environment,
        cwd=on_slurm.folder,
        stdout=subprocess.PIPE,
        text=True,
    )

    on_slurm.until(lambda: "requeued" in on_slurm.events(run), "the time limit")
    (on_slurm.runs / run / "go").touch()
    row = on_slurm.wait(run, "done", "failed", timeout_s=400)
    followed, _ = follow.communicate(timeout=60)
    second = on_slurm("logs", run, "--rank", "1", "--grep", "saved").stdout

    assert inside == ["image.sif"] * 2
    stops = row["attempts"] - 1
    assert (row["state"], stops > 0) == ("done", True), row["reason"]
    assert on_slurm.events(run) == ["start", "stopping", "requeued"] * stops + ["start", "done"]
    assert "requeued: time limit" in on_slurm("status", run).stdout
    assert [counted(on_slurm.runs / run, rank) for rank in (0, 1)] == [count(STEPS)] * 2
    assert follow.returncode == 0
    starts = [line.partition(" on ")[0] for line in followed.splitlines()]
    assert starts[:2] == [f"[rank {rank}] counting from step 0" for rank in (0, 1)]
    assert [f"[rank {rank}] counting from step {HOLD + 1}" for rank in (0, 1)] == starts[-2:]
    assert {f"saved step {step}" for step in (HOLD + 1, 10, STEPS)} == set(second.splitlines())


def test_an_exception_on_one_rank_of_two_nodes_ends_the_other_and_says_which_where_and_why(
    on_slurm: Detrun, slurm: Cluster, counting: str
) -> None:
    options = ("--nodes", "2", "--set", "fail=1", "--set", "hold=2")
    planned = on_slurm.json("submit", counting, "--on", "slurm", *options)["runs"][0]
    run = planned["id"]

    row = on_slurm.wait(run, "failed", "done")
    slurm.wait_job(planned["job_id"], "FAILED")
    shown = on_slurm("status", run).stdout

    assert (row["state"], row["attempts"]) == ("failed", 1)
    assert row["reason"] == "rank 1 on n2: ValueError: cannot count on"
    assert ranks(on_slurm, run) == []
    assert "last lines   Traceback (most recent call last):\n" in shown
    assert "             ValueError: cannot count on\n" in shown
    assert "[rank 1] ValueError: cannot count on\n" in on_slurm("logs", run).stdout
    assert "ValueError" not in on_slurm("logs", run, "--rank", "0").stdout
