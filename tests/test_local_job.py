"""The main job on this machine, through the installed command."""

import json
import re
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from command import Detrun

from detector.evaluation.detections import read

pytestmark = pytest.mark.torchrun

METRICS = {"AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl"}


def test_a_run_is_submitted_watched_and_reported(detrun: Detrun) -> None:
    run = detrun.submit("--on", "local", "--procs", "2")[0]["id"]

    watched = detrun("status", run, "--watch", "1")
    row = detrun.status(run)[0]
    report = detrun.json("report", run)

    assert f"{run}\tdone\tepoch 2/2" in watched.stdout
    assert (row["state"], row["epoch"], row["attempts"], row["executor"]) == ("done", 2, 1, "local")
    assert set(row["metrics"]) == METRICS
    assert report["runs"][0]["evaluations"] == 2
    assert report["runs"][0]["metrics"] == row["metrics"]


def test_the_run_directory_holds_what_the_contract_lists(detrun: Detrun) -> None:
    run = detrun.submit("--on", "local")[0]["id"]
    detrun.wait(run, "done")
    folder = detrun.runs / run

    names = {str(path.relative_to(folder)) for path in folder.rglob("*")}
    record = json.loads((folder / "run.json").read_text())

    assert {"run.json", "config.json", "code", "job.json", "events.jsonl", "metrics.jsonl"} <= names
    assert {"eval/epoch_0001.json", "eval/epoch_0002.json", "checkpoints/last.pt", "checkpoints/best.pt"} <= names
    assert (folder / "code" / "detector" / "loop.py").is_file()
    assert record["schema"] == 1
    assert record["overrides"]["data.root"] == str(detrun.data)
    assert record["code"]["files"]
    assert {"torch", "hotcoco", "python"} <= set(record["versions"])
    assert json.loads((folder / "config.json").read_text())["epochs"] == 2
    assert json.loads((folder / "eval" / "epoch_0002.json").read_text())["parameters"] > 8_000_000


def test_a_run_predicts_on_any_images_what_its_evaluation_found(detrun: Detrun, tmp_path: Path) -> None:
    (tmp_path / "no.png").write_text("no image")
    run = detrun.submit("--on", "local", "--set", "eval.score_threshold=0", epochs=1)[0]["id"]
    detrun.wait(run, "done")
    images = [str(detrun.data / "images" / "val" / f"{number}.png") for number in range(1, 8)]

    said = detrun("predict", run, *images, "--out", str(tmp_path / "seen"), "--threshold", "0.01")

    found = json.loads((tmp_path / "seen" / "results.json").read_text())
    scored = read(detrun.runs / run / "eval" / "epoch_0001.npz")
    order = np.lexsort(([row["score"] for row in found], [row["image_id"] for row in found]))
    expected = np.lexsort((scored.score, scored.image_id))
    assert len(found) == len(scored.score) > 0
    assert [found[at]["image_id"] for at in order] == scored.image_id[expected].tolist()
    assert np.allclose([found[at]["score"] for at in order], scored.score[expected], atol=1e-4)
    assert {row["category_id"] for row in found} <= {3, 7}
    assert [line.split("\t")[0] for line in said.stdout.splitlines()] == [str(number) for number in range(1, 8)]
    drawn, plain = (cv2.imread(str(path)) for path in (tmp_path / "seen" / "1_1.jpg", Path(images[0])))
    assert drawn.shape == plain.shape
    assert "no.png is no image" in detrun("predict", run, str(tmp_path / "no.png"), code=1).stderr


def test_what_ranks_print_is_in_the_logs_with_the_familiar_table(detrun: Detrun) -> None:
    run = detrun.submit("--on", "local", "--procs", "2", epochs=1)[0]["id"]
    detrun.wait(run, "done")

    everything = detrun("logs", run).stdout.splitlines()
    second = detrun("logs", run, "--rank", "1").stdout

    assert any(
        line.startswith("[rank 0]  Average Precision  (AP) @[ IoU=0.50:0.95 | area=   all") for line in everything
    )
    assert any("epoch 1/1  step 1/3  loss" in line for line in everything)
    assert "Average Precision" not in second


def test_submitting_again_leaves_alone_what_is_done_and_adds_what_is_new(detrun: Detrun) -> None:
    first = detrun.submit("--on", "local", epochs=1)[0]
    detrun.wait(first["id"], "done")

    again = detrun.submit("--on", "local", "--seeds", "2", epochs=1)

    assert [(run["state"], run["submit"]) for run in again] == [("done", False), (None, True)]
    assert again[0]["id"] == first["id"]


