"""The command line at its edges: what it imports, what it says to wrong input, and what it leaves behind."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from command import Detrun

HEAVY = ("torch", "torchvision", "submitit", "numpy", "cv2", "rich", "msgspec", "sklearn", "hotcoco")
BCCD = ("submit", "yolov3-tiny-bccd", "--on", "local", "--gpus", "0")


def test_help_imports_nothing_heavy() -> None:
    script = "import sys, detrun.cli; print(' '.join(sys.modules))"

    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()

    assert not set(HEAVY) & set(loaded)


@pytest.mark.parametrize(
    "verb",
    ["submit", "status", "report", "logs", "cancel", "retry", "predict", "export", "data", "data check", "data fetch"],
)
def test_every_verb_has_help_on_a_plain_terminal(detrun: Detrun, verb: str) -> None:
    shown = detrun(*verb.split(), "--help").stdout

    assert shown.startswith(f"Usage: detrun {verb}")
    assert "\x1b" not in shown


def test_the_recipes_are_listed_each_with_a_line(detrun: Detrun) -> None:
    listed = detrun("submit", "--list").stdout

    assert "digits " in listed
    assert "the founding experiment" in listed
    assert set(detrun.json("submit", "--list")["recipes"]) >= {"digits", "yolov3-coco", "yolov3-tiny-bccd"}


@pytest.mark.parametrize(
    ("arguments", "code", "error", "hint"),
    [
        (("submit", "yolov3-bcd"), 1, "unknown recipe `yolov3-bcd`", "did you mean `yolov3-bccd`?"),
        (("submit", "no/such.toml"), 1, "no recipe file no/such.toml", "--list"),
        (("submit", "digits", "--set", "optim.lrr=1"), 1, "optim.lrr: unknown key", "`optim.lr`"),
        (("submit", "digits", "--set", "precision=O1"), 1, "precision:", "apex's O1 is `fp16` here"),
        (("submit", "digits", "--set", "optim.lr=fast"), 1, "optim.lr: expected `float`", ""),
        (("submit", "digits", "--set", "optim.lr"), 1, "is not KEY=VALUE", "--set optim.lr=1e-3"),
        (("submit", "digits", "--time", "soon"), 1, "--time 'soon' is not a time limit", "4h"),
        (("submit", "digits", "--on", "local", "--gpus", "4"), 1, "this machine has no GPU", "--gpus 0"),
        (("submit", "digits", "--on", "local", "--cpus", "4000"), 1, "--cpus 4000", "or fewer"),
        (("submit", "digits", "--on", "local", "--nodes", "2"), 1, "--nodes 2 needs Slurm", "--procs"),
        (("submit", "digits", "--profile", "nope"), 1, "unknown profile `nope`", "config.toml"),
        ((*BCCD,), 1, "data.root: is not set", "--set data.root="),
        ((*BCCD, "--set", "data.root=/nowhere"), 1, "data.root: no folder /nowhere", "--set data.root="),
        (("status", "nothing"), 1, "no run `nothing`", "detrun submit"),
        (("status", "--state", "runing"), 1, "--state runing", "`running`"),
        (("logs", "@last"), 1, "no run `@last`", "detrun submit"),
        (("report", "no-such-log.txt"), 1, "no-such-log.txt", ""),
        (("export", "@last", "--onnx"), 1, "no run `@last`", "detrun submit"),
        (("submit",), 2, "which recipe?", ""),
        (("sumbit",), 2, "No such command", ""),
        (("submit", "digits", "--no-such-option"), 2, "No such option", ""),
        (("submit", "digits", "--on", "moon"), 2, "moon", ""),
    ],
)
def test_wrong_input_is_answered_with_what_where_and_the_fix(
    detrun: Detrun, arguments: tuple[str, ...], code: int, error: str, hint: str
) -> None:
    done = detrun(*arguments, code=code)

    assert error in done.stderr
    assert hint in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert not detrun.runs.exists()


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ("{not json", "is not JSON"),
        ("[]", "is not in COCO format"),
        ('{"images": [], "annotations": []}', "is not in COCO format"),
        ('{"images": [], "annotations": [], "categories": [{"id": 1, "name": "a"}]}', "has no images"),
        ('{"images": [{"id": 1}], "annotations": [], "categories": []}', "has no categories"),
        ("", "is not JSON"),
    ],
)
def test_an_annotation_file_that_is_none_is_named(detrun: Detrun, tmp_path: Path, content: str, error: str) -> None:
    data = tmp_path / "data"
    for folder in ("annotations", "images/train", "images/val"):
        (data / folder).mkdir(parents=True)
    for split in ("train", "val"):
        (data / "annotations" / f"instances_{split}.json").write_text(content)

    done = detrun(*BCCD, "--set", f"data.root={data}", code=1)

    assert error in done.stderr
    assert "instances_train.json" in done.stderr
    assert not detrun.runs.exists()


def test_categories_without_annotations_are_a_warning_and_no_error(detrun: Detrun, tmp_path: Path) -> None:
    import shutil

    data = shutil.copytree(detrun.data, tmp_path / "data")
    path = data / "annotations" / "instances_train.json"
    content = json.loads(path.read_text())
    content["categories"].append({"id": 99, "name": "unicorn"})
    path.write_text(json.dumps(content))

    done = detrun(*BCCD, "--set", f"data.root={data}", "--dry-run")

    assert "1 of 3 categories have no annotation: unicorn" in done.stderr


def test_no_sbatch_where_slurm_is_asked_for(detrun: Detrun) -> None:
    detrun.environment["PATH"] = "/nowhere"

    done = detrun("submit", "digits", "--on", "slurm", code=1)

    assert "there is no `sbatch` on this machine" in done.stderr
    assert "--on local" in done.stderr


def test_a_dry_run_writes_nothing_and_works_where_there_is_no_slurm_and_no_data(detrun: Detrun) -> None:
    detrun.environment["PATH"] = "/usr/bin/nowhere"

    done = detrun("submit", "yolov3-coco", "--on", "slurm", "--set", "data.root=/coco", "--dry-run")

    assert "yolov3-coco-" in done.stdout
    assert "#SBATCH --gpus-per-node=4" in done.stdout
    assert "#SBATCH --array=0-1%2" in done.stdout
    assert "warning: this machine would refuse it: " in done.stderr
    assert not detrun.runs.exists()


def test_a_runs_folder_that_cannot_be_written_is_named(detrun: Detrun, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")

    done = detrun("submit", "digits", "--on", "local", "--runs", str(blocked / "runs"), code=1)

    assert str(blocked) in done.stderr
    assert "--runs DIR" in done.stderr


def test_a_reader_that_has_seen_enough_is_no_error(detrun: Detrun) -> None:
    command = f"{sys.executable} -m detrun.cli submit --list | head -n 1"

    done = subprocess.run(command, shell=True, capture_output=True, text=True, env=detrun.environment, check=True)

    assert "Traceback" not in done.stderr


def test_the_status_of_nothing_is_an_empty_table_with_a_header(detrun: Detrun) -> None:
    assert detrun("status").stdout.startswith("RUN\tRECIPE\tSTATE")
    assert detrun.json("status") == {"schema": 1, "runs": [], "scheduler": {"ok": True, "error": None, "age_s": None}}


def test_an_option_of_watch_may_have_a_number_or_not() -> None:
    from detrun.cli import seconds_of_watch

    assert seconds_of_watch(["status", "-w", "5"]) == ["status", "-w", "--every", "5"]
    assert seconds_of_watch(["status", "--watch=0.5"]) == ["status", "--watch", "--every", "0.5"]
    assert seconds_of_watch(["status", "-w", "7f3a1c"]) == ["status", "-w", "7f3a1c"]
    assert seconds_of_watch(["status", "-w", "123456"]) == ["status", "-w", "123456"]
    assert seconds_of_watch(["status", "-w"]) == ["status", "-w"]


def test_options_are_those_that_the_readme_and_the_contract_know(detrun: Detrun) -> None:
    """A new option needs a reason to be here, and one that goes away breaks somebody's script."""
    import re

    options = set(re.findall(r"(?<=\s)--[a-z][\w-]*", detrun("submit", "--help").stdout))

    contract = (
        "set seeds on nodes gpus procs cpus mem-gib time partition account qos constraint sbatch max-parallel setup"
    )
    more = "after stage runs dry-run watch force json list profile yes every help"
    assert options == {f"--{name}" for name in (contract + " " + more).split()}
