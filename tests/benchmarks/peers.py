"""Side by side with ultralytics on this machine: YOLOv3-tiny from scratch on BCCD at 256 px, AP at equal seconds.

Both have the same images, image size and batch, all cores, and so many seconds of training; imports, the data set's
first reading and the evaluation come on top on either side. The head of ours is so wide that an image costs it no less
arithmetic than theirs. Ultralytics is installed into an environment of its own, beside the same torch.
"""

import itertools
import json
import os
import subprocess
import sysconfig
import tempfile
import venv
from collections import defaultdict
from pathlib import Path
from typing import Any

import local_runs
import msgspec
from command import Detrun
from ultralytics_train import gflop

from detector import config
from detector.models import build

RECIPE = "yolox-darknet-tiny-bccd"
SECONDS = (60, 180, 300)
SEEDS = (0, 1, 2)
SIZE, BATCH = 256, 4
CLASSES = 3
PEER = "ultralytics"
_DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "bccd"


def run() -> None:
    if not _DATA.is_dir():
        print(f"{_DATA} is missing: nothing measured")
        return
    with tempfile.TemporaryDirectory() as name, local_runs.fresh(_DATA) as detrun:
        folder = Path(name)
        python = _environment(folder / "venv")
        _write_yolo(folder / "data")
        epoch_s = _train(detrun, 2, seed=99)["epoch_s"]
        found: dict[tuple[str, int], list[dict[str, Any]]] = defaultdict(list)
        for seconds, seed in itertools.product(SECONDS, SEEDS):
            ours = _train(detrun, max(1, int(seconds / epoch_s)), seed)
            # The slowest epoch so far sets how many there is time for, so that a machine that slows down gives no gift.
            epoch_s = max(epoch_s, ours["epoch_s"])
            for who, row in ((PEER, _peer(python, folder, seconds, seed)), (RECIPE, ours)):
                found[who, seconds].append(row)
                print(f"  seed {seed} {seconds:>4} s  {_row(who, row)}", flush=True)
        for (who, seconds), rows in sorted(found.items(), key=lambda item: item[0][1]):
            precision, rate = ([row[key] for row in rows] for key in ("AP", "images_per_s"))
            print(f"{seconds:>4} s  {who:<26}AP {local_runs.spread(precision, 3)}   {local_runs.spread(rate, 1)} img/s")


def _environment(folder: Path) -> Path:
    """A virtual environment that has ultralytics and, through a path file, everything of this one."""
    venv.create(folder, with_pip=True)
    site = next(folder.glob("lib/python3*/site-packages"))
    (site / "detrun.pth").write_text(sysconfig.get_path("purelib"))
    python = folder / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "-q", "--disable-pip-version-check", PEER], check=True)
    return python


def _write_yolo(root: Path) -> None:
    """BCCD in ultralytics' layout: links to the images, and a line `class x y w h` for each box, as shares."""
    for split in ("train", "val"):
        truth = msgspec.json.decode((_DATA / "annotations" / f"instances_{split}.json").read_bytes())
        categories = sorted(truth["categories"], key=lambda each: each["id"])
        place = {category["id"]: at for at, category in enumerate(categories)}
        images, labels = (root / kind / split for kind in ("images", "labels"))
        images.mkdir(parents=True)
        labels.mkdir(parents=True)
        for image in truth["images"]:
            (images / image["file_name"]).symlink_to(_DATA / "images" / split / image["file_name"])
            lines = [
                " ".join(map(str, (place[box["category_id"]], *_shares(box["bbox"], image))))
                for box in truth["annotations"]
                if box["image_id"] == image["id"]
            ]
            (labels / f"{Path(image['file_name']).stem}.txt").write_text("\n".join(lines))
    names = [category["name"] for category in categories]
    (root / "data.yaml").write_text(json.dumps({"path": str(root), **_SPLITS, "names": names}))


_SPLITS = {"train": "images/train", "val": "images/val"}


def _shares(box: list[float], image: dict[str, Any]) -> tuple[float, ...]:
    left, top, width, height = box
    x, y = (left + width / 2) / image["width"], (top + height / 2) / image["height"]
    return x, y, width / image["width"], height / image["height"]


def _peer(python: Path, folder: Path, seconds: int, seed: int) -> dict[str, Any]:
    script = Path(__file__).with_name("ultralytics_train.py")
    truth = _DATA / "annotations" / "instances_val.json"
    words = (folder / "data" / "data.yaml", truth, SIZE, BATCH, seconds, seed, folder / f"{PEER}-{seconds}-{seed}")
    environment = os.environ | {"YOLO_CONFIG_DIR": str(folder), "YOLO_OFFLINE": "true"}
    done = subprocess.run(
        [python, script, *map(str, words)], env=environment, cwd=folder, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"error: {PEER} failed\n{done.stderr[-2000:]}")
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def _train(detrun: Detrun, epochs: int, seed: int) -> dict[str, Any]:
    """One run of ours, in the form of theirs."""
    keys = {"data__image_size": SIZE, "optim__batch_size": BATCH, "epochs": epochs, "seed": seed}
    (outcome,) = local_runs.train(detrun, RECIPE, _DATA, **keys)
    return {"AP": outcome.score, "epoch_s": outcome.epoch_s, "gflop": _gflop(detrun), **outcome._asdict()}


def _gflop(detrun: Detrun) -> float:
    """Of the model of any of its runs, which are all alike."""
    train = config.load(msgspec.json.decode(next(detrun.runs.glob("*/config.json")).read_bytes()))
    return gflop(build(train.model, CLASSES, eval=train.eval), SIZE)


def _row(who: str, row: dict[str, Any]) -> str:
    return (
        f"{who:<26}AP {row['AP']:.4f}  {row['images_per_s']:6.2f} img/s  {row['epochs']:4.1f} epochs in "
        f"{row['train_s']:.0f} s  {row['parameters']:,} parameters, {row['gflop']:.2f} GFLOP"
    )
