"""What a submission needs on this machine, looked at before anything is written: data, weights, room, resources."""

import json
import os
import shutil
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from detector.config import INITS, Data
from detector.data.layout import SPLITS, locate, locate_classes, recognise
from detector.errors import UserError
from jobs import pool
from jobs.errors import CheckError, RunError
from jobs.plan import Plan
from jobs.records import unwritable
from jobs.staging import source_of

# Parameters of each model at 80 classes; a checkpoint holds them with the optimizer's moments.
_PARAMETERS = {
    "yolov3": 62e6,
    "yolov3-tiny": 9e6,
    "yolox-darknet53": 63e6,
    "yolox-darknet-tiny": 8e6,
    "darknet53": 42e6,
    "darknet-tiny": 6e6,
    "fasterrcnn": 42e6,
    "retinanet": 34e6,
    "fcos": 32e6,
    "ssd": 36e6,
    "ssdlite": 3.4e6,
}
_STATES = {"sgd": 2, "adamw": 3}
# last.pt, best.pt, and the one being written.
_CHECKPOINTS = 3
_ROOM_FOR_LOGS_GIB = 0.01
_READ_WHOLE_BYTES = 64 << 20


class _Image(msgspec.Struct):
    id: int


class _Annotation(msgspec.Struct):
    image_id: int
    category_id: int


class _Category(msgspec.Struct):
    id: int
    name: str


class _Coco(msgspec.Struct):
    images: list[_Image]
    categories: list[_Category]
    annotations: list[_Annotation] = []


def problems(plan: Plan, runs: Path) -> list[UserError]:
    """Everything that would keep the plan's runs from training, each with its fix; empty where nothing would."""
    found: list[UserError] = []
    for check in (_executor, _runs_folder, _stage, _data, _init, _room):
        try:
            check(plan, runs)
        except UserError as error:
            found.append(error)
    return found


def missing_script(command: Sequence[str], folder: Path) -> list[UserError]:
    """The problem of a recipe with a command whose script does not lie where the recipe says; empty where it does."""
    name = command[0]
    if not name.endswith(".py") or (folder / name).is_file():
        return []
    return [CheckError(f"command: no script {folder / name}", "its path is relative to the recipe's folder")]


def warnings(plan: Plan) -> list[str]:
    """What looks wrong and keeps nothing from training."""
    lines = []
    if plan.resources.stage and any(source_of(run.config) is None for run in plan.runs):
        lines.append("--stage: there is nothing to copy: no `data.root` names a folder or a tar")
    for _, table in _data_sets(plan):
        try:
            contents = [(path, _coco(path)) for path in _coco_files(table)]
        except UserError:  # one of `problems`
            continue
        lines += [line for path, content in contents if content for line in _empty_categories(path, content)]
    return lines


def _executor(plan: Plan, _: Path) -> None:
    if plan.executor == "local":
        pool.check_fits(plan.resources)
        return
    if shutil.which("sbatch") is None:
        raise CheckError(
            "--on slurm: there is no `sbatch` on this machine", "submit from a login node, or use --on local"
        )


def _runs_folder(_: Plan, runs: Path) -> None:
    """The nearest folder that exists must let us write."""
    folder = runs.absolute()
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    if not folder.is_dir():
        raise RunError(f"{folder} is not a folder", "name another with --runs DIR, or $DETRUN_RUNS")
    if not os.access(folder, os.W_OK | os.X_OK) or _read_only(folder):
        raise unwritable(runs, PermissionError(13, "not allowed to write there"))


def _read_only(folder: Path) -> bool:
    return bool(os.statvfs(folder).f_flag & os.ST_RDONLY)


def _stage(plan: Plan, _: Path) -> None:
    stage = plan.resources.stage
    if stage and not stage.startswith(("/", "$")):
        raise CheckError(f"--stage {stage}: is relative", "name a folder of the node: /scratch, or '$TMPDIR'")


def _data(plan: Plan, _: Path) -> None:
    for task, table in _data_sets(plan):
        root = str(table["root"])
        if root.startswith("builtin:"):
            if root != "builtin:digits":
                raise CheckError(f"data.root: no built-in data set `{root}`", "there is `builtin:digits`")
            continue
        if Path(root).is_file() and (plan.resources.stage or (task == "classify" and root.endswith(".tar"))):
            _tar(root)
            continue
        _folder(root)
        if task == "classify":
            for split in SPLITS:
                locate_classes(msgspec.convert(table, Data), Path(root), split)
            continue
        for path in _coco_files(table):
            _annotations(path)


