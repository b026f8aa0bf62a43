"""Arrays, dependencies, crashes half-way and bad weather on the private Slurm, with runs that only count."""

import itertools
import json
import signal
import subprocess
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
from command import EXECUTABLE, Detrun
from slurm_cluster import Cluster

pytestmark = pytest.mark.slurm


@pytest.fixture
def blocked(slurm: Cluster) -> Iterator[Cluster]:
    """A cluster on which nothing starts."""
    slurm.run("scontrol", "update", "partitionname=main", "state=down")
    yield slurm
    slurm.reset()
    slurm.run("scontrol", "update", "partitionname=main", "state=up")


def submit(detrun: Detrun, recipe: str, *sets: str, options: tuple[str, ...] = ()) -> list[dict[str, object]]:
    words = [word for text in sets for word in ("--set", text)]
    planned: list[dict[str, object]] = detrun.json("submit", recipe, "--on", "slurm", *words, *options)["runs"]
    return planned


def test_a_thousand_runs_are_one_array_and_the_sweep_can_grow_and_shrink(
    on_slurm: Detrun, blocked: Cluster, counting: str
) -> None:
    seeds = ",".join(map(str, range(1000)))
    planned = submit(on_slurm, counting, f"seed={seeds}", options=("--max-parallel", "7"))
    grown = submit(on_slurm, counting, "seed=998,999,1000")
    shrunk = submit(on_slurm, counting, "seed=5,6")
    rows = on_slurm.status()

    arrays = {str(run["job_id"]).partition("_")[0] for run in planned}
    assert len(arrays) == 1
    assert "ArrayTaskThrottle=7" in blocked.run("scontrol", "show", "job", *arrays).stdout
    assert [(run["state"], run["submit"]) for run in grown] == [("pending", False), ("pending", False), (None, True)]
    assert [run["submit"] for run in shrunk] == [False, False]
    assert len(rows) == 1001
    assert {row["state"] for row in rows} == {"pending"}
    assert len({row["sweep"] for row in rows}) == 1


def test_a_submission_that_breaks_off_after_sbatch_is_found_again(
    on_slurm: Detrun, blocked: Cluster, counting: str, tmp_path: Path
) -> None:
    """sbatch answers and then the submission is killed, before it could write the job's number down."""
    real = subprocess.run(["which", "sbatch"], capture_output=True, text=True, check=True).stdout.strip()
    folder = tmp_path / "bin"
    folder.mkdir()
    script = f'#!/bin/sh\n{real} "$@"\ncase "$*" in *test-only*) ;; *) kill -9 $PPID;; esac\n'
    (folder / "sbatch").write_text(script)
    (folder / "sbatch").chmod(0o755)
    path = on_slurm.environment["PATH"]

    on_slurm.environment["PATH"] = f"{folder}:{path}"
    done = on_slurm("submit", counting, "--on", "slurm", "--set", "seed=1,2", code=None)
    on_slurm.environment["PATH"] = path
    rows = on_slurm.status()
    again = submit(on_slurm, counting, "seed=1,2")
    on_slurm("cancel", *(row["id"] for row in rows))

    assert done.returncode == -signal.SIGKILL
    assert [json.loads((on_slurm.runs / row["id"] / "job.json").read_text())["job_id"] for row in rows] == ["", ""]
    assert [row["state"] for row in rows] == ["pending", "pending"]
    assert [run["submit"] for run in again] == [False, False]
    blocked.wait_empty()


@pytest.mark.torchrun
def test_a_run_after_another_waits_for_it_and_one_that_cannot_be_is_refused(on_slurm: Detrun, counting: str) -> None:
    first = str(submit(on_slurm, counting, "seed=1", "steps=20", "hold=5")[0]["id"])
    second = submit(on_slurm, counting, "seed=2", "steps=2", options=("--after", str(first)))[0]["id"]
    failing = submit(on_slurm, counting, "fail=1")[0]["id"]
    never = submit(on_slurm, counting, "seed=3", options=("--after", str(failing)))[0]["id"]
    waiting = on_slurm.wait_for(str(second), lambda row: row["reason"] == "Dependency")
    (on_slurm.runs / first / "go").touch()
    rows = {run: on_slurm.wait(run, "done", "failed", "cancelled", "lost") for run in (first, second, failing, never)}
    refused = on_slurm("submit", counting, "--on", "slurm", "--set", "seed=4", "--after", failing, code=1)

    assert waiting["state"] == "pending"
    assert [rows[run]["state"] for run in (first, second, failing)] == ["done", "done", "failed"]
    assert rows[second]["started_at"] >= rows[first]["ended_at"]
    assert rows[never]["state"] == "cancelled"
    assert f"cannot come after {failing}: it is failed" in refused.stderr


