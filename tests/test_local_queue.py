"""The queue of this machine: its pool, its limits of time, second tries, and ends that leave nothing behind."""

import json
import re
import signal
import subprocess
from pathlib import Path

import psutil
import pytest
from command import EXECUTABLE, Detrun
from counting import count, counted

pytestmark = pytest.mark.torchrun


def settings(detrun: Detrun, text: str) -> None:
    path = detrun.folder / "config" / "detrun" / "config.toml"
    path.parent.mkdir(parents=True)
    path.write_text(text)


def submit(detrun: Detrun, recipe: str, *options: str) -> str:
    run: str = detrun.json("submit", recipe, "--on", "local", *options)["runs"][0]["id"]
    return run


def leader(detrun: Detrun, run: str) -> psutil.Process:
    """The process that the queue started."""
    job = json.loads((detrun.runs / run / "job.json").read_text())
    return psutil.Process(int(job["job_id"].split("-")[0]))


def test_a_time_limit_saves_and_goes_on_and_a_loop_of_stops_or_failures_ends(
    detrun: Detrun, counting: str, project: Path
) -> None:
    """All at once, since a limit is a minute at least: forty seconds, and the grace time."""
    settings(detrun, "[local]\ncpus = 8\n")
    once = project / "once.toml"
    once.write_text(Path(counting).read_text().replace("max_requeues = 3", "max_requeues = 1"))
    limited = submit(detrun, counting, "--time", "1m", "--set", "steps=60", "--set", "hold=25")
    deaf = submit(detrun, counting, "--time", "1m", "--set", "obedience=none", "--set", "steps=60", "--set", "hold=25")
    stopped = submit(detrun, str(once), "--set", "steps=100000")
    flaky = submit(detrun, counting, "--set", "fail=2", "--set", "words=lost rendezvous")

    for attempt in (1, 2):
        detrun.until(lambda: detrun.events(stopped).count("start") == attempt, "a start")  # noqa: B023
        detrun.wait_for_line(stopped, f"saved step {10 * attempt}")
        leader(detrun, stopped).send_signal(signal.SIGTERM)
        detrun.until(lambda: len(detrun.events(stopped)) >= 3 * attempt, "its end")  # noqa: B023
    for run in (limited, deaf):
        detrun.until(lambda: "requeued" in detrun.events(run), "its time limit")  # noqa: B023
        (detrun.runs / run / "go").touch()
    rows = {run: detrun.wait(run, "done", "failed") for run in (stopped, flaky, limited, deaf)}

    assert rows[stopped]["reason"] == "SIGTERM, after 1 requeues (max_requeues = 1); `detrun retry` goes on"
    assert detrun.events(stopped) == ["start", "stopping", "requeued", "start", "stopping", "failed"]
    assert (rows[flaky]["state"], rows[flaky]["attempts"]) == ("failed", 3)
    assert rows[flaky]["reason"].endswith("ValueError: lost rendezvous")
    for run in (limited, deaf):
        assert rows[run]["state"] == "done", rows[run]
        assert detrun.events(run)[:4] == ["start", "stopping", "requeued", "start"]
        assert counted(detrun.runs / run) == count(60)
    assert "requeued: time limit" in detrun("status", limited).stdout


def test_two_submissions_at_once_do_not_share_a_gpu(detrun: Detrun, counting: str) -> None:
    settings(detrun, "[local]\ngpus = [3, 5]\ncpus = 8\n")
    request = [EXECUTABLE, "submit", counting, "--on", "local", "--gpus", "1", "--set", "steps=30", "--json"]

    both = [
        subprocess.Popen(
            [*request, "--set", f"seed={seeds}"], env=detrun.environment, cwd=detrun.folder, stdout=subprocess.PIPE
        )
        for seeds in ("1,2", "3,4")
    ]
    answers = [json.loads(submission.communicate(timeout=300)[0]) for submission in both]
    runs = [run["id"] for answer in answers for run in answer["runs"]]
    rows = [detrun.wait(run, "done", "failed") for run in runs]

    assert [row["state"] for row in rows] == ["done"] * 4
    uses = [(gpu_of(detrun, row["id"]), row["started_at"], row["ended_at"]) for row in rows]
    assert {gpu for gpu, *_ in uses} == {"3", "5"}
    for place, (gpu, start, end) in enumerate(uses):
        for other, other_start, other_end in uses[:place]:
            assert gpu != other or end <= other_start or other_end <= start
    assert min(end for *_, end in uses) > sorted(start for _, start, _ in uses)[1], "two ran side by side"


def gpu_of(detrun: Detrun, run: str) -> str:
    found = re.search(r"on GPU (\S*)", detrun.logs(run))
    assert found
    return found[1]


def test_cancel_ends_what_hears_no_signal_and_what_lost_its_parent(detrun: Detrun, counting: str) -> None:
    run = submit(detrun, counting, "--procs", "2", "--set", "obedience=none", "--set", "steps=100000")
    detrun.wait_for_line(run, "saved step 10")
    everything = {process: process.cmdline() for process in detrun.processes()}
    torchrun = next(process for process, words in everything.items() if "torch.distributed.run" in words)
    counters = [process for process, words in everything.items() if "count.py" in words and process != torchrun]
    assert len(counters) == 2

    torchrun.kill()
    detrun("cancel", run)

    assert detrun.state(run) in ("cancelled", "failed")
    assert not [process for process in counters if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]


def test_after_a_power_cut_a_retry_goes_on_with_what_ran_and_with_what_waited(detrun: Detrun, counting: str) -> None:
    settings(detrun, "[local]\ncpus = 1\n")
    sets = ("--set", "seed=1,2", "--set", "steps=20", "--set", "hold=11")
    first, second = (run["id"] for run in detrun.json("submit", counting, "--on", "local", *sets)["runs"])
    detrun.wait_for_line(first, "saved step 10")
    for process in sorted(detrun.processes(), key=lambda process: "jobs.local" not in process.cmdline()):
        process.kill()
    lost, waiting = detrun.wait(first, "lost"), detrun.state(second)

    for run in (first, second):
        (detrun.runs / run / "go").touch()
    detrun("retry", first)
    rows = [detrun.wait(run, "done", "failed") for run in (first, second)]

    assert "`detrun retry` resumes it" in lost["reason"]
    assert waiting == "pending"
    assert [(row["state"], row["attempts"]) for row in rows] == [("done", 2), ("done", 1)]
    assert [counted(detrun.runs / run) for run in (first, second)] == [count(20, 1), count(20, 2)]
    assert "counting from step 10 on" in detrun.logs(first)
