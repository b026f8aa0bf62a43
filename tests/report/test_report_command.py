"""`detrun report`, as it is typed."""

import csv
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from report_logs import block, values
from report_runs import START, make_run

DETRUN = Path(sys.executable).parent / "detrun"


def report(*arguments: str | Path, cwd: Path | None = None, **env: str) -> subprocess.CompletedProcess[str]:
    """Run it off a terminal."""
    known = {key: value for key, value in os.environ.items() if key != "DETRUN_RUNS"}
    return subprocess.run(
        [DETRUN, "report", *map(str, arguments)], capture_output=True, text=True, check=False, cwd=cwd, env=known | env
    )


def document(*arguments: str | Path, cwd: Path | None = None) -> dict[str, object]:
    done = report(*arguments, "--json", cwd=cwd)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 1
    found: dict[str, object] = json.loads(done.stdout)
    return found


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Two learning rates of two seeds, and one that failed."""
    folder = tmp_path / "runs"
    for seed in (0, 1):
        slow = {"optim": {"lr": 1e-3}, "seed": seed}
        make_run(folder, f"digits-7f3a1{seed}", [0.4, 0.51 + seed / 100], settings=slow, created_at=START + seed)
        fast = {"optim": {"lr": 3e-4}, "seed": seed}
        make_run(folder, f"digits-b90d4{seed}", [0.4, 0.54 + seed / 100], settings=fast, created_at=START + 9 + seed)
    make_run(folder, "digits-c11e08", [0.1], settings={"optim": {"lr": 1.0}}, last_event="failed", reason="loss is NaN")
    return folder


def test_the_two_runs_of_the_page_stand_side_by_side_with_the_difference(shared: Path) -> None:
    (one, two) = csv.DictReader(io.StringIO(report(shared / "logs" / "yolov3_result.md").stdout), delimiter="\t")
    assert (one["name"], one["AP"], one["delta_AP"]) == ("From Scratch", "0.22299", "")
    assert (two["name"], two["AP"], two["delta_AP"]) == ("Pretrained Backbone", "0.27713", "0.05414")


def test_a_terminal_shows_the_paper_table(shared: Path) -> None:
    import pty

    leader, follower = pty.openpty()
    done = subprocess.Popen(
        [DETRUN, "report", shared / "logs" / "yolov3_result.md"],
        stdout=follower,
        env=os.environ | {"COLUMNS": "120", "TERM": "xterm", "NO_COLOR": "1"},
    )
    os.close(follower)
    text = b""
    while True:
        try:
            piece = os.read(leader, 4096)
        except OSError:
            break
        if not piece:
            break
        text += piece
    os.close(leader)
    assert done.wait() == 0
    plain = re.sub(rb"\x1b\[[0-9;]*m", b"", text).decode()
    row = next(line.split() for line in plain.splitlines() if line.startswith("Pretrained"))
    assert row[2:5] == [".277*", ".501*", ".277*"]
    assert re.search(rb"\x1b\[1m *\.277\*", text)


def test_runs_of_the_folder_are_compared_seed_by_seed(runs: Path) -> None:
    found = document("--runs", runs)
    arms = {arm["name"]: arm for arm in found["arms"]}  # type: ignore[attr-defined]
    assert list(arms) == ["b90d40", "7f3a10", "c11e08"]
    assert (arms["b90d40"]["n"], arms["b90d40"]["metrics"]["AP"]) == (2, pytest.approx(0.545))
    assert arms["b90d40"]["sd"]["AP"] == pytest.approx(0.0070711, abs=1e-6)
    assert (found["baseline"], arms["c11e08"]["ranked"]) == ("7f3a10", False)
    assert "not ranked: c11e08 (failed, loss is NaN)" in found["flags"]  # type: ignore[operator]


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (("digits-b90d40", "7f3a10"), ["b90d40", "7f3a10"]),
        (("b90d40", "7f3a11"), ["b90d40", "7f3a11"]),
        (("digits",), ["b90d41", "b90d40", "7f3a11", "7f3a10", "c11e08"]),
    ],
)
def test_runs_are_named_as_in_status(runs: Path, words: tuple[str, ...], names: list[str]) -> None:
    done = report(*words, "--runs", runs, "--no-group")
    assert [line.split("\t")[0] for line in done.stdout.splitlines()[1:]] == names


def test_the_beginning_of_several_runs_is_an_error(runs: Path) -> None:
    done = report("7f3a", "--runs", runs)
    assert (done.returncode, done.stdout) == (1, "")
    assert "begins the names of 2 runs" in done.stderr


def test_runs_and_logs_stand_in_one_table_with_a_flag(runs: Path, tmp_path: Path) -> None:
    (tmp_path / "theirs.log").write_text(f"Epoch: [3]\n{block(values(0.5))}")
    found = document("7f3a10", tmp_path / "theirs.log", "--runs", runs)
    assert [each["name"] for each in found["runs"]] == ["digits-7f3a10", "theirs"]  # type: ignore[attr-defined]
    assert "ground truth: not stated (theirs)" in found["flags"]  # type: ignore[operator]


def test_a_run_directory_and_a_folder_of_runs_are_named_by_path(runs: Path) -> None:
    assert len(document(runs / "digits-7f3a10")["runs"]) == 1  # type: ignore[arg-type]
    assert len(document(runs, cwd=runs.parent)["runs"]) == 5  # type: ignore[arg-type]
    assert len(document(runs / "digits-7f3a10", "7f3a10", "--runs", runs)["runs"]) == 1  # type: ignore[arg-type]


def test_a_folder_names_every_file_that_was_not_understood(tmp_path: Path) -> None:
    (tmp_path / "log.txt").write_text(block(values(0.5)))
    (tmp_path / "a\x1b[31m.txt").write_text("nothing")
    (tmp_path / "weights.pt").write_bytes(bytes(range(256)) * 9)
    done = report(tmp_path, "-o", "json")
    assert [line.rpartition(": ")[2] for line in done.stderr.splitlines()] == ["no evaluation in it", "not text"]
    assert "\x1b" not in done.stderr
    assert len(json.loads(done.stdout)["unread"]) == 2


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("missing.txt",), 1, "no run `missing.txt`"),
        (("nothing.txt",), 1, "nothing.txt: no evaluation in it"),
        (("log.txt", "--baseline", "zzz"), 1, "--baseline zzz: no such run here"),
        (("log.txt", "--sort", "APx"), 1, "--sort: no column `APx`"),
        (("log.txt", "--where", "AP>"), 1, "a value is missing after `AP`"),
        (("log.txt", "--columns", "APx"), 1, "--columns: no column `APx`"),
        (("log.txt", "--columns", "top1"), 1, "classifiers have it, which are compared by themselves"),
        (("log.txt", "--sort", "-top5"), 1, "classifiers have it, which are compared by themselves"),
        (("log.txt", "--where", "top1>.5"), 1, "classifiers have it, which are compared by themselves"),
        (("log.txt", "--out", "no/such/folder.md"), 1, "cannot write no/such/folder.md"),
        (("log.txt", "-o", "docx"), 2, "docx"),
        (("log.txt", "--epoch", "first"), 2, "first"),
        (("log.txt", "--iou", "mask"), 2, "mask"),
    ],
)
def test_mistakes_are_answered_with_a_line_and_a_code(
    tmp_path: Path, arguments: tuple[str, ...], code: int, words: str
) -> None:
    (tmp_path / "log.txt").write_text(block(values(0.5)))
    (tmp_path / "nothing.txt").write_text("nothing\n")
    done = report(*arguments, cwd=tmp_path)
    assert done.returncode == code
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_best_and_last_segm_and_sorting(shared: Path) -> None:
    path = shared / "logs" / "torchvision_maskrcnn_10ep_stdout.txt"
    (last,) = document(path)["runs"]  # type: ignore[misc]
    (best,) = document(path, "--epoch", "best")["runs"]  # type: ignore[misc]
    (masks,) = document(path, "--iou", "segm")["runs"]  # type: ignore[misc]
    assert (last["epoch"], last["metrics"]["AP"], last["selected"], last["evaluations"]) == (9, 0.836, "last", 10)
    assert (best["epoch"], best["metrics"]["AP"], best["selected"]) == (6, 0.84, "best")
    assert (masks["iou_type"], masks["metrics"]["AP"]) == ("segm", 0.758)
    assert [point["epoch"] for point in last["history"]] == list(range(10))


def test_seeds_of_real_logs_group_to_mean_and_sd(shared: Path) -> None:
    found = document(shared / "logs" / "seeds_ssd_v06")
    (arm,) = found["arms"]  # type: ignore[misc]
    aps = [0.23309154960042147, 0.23004963470897938, 0.2332422784192389]
    assert arm["n"] == 3
    assert arm["metrics"]["AP"] == pytest.approx(sum(aps) / 3, abs=1e-12)
    assert arm["sd"]["AP"] == pytest.approx(0.0018013, abs=1e-7)
    assert [each["metrics"]["AP"] for each in found["runs"]] == aps  # type: ignore[attr-defined]
    assert len(document(shared / "logs" / "seeds_ssd_v06", "--no-group")["arms"]) == 3  # type: ignore[arg-type]


def test_a_form_follows_from_the_ending_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "log.txt").write_text(block(values(0.5)))
    for name, beginning in (("r.md", "| RUN |"), ("r.tex", "% bbox"), ("r.json", '{"schema":1'), ("r.csv", "name,")):
        done = report("log.txt", "--out", name, cwd=tmp_path)
        assert (done.returncode, done.stdout) == (0, "")
        assert (tmp_path / name).read_text().startswith(beginning)
    assert not list(tmp_path.glob(".r*"))


def test_a_run_with_a_broken_record_is_named_and_the_others_are_compared(runs: Path) -> None:
    (runs / "digits-7f3a10" / "run.json").write_text("{")
    for words in ((), (runs,), ("digits",)):
        done = report(*words, "--runs", runs, "--json")
        found = json.loads(done.stdout)
        assert len(found["runs"]) == 4
        assert "digits-7f3a10" in done.stderr
        assert "not a record of detrun" in done.stderr


def test_one_evaluation_of_ours_is_read_by_path(runs: Path) -> None:
    found = document(runs / "digits-7f3a10" / "eval" / "epoch_0002.json")
    (only,) = found["runs"]  # type: ignore[misc]
    assert (only["name"], only["epoch"], only["metrics"]["AP"]) == ("epoch_0002", 2, 0.51)


def test_an_empty_runs_folder_is_no_error(tmp_path: Path) -> None:
    assert document("--runs", tmp_path)["runs"] == []


def test_classes_errors_and_intervals_say_why_they_are_missing(runs: Path, tmp_path: Path) -> None:
    done = report("--runs", runs, "--ci", "--errors", "--per-class", "--json", XDG_CACHE_HOME=str(tmp_path))
    found = json.loads(done.stdout)
    assert {row["name"] for row in found["classes"]} == {"cell"}
    assert any(flag.startswith("no CI: ") for flag in found["flags"])
    assert any(flag.startswith("no error analysis: ") for flag in found["flags"])


def test_watching_off_a_terminal_prints_what_has_changed(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    log.write_text(block(values(0.5)))
    report = [DETRUN, "report", log, "--watch", "--every", "0.2", "--columns", "AP"]
    program = subprocess.Popen(["env", "--default-signal=INT", *report], stdout=subprocess.PIPE, text=True)
    assert program.stdout is not None
    assert [program.stdout.readline() for _ in range(2)][1] == "log\t0.5\n"
    time.sleep(0.6)
    with log.open("a") as file:
        file.write(f"Epoch: [2]\n{block(values(0.6))}")
    assert [program.stdout.readline() for _ in range(2)][1] == "log\t0.6\n"
    program.send_signal(signal.SIGINT)
    assert program.wait(60) == 130
    program.stdout.close()


def test_reporting_logs_imports_nothing_heavy(shared: Path) -> None:
    program = (
        "import sys; from detrun.report import compared; from detrun.comparison.table import Question\n"
        "compared([sys.argv[1]], Question())\n"
        "heavy = ('numpy', 'torch', 'hotcoco', 'rich', 'submitit', 'zstandard')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, shared / "logs" / "yolov3_result.md"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "[]\n"


def test_the_shell_completes_runs_and_files(tmp_path: Path) -> None:
    make_run(tmp_path / "runs", "digits-7f3a1c", [0.2])
    (tmp_path / "digits.log").write_text(block(values(0.2)))
    words = {"_DETRUN_COMPLETE": "complete_bash", "COMP_WORDS": "detrun report di", "COMP_CWORD": "2"}

    done = report(cwd=tmp_path, **words)

    assert done.stdout.split() == ["digits-7f3a1c", "digits", "digits.log"]