def test_a_run_that_waits_says_when_it_may_start(on_slurm: Detrun, counting: str) -> None:
    run = str(submit(on_slurm, counting, options=("--sbatch", "begin=now+1hour"))[0]["id"])
    expected = time.time() + 3600

    row = on_slurm.wait_for(run, lambda row: row["start_at"])
    screen = on_slurm("status").stdout
    on_slurm("cancel", run)

    assert (row["state"], row["reason"]) == ("pending", "BeginTime")
    assert abs(row["start_at"] - expected) < 600
    assert datetime.fromtimestamp(row["start_at"]).astimezone().isoformat() in screen


def test_a_run_that_starts_from_anothers_best_weights_waits_for_it(on_slurm: Detrun, blocked: Cluster) -> None:
    first = on_slurm.submit("--on", "slurm", "--cpus", "1")[0]
    second = on_slurm.submit("--on", "slurm", "--cpus", "1", "--set", f"model.init=@{first['id']}")[0]

    config = json.loads((on_slurm.runs / second["id"] / "config.json").read_text())
    job = blocked.run("scontrol", "show", "job", second["job_id"]).stdout

    assert config["model"]["init"] == str(on_slurm.runs / first["id"] / "checkpoints" / "best.pt")
    assert f"Dependency=afterok:{first['job_id']}(unfulfilled)" in job


def test_status_answers_in_bad_weather_and_says_how_old_its_answer_is(
    on_slurm: Detrun, blocked: Cluster, counting: str
) -> None:
    run = submit(on_slurm, counting)[0]["id"]
    calm = on_slurm.json("status")

    blocked.stop_daemon("slurmdbd")
    without_accounting = fresh(on_slurm)
    blocked.signal_daemon("slurmctld", signal.SIGSTOP)
    hanging = fresh(on_slurm)
    blocked.signal_daemon("slurmctld", signal.SIGCONT)
    blocked.stop_daemon("slurmctld")
    stopped = fresh(on_slurm)
    refused = on_slurm("submit", counting, "--on", "slurm", "--set", "seed=9", code=1)
    blocked.start_daemon("slurmdbd")
    blocked.start_daemon("slurmctld")
    again = fresh(on_slurm)

    assert (calm["scheduler"]["ok"], without_accounting["scheduler"]["ok"], again["scheduler"]["ok"]) == (
        True,
        True,
        True,
    )
    for answer in (hanging, stopped):
        assert answer["scheduler"]["ok"] is False
        assert answer["scheduler"]["age_s"] > 3
        assert answer["runs"][0]["state"] == "pending"
    assert "squeue did not answer within 3 s" in hanging["scheduler"]["error"]
    assert "squeue" in stopped["scheduler"]["error"]
    assert "the Slurm controller does not answer; try again later" in refused.stderr
    assert [row["id"] for row in on_slurm.status()] == [run]


def fresh(detrun: Detrun) -> dict[str, object]:
    """`status` after the last answer has aged; it waits for no scheduler longer than a few seconds."""
    time.sleep(3.1)
    answer: dict[str, object] = json.loads(detrun("status", "--json", timeout_s=60).stdout)
    return answer


@pytest.mark.usefixtures("blocked")
def test_squeue_is_asked_once_for_all_runs_and_not_again_for_seconds(
    on_slurm: Detrun, counting: str, tmp_path: Path
) -> None:
    submit(on_slurm, counting, "seed=1,2,3,4,5")
    real = subprocess.run(["which", "squeue"], capture_output=True, text=True, check=True).stdout.strip()
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "squeue").write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\nexec {real} "$@"\n')
    (folder / "squeue").chmod(0o755)
    on_slurm.environment["PATH"] = f"{folder}:{on_slurm.environment['PATH']}"
    time.sleep(3.1)

    watch = subprocess.Popen(
        ["env", "--default-signal=INT", EXECUTABLE, "status", "--watch", "0.2"],
        env=on_slurm.environment,
        cwd=on_slurm.folder,
        stdout=subprocess.DEVNULL,
    )
    began = time.monotonic()
    for _ in itertools.repeat(None, 3):
        on_slurm("status")
    time.sleep(max(0.0, 4 - (time.monotonic() - began)))
    passed_s = time.monotonic() - began
    watch.send_signal(signal.SIGINT)

    assert watch.wait(60) == 130
    asked = (tmp_path / "asked").read_text().splitlines()
    assert 1 <= len(asked) <= 1 + passed_s / 3


def test_a_job_of_somebody_else_with_the_same_number_is_not_ours(
    on_slurm: Detrun, blocked: Cluster, counting: str
) -> None:
    """Slurm counts from 1 again where its state is lost; a job is known by its folder, not by its number."""
    run = str(submit(on_slurm, counting)[0]["id"])
    record = on_slurm.runs / run / "job.json"
    job = json.loads(record.read_text())
    other = blocked.run("sbatch", "--parsable", "-o", "/dev/null", "--wrap", "true").stdout.strip()
    blocked.run("scancel", job["job_id"])
    record.write_text(
        json.dumps(job | {"job_id": other, "submitted_at": job["submitted_at"] - 3600, "folder": "/gone"})
    )

    row = on_slurm.wait(run, "lost")

    assert "Slurm no longer knows it" in row["reason"]