def test_cancel_ends_every_process_and_retry_goes_on_from_the_last_checkpoint(detrun: Detrun) -> None:
    run = detrun.submit("--on", "local", "--procs", "2", "--set", "checkpoint.every_min=0.0001", epochs=40)[0]["id"]
    detrun.wait_for_step(run, 4)

    detrun("cancel", run)

    assert detrun.state(run) == "cancelled"
    ranks = [process for process in detrun.processes() if "detector.train" in process.cmdline()]
    assert ranks == []
    detrun("retry", run)
    detrun.wait_for_line(run, "resuming at step")
    row = detrun.status(run)[0]
    assert (row["state"], row["attempts"], row["epochs"]) == ("running", 2, 40)


def test_runs_wait_in_line_for_the_cores_they_need(detrun: Detrun) -> None:
    (detrun.folder / "config" / "detrun").mkdir(parents=True)
    (detrun.folder / "config" / "detrun" / "config.toml").write_text("[local]\ncpus = 2\n")

    first, second = (run["id"] for run in detrun.submit("--on", "local", "--seeds", "2", "--cpus", "2", epochs=1))

    detrun.wait(first, "running")
    waiting = detrun.status(second)[0]
    assert (waiting["state"], waiting["reason"]) == ("pending", "place 1 in the queue")
    assert detrun.wait(second, "done")["started_at"] > detrun.status(first)[0]["started_at"]
    assert detrun.state(first) == "done"


def test_an_exception_in_training_is_the_reason_of_the_failure(detrun: Detrun) -> None:
    run = detrun.submit("--on", "local", "--set", "optim.batch_size=64", "--set", "log_every=2")[0]["id"]

    row = detrun.wait(run, "failed", "done")

    assert row["state"] == "failed"
    assert "optim.batch_size: 64 is more than the 24 training images" in row["reason"]
    assert detrun("status", run, "--watch", code=3)


def test_a_loss_that_is_no_number_is_the_reason_and_the_run_goes_on_from_the_last_good_checkpoint(
    detrun: Detrun,
) -> None:
    calm = ["schedule.name=constant", "schedule.burn_in_steps=6", "schedule.burn_in_power=90.0"]
    sets = [word for key in (*calm, "optim.lr=1e30", "checkpoint.every_min=1e-9") for word in ("--set", key)]
    run = detrun.submit("--on", "local", *sets, epochs=4)[0]["id"]

    row = detrun.wait(run, "failed", "done")
    shown = detrun("status", run).stdout

    assert re.fullmatch(
        r"rank 0 on \S+: loss is (nan|inf) at step \d: part `\w+`, rank 0, images \[\d.*\]", row["reason"]
    )
    assert "             hint: lower optim.lr, lengthen schedule.burn_in_steps, or look at those images\n" in shown
    assert "Traceback" not in shown
    detrun("retry", run)
    again = detrun.wait_for(run, lambda row: row["attempts"] == 2 and row["state"] == "failed")
    assert again["reason"] == row["reason"], "the same step from the same checkpoint"
    assert "resuming at step" in detrun.logs(run)


def test_a_loader_process_that_is_killed_ends_the_run_with_that_cause_and_a_retry_goes_on(detrun: Detrun) -> None:
    run = detrun.submit("--on", "local", "--set", "checkpoint.every_min=1e-9", epochs=30)[0]["id"]
    detrun.until(lambda: detrun.step(run) >= 4, "step 4")
    rank = next(process for process in detrun.processes() if "detector.train" in process.cmdline()[1:4])

    rank.children()[0].kill()

    row = detrun.wait(run, "failed", "done")
    assert row["state"] == "failed"
    assert "DataLoader worker (pid" in row["reason"] or "a loader process died" in row["reason"]
    detrun("retry", run)
    detrun.wait_for_line(run, "resuming at step")


def test_an_image_that_cannot_be_read_is_named_and_too_many_end_the_run(detrun: Detrun, tmp_path: Path) -> None:
    import shutil

    broken = tmp_path / "broken"
    shutil.copytree(detrun.data, broken)
    for number in (3, 9):
        path = broken / "images" / "train" / f"{number}.png"
        path.write_bytes(path.read_bytes()[:-200])
    detrun.data = broken

    tolerant = detrun.submit("--on", "local", epochs=1)[0]["id"]
    strict = detrun.submit("--on", "local", "--set", "data.max_bad_images=1", epochs=1)[0]["id"]

    assert detrun.wait(tolerant, "done", "failed")["state"] == "done"
    assert "warning: cannot read 3.png" in detrun.logs(tolerant)
    assert "2 images cannot be read, such as 3.png, 9.png" in detrun.wait(strict, "failed", "done")["reason"]


def test_the_dispatcher_leaves_when_nothing_is_left_to_do(detrun: Detrun) -> None:
    run = detrun.submit("--on", "local", epochs=1)[0]["id"]
    detrun.wait(run, "done")

    deadline = time.monotonic() + 60
    while detrun.processes() and time.monotonic() < deadline:
        time.sleep(0.2)

    assert detrun.processes() == []
