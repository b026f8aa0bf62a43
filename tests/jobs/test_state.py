"""The state of a run as a table: what the files say, what the scheduler says, what comes out."""

from pathlib import Path
from typing import Any

import pytest

from detector.records import Event, encode
from jobs import facts, records, rundir
from jobs.records import Code, Job, Run
from jobs.resources import Resources
from jobs.rundir import RunDir
from jobs.slurm_rows import HistoryRow, QueueRow
from jobs.state import STALLED_S, Scheduler, Standing, stand

NOW = 1_000_000.0
FOLDER = "/runs/.submissions/digits-abc123"


def make_run(folder: Path, *events: tuple[float, str, int], job: bool = True, **changes: Any) -> RunDir:
    """A run directory with events given as (seconds before now, name, attempt)."""
    run = Run(
        id="digits-abc123",
        recipe="digits",
        sweep=None,
        overrides={},
        digest="d",
        created_at=NOW - 500,
        command_line=["detrun"],
        cwd="/",
        user="me",
        host="login",
        code=Code(version="1", root="/", files="f"),
        versions={},
        resources=Resources(),
    )
    directory = rundir.create(folder / run.id, run, {})
    if job:
        settings: dict[str, Any] = {"executor": "slurm", "host": "login", "job_id": "7", "submitted_at": NOW - 400}
        made = Job(name=run.id, folder=FOLDER, **({"resources": Resources()} | settings | changes))
        records.write_record(directory.job_json, made)
    lines = [encode(Event(t=NOW - ago, event=name, attempt=attempt, host="n1")) for ago, name, attempt in events]
    directory.events.write_bytes(b"".join(lines))
    return directory


def standing(directory: RunDir, scheduler: Scheduler) -> Standing:
    return stand(facts.gather(directory), str(directory.path), scheduler, NOW)


def slurm(state: str = "", *, history: str = "", reason: str = "", ok: bool = True, folder: str = FOLDER) -> Scheduler:
    row = QueueRow(job_id="7", state=state, reason=reason, start_at=None, folder=folder)
    past = HistoryRow(
        job_id="7", state=history, elapsed_s=1, exit_code="1:0", started_at=None, ended_at=None, folder=FOLDER
    )
    return Scheduler(
        ok=ok,
        asked_at=NOW,
        slurm={(folder, 0): row} if state else {},
        history={(FOLDER, 0): past} if history else {},
    )


FRESH, OLD = 5.0, STALLED_S + 60


@pytest.mark.parametrize(
    ("events", "scheduler", "state"),
    [
        ([], slurm("PENDING"), "pending"),
        ([], slurm("RUNNING"), "running"),
        ([(FRESH, "start", 1)], slurm("RUNNING"), "running"),
        ([(OLD, "start", 1)], slurm("RUNNING"), "stalled"),
        ([(OLD, "start", 1), (FRESH, "heartbeat", 1)], slurm("RUNNING"), "running"),
        ([(90, "start", 1), (50, "stopping", 1), (40, "requeued", 1)], slurm("PENDING"), "requeued"),
        ([(90, "start", 1), (50, "stopping", 1), (1, "requeued", 1)], slurm("COMPLETING"), "requeued"),
        ([(90, "start", 1), (40, "requeued", 1), (9, "start", 2)], slurm("RUNNING"), "running"),
        ([(90, "start", 1), (40, "done", 1)], slurm("COMPLETED"), "done"),
        ([(90, "start", 1), (40, "failed", 1)], slurm("RUNNING"), "failed"),
        ([(90, "start", 1), (40, "heartbeat", 1)], slurm("CANCELLED by 1000"), "cancelled"),
        ([(90, "start", 1)], slurm("NODE_FAIL"), "failed"),
        ([(90, "start", 1)], slurm("OUT_OF_MEMORY"), "failed"),
        ([(90, "start", 1)], slurm("PREEMPTED"), "failed"),
        ([], slurm(history="PENDING"), "pending"),
        ([], slurm(history="RUNNING"), "running"),
        ([(OLD, "start", 1)], slurm(history="TIMEOUT"), "failed"),
        ([(OLD, "start", 1)], slurm(history="CANCELLED by 0"), "cancelled"),
        ([(OLD, "start", 1)], slurm(), "lost"),
        ([(FRESH, "start", 1)], slurm(ok=False), "running"),
        ([(OLD, "start", 1)], slurm(ok=False), "stalled"),
        ([], slurm(ok=False), "pending"),
        ([(90, "start", 1), (40, "requeued", 1)], slurm(ok=False), "requeued"),
        ([(OLD, "start", 1)], slurm("RUNNING", folder="/another/job"), "lost"),
    ],
)
def test_the_files_come_first_and_the_scheduler_fills_in(
    tmp_path: Path, events: list[tuple[float, str, int]], scheduler: Scheduler, state: str
) -> None:
    assert standing(make_run(tmp_path, *events), scheduler).state == state