def _data_sets(plan: Plan) -> list[tuple[str, dict[str, Any]]]:
    """The tasks and `data` sections that the plan's runs have."""
    pairs = [(run.config.get("task", "detect"), run.config["data"]) for run in plan.runs if "data" in run.config]
    return list({repr(pair): pair for pair in pairs}.values())


def _tar(root: str) -> None:
    if not tarfile.is_tarfile(root):
        raise CheckError(f"data.root: {root} is no tar file")


def _folder(root: str) -> None:
    if not root:
        raise CheckError("data.root: is not set", "--set data.root=/path/to/data names the folder with your data")
    if Path(root).is_file():
        raise CheckError(f"data.root: {root} is a file", "--stage DIR unpacks a tar on each node")
    if not Path(root).is_dir():
        raise CheckError(
            f"data.root: no folder {root}", "--set data.root=/path/to/data names the folder with your data"
        )


def _coco_files(table: dict[str, Any]) -> list[Path]:
    """The annotation files of both splits where they are in COCO layout; none where they are in another.

    Raises:
        ConfigError: the root shows no layout, or a split lacks a file or a folder.
    """
    data, root = msgspec.convert(table, Data), Path(table["root"])
    if not root.is_dir():
        return []
    layout = recognise(data, root)
    if layout == "yolo":
        return []
    files = [locate(data, root, split, layout) for split in SPLITS]
    return [each.annotations for each in files] if layout == "coco" else []


def _annotations(path: Path) -> None:
    content = _coco(path)
    if content is None:
        return
    if not content.images:
        raise CheckError(f"{path}: has no images", "name another with --set data.train_annotations or val_annotations")
    if not content.categories:
        raise CheckError(f"{path}: has no categories", "a COCO file lists them under `categories`")


def _coco(path: Path) -> _Coco | None:
    """The part of an annotation file that shows whether it is one; `None` for one too large to read here."""
    try:
        if path.stat().st_size > _READ_WHOLE_BYTES:
            return None
        return msgspec.json.decode(path.read_bytes(), type=_Coco)
    except OSError as error:
        raise CheckError(f"cannot read {path}: {error.strerror}") from None
    except msgspec.ValidationError as error:
        raise CheckError(
            f"{path} is not in COCO format: {error}", "it needs `images`, `annotations` and `categories`"
        ) from None
    except msgspec.DecodeError:
        raise CheckError(f"{path} is not JSON: {_where(path)}", "a COCO annotation file is one JSON object") from None


def _where(path: Path) -> str:
    """Python's own parser names the line."""
    try:
        json.loads(path.read_bytes())
    except ValueError as error:
        return str(error)
    return "it cannot be decoded"


def _empty_categories(path: Path, content: _Coco) -> list[str]:
    used = {annotation.category_id for annotation in content.annotations}
    empty = [category.name for category in content.categories if category.id not in used]
    if not empty:
        return []
    shown = ", ".join(empty[:5]) + (f" and {len(empty) - 5} more" if len(empty) > 5 else "")
    return [f"{path}: {len(empty)} of {len(content.categories)} categories have no annotation: {shown}"]


def _init(plan: Plan, _: Path) -> None:
    for run in plan.runs:
        init = str(run.config["model"]["init"]) if "model" in run.config else "scratch"
        if init not in ("", *INITS) and not run.after and not Path(init).is_file():
            raise CheckError(
                f"model.init: no file {init}",
                "give `scratch`, a darknet .weights file, or a checkpoint: --set model.init=FILE",
            )


def _room(plan: Plan, runs: Path) -> None:
    """Each run keeps its checkpoints; a disk that fills up ends the last ones."""
    folder = runs.absolute()
    while not folder.exists():
        folder = folder.parent
    needed_gib = sum(_run_gib(run.config) for run in plan.runs)
    free_gib = shutil.disk_usage(folder).free / 2**30
    if free_gib < needed_gib:
        raise CheckError(
            f"{runs}: {free_gib:.1f} GiB free; checkpoints of {len(plan.runs)} runs need about {needed_gib:.1f} GiB",
            "free some, or use another folder: --runs DIR",
        )


def _run_gib(config: dict[str, Any]) -> float:
    if "command" in config:
        return _ROOM_FOR_LOGS_GIB
    parameters = _PARAMETERS[config["model"]["name"]]
    states = _STATES[config["optim"]["name"]] + bool(config["optim"]["ema"])
    return parameters * 4 * states * _CHECKPOINTS / 2**30 + _ROOM_FOR_LOGS_GIB
