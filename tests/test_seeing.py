"""What people and programs read of runs: completion, the notebook's API, JSON as documented, and one run whole."""

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest
from command import EXECUTABLE, Detrun

from jobs.overview import RunStatus, Status

# The contract of DESIGN.md, and what was added to it since; a key that goes away breaks somebody's script.
STATUS_KEYS = {
    "id", "recipe", "sweep", "state", "executor", "job_id", "reason", "epoch", "epochs", "step", "loss",
    "images_per_s", "eta_s", "metrics", "gpu_hours", "attempts", "started_at", "ended_at", "path",
    "start_at", "submitted_at", "hosts", "overrides", "trainer",
}  # fmt: skip


def complete(detrun: Detrun, line: str) -> list[str]:
    """What a shell is told at the end of a command line."""
    variables = {
        "_DETRUN_COMPLETE": "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(line.split(" ")) - 1),
    }
    done = subprocess.run(
        [EXECUTABLE], env=detrun.environment | variables, cwd=detrun.folder, capture_output=True, text=True, check=False
    )
    return done.stdout.split()


@pytest.fixture
def ended(detrun: Detrun) -> str:
    """A run that its own worker never saw: it was submitted, and its records say that it failed on rank 1."""
    run = detrun.submit("--on", "local", "--seeds", "2")[0]["id"]
    detrun("cancel", *(row["id"] for row in detrun.status()))
    folder = detrun.runs / run
    (folder / "cancelled.json").unlink()
    log = folder / "logs" / "attempt_9" / "node_0" / "x" / "attempt_0" / "1" / "stderr.log"
    log.parent.mkdir(parents=True)
    log.write_text("".join(f"line {number}\n" for number in range(30)) + "ValueError: no more\n")
    now = time.time()
    events = [
        {"t": now - 60, "event": "start", "attempt": 9, "host": "here", "nodes": ["here"]},
        {"t": now - 9, "event": "failed", "attempt": 9, "host": "here", "rank": 1, "reason": "ValueError: no more"},
    ]
    with (folder / "events.jsonl").open("a") as file:
        file.writelines(json.dumps(event) + "\n" for event in events)
    return str(run)


def test_a_failed_run_is_shown_with_its_cause_its_last_lines_and_what_to_type(detrun: Detrun, ended: str) -> None:
    shown = detrun("status", ended).stdout

    for part in (
        f"run          {ended}\n",
        "state        ✗ failed: rank 1 on here: ValueError: no more\n",
        "seed = 0\n",
        "failed (rank 1 on here): ValueError: no more\n",
        "last lines   line 23\n",
        "             ValueError: no more\n",
        f"commands     detrun logs {ended}\n",
        f"             detrun retry {ended}\n",
    ):
        assert part in shown


def test_json_has_the_keys_of_the_contract_and_decodes_as_the_type_of_the_api(detrun: Detrun, ended: str) -> None:
    text = detrun("status", "--json").stdout
    plain = json.loads(text)

    assert set(plain) == {"schema", "runs", "scheduler"}
    assert set(plain["scheduler"]) == {"ok", "error", "age_s"}
    assert all(set(row) == STATUS_KEYS == set(RunStatus.__struct_fields__) for row in plain["runs"])
    assert {row["id"]: row["state"] for row in plain["runs"]}[ended] == "failed"
    assert msgspec.json.decode(text, type=Status).schema == 1


def test_a_notebook_uses_the_functions_that_the_command_uses(detrun: Detrun) -> None:
    script = (
        "from jobs import submit, status, cancel\n"
        f"jobs = submit('yolov3-tiny-bccd', sets=['data.root={detrun.data}', 'seed=1,2'], on='local',"
        " resources={'gpus': 0})\n"
        "known = status()\n"
        "assert sorted(row.id for row in known.runs) == sorted(jobs), (known, jobs)\n"
        "cancel(list(jobs))\n"
        "assert {row.state for row in status().runs} == {'cancelled'}\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", script],
        env=detrun.environment,
        cwd=detrun.folder,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr


def test_the_shell_completes_recipes_keys_runs_and_states(detrun: Detrun, ended: str) -> None:
    assert "yolov3-tiny-bccd" in complete(detrun, "detrun submit yolov3-t")
    assert complete(detrun, "detrun submit digits --set optim.l") == ["optim.lr="]
    assert ended in complete(detrun, f"detrun logs {ended[:-4]}")
    assert complete(detrun, "detrun retry @") == ["@last"]
    assert complete(detrun, "detrun status --state fa") == ["failed"]


def test_completion_of_run_ids_asks_no_scheduler_and_reads_no_run(detrun: Detrun) -> None:
    for number in range(3):
        (detrun.runs / f"digits-{number:06x}").mkdir(parents=True)
    (detrun.runs / ".code").mkdir()

    assert complete(detrun, "detrun cancel digits-") == [f"digits-{number:06x}" for number in range(3)]
    assert "digits" in complete(detrun, "detrun cancel dig")
    assert not Path(detrun.environment["XDG_CACHE_HOME"]).exists()


def test_a_large_plan_is_shown_and_asked_about_and_no_means_no(detrun: Detrun, counting: str) -> None:
    ours, theirs = pty.openpty()
    os.write(ours, b"n\n")
    large = ("--on", "slurm", "--gpus", "8", "--nodes", "4", "--time", "2d")

    done = subprocess.run(
        [EXECUTABLE, "submit", counting, *large],
        env=detrun.environment,
        cwd=detrun.folder,
        stdin=theirs,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1
    assert "4 nodes x 8 GPUs · 48 h limit · at most 1536 GPU-hours" in done.stderr
    assert "1 run, at most 1536 GPU-hours. Submit?" in done.stderr
    assert not detrun.runs.exists()


def test_a_watch_shows_what_runs_before_what_waits_or_has_ended_and_an_interrupt_detaches(
    detrun: Detrun, counting: str
) -> None:
    """Nine runs on a terminal of eight lines, of which the oldest is on. The line below them is left to the `^C`."""
    settings = detrun.folder / "config" / "detrun" / "config.toml"
    settings.parent.mkdir(parents=True)
    settings.write_text("[local]\ncpus = 1\n")
    sets = ("--set", "seed=1,2,3,4,5,6,7,8,9", "--set", "hold=1")
    runs = [run["id"] for run in detrun.json("submit", counting, "--on", "local", *sets)["runs"]]
    detrun.wait(runs[0], "running")
    ours, theirs = pty.openpty()

    watch = subprocess.Popen(
        ["env", "--default-signal=INT", EXECUTABLE, "status", "--watch", "0.2"],
        env=detrun.environment | {"LINES": "8", "COLUMNS": "100", "TERM": "xterm"},
        cwd=detrun.folder,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    seen = read_until(ours, f"Next: detrun logs -f {runs[0].rpartition('-')[2]}\r\n".encode())
    watch.send_signal(signal.SIGINT)
    seen += read_until(ours, b"Next: detrun status")

    assert watch.wait(60) == 130
    assert f"{runs[0].rpartition('-')[2]}  1" in seen
    assert "● running" in seen
    assert "8 pending · 1 running · 5 not shown (--all)" in seen
    assert "detached; the runs go on" in seen


def read_until(terminal: int, end: bytes) -> str:
    """What a program writes to its terminal until some words, without colours and movements of the cursor."""
    seen = b""
    while end not in re.sub(rb"\x1b\[[0-9;?]*[A-Za-z]", b"", seen):
        assert select.select([terminal], [], [], 60)[0], seen
        seen += os.read(terminal, 4096)
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", seen.decode())