def test_a_run_whose_submission_broke_off_is_planned_again(tmp_path: Path) -> None:
    assert standing(make_run(tmp_path, job=False), slurm()).state == "planned"
    assert standing(make_run(tmp_path, job_id=""), slurm()).state == "planned"


def test_a_submission_that_broke_off_after_sbatch_is_found_by_its_folder(tmp_path: Path) -> None:
    assert standing(make_run(tmp_path, job_id=""), slurm("RUNNING")).state == "running"


def test_a_new_submission_makes_earlier_ends_count_no_more(tmp_path: Path) -> None:
    again = make_run(tmp_path, (90, "start", 1), (40, "failed", 1), attempts_before=1)

    assert standing(again, slurm("PENDING")).state == "pending"


def test_an_order_to_cancel_counts_before_the_worker_confirms_it(tmp_path: Path) -> None:
    run = make_run(tmp_path, (90, "start", 1))
    run.cancelled.write_text("{}")

    assert standing(run, slurm("COMPLETING")).state == "cancelled"


def test_the_first_failure_is_the_cause_and_its_echoes_are_not(tmp_path: Path) -> None:
    run = make_run(tmp_path, (90, "start", 1), resources=Resources(nodes=2))
    echo = Event(t=NOW - 20, event="failed", attempt=1, host="n1", rank=0, reason="connection reset", echo=True)
    cause = Event(t=NOW - 19, event="failed", attempt=1, host="n2", rank=1, reason="loss is nan")
    with run.events.open("ab") as file:
        file.write(encode(echo))
    (run.path / "events.node1.jsonl").write_bytes(encode(cause))

    found = standing(run, slurm("FAILED"))

    assert (found.state, found.reason) == ("failed", "rank 1 on n2: loss is nan")


def test_a_torn_last_line_is_passed_over(tmp_path: Path) -> None:
    run = make_run(tmp_path, (90, "start", 1), (5, "heartbeat", 1))
    with run.events.open("ab") as file:
        file.write(b'{"t":1,"event":"don')

    assert standing(run, slurm("RUNNING")).state == "running"


def test_time_on_nodes_sums_the_attempts_without_the_waits_between(tmp_path: Path) -> None:
    run = make_run(tmp_path, (400, "start", 1), (300, "requeued", 1), (100, "start", 2), (40, "heartbeat", 2))

    assert facts.gather(run).node_s == 160


def test_a_clock_that_is_set_back_or_ahead_loses_no_time_and_stalls_nothing(tmp_path: Path) -> None:
    """The node's clock is an hour ahead, and set right between two heartbeats."""
    hour = 3600
    run = make_run(
        tmp_path,
        *((400 - hour, "start", 1), (300 - hour, "heartbeat", 1), (290, "heartbeat", 1), (40, "heartbeat", 1)),
    )
    ahead = make_run(tmp_path / "ahead", (-hour, "start", 1), (-hour - 60, "heartbeat", 1))

    assert facts.gather(run).node_s == 100 + 250
    assert standing(run, slurm("RUNNING")).state == "running"
    assert standing(ahead, slurm("RUNNING")).state == "running"
    assert standing(ahead, slurm()).state == "running"


def test_the_order_of_a_nodes_events_is_that_of_its_file_whatever_its_clock_says(tmp_path: Path) -> None:
    run = make_run(tmp_path, (0, "start", 1), (3600, "stopping", 1), (3590, "requeued", 1))

    assert standing(run, slurm(ok=False)).state == "requeued"


def test_a_login_node_whose_clock_was_set_back_does_not_wait_for_a_job_that_is_gone(tmp_path: Path) -> None:
    assert standing(make_run(tmp_path, submitted_at=NOW + 3600), slurm()).state == "lost"
    assert standing(make_run(tmp_path / "new", submitted_at=NOW + 5), slurm()).state == "pending"
