"""Builds pages for the tests, and opens them in a browser that notes what goes wrong and what is asked for."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from PIL import Image
from playwright.sync_api import Browser, Page
from report_compare import run as run_of
from report_runs import START, arrays, coco_truth, make_run, metrics_of

from detector.records import Metrics, encode
from detrun.comparison import ClassRow
from detrun.comparison.details import Details
from detrun.comparison.images import Gallery
from detrun.comparison.losses import LossCurve
from detrun.comparison.precision import LEVELS, PrecisionCurves
from detrun.comparison.table import Question, compare
from detrun.render.report import page as form
from detrun.render.report.page.content import content

WIDTH, HEIGHT = 120, 80
CATEGORIES = {3: "circle", 7: "square"}
# Left, top, width, height of what is in every image, by category.
BOXES = [(3, (10.0, 10.0, 30.0, 30.0)), (7, (60.0, 20.0, 40.0, 40.0))]
CROWD = (3, (0.0, 60.0, 120.0, 20.0))


def data_set(root: Path, images: int = 6) -> Path:
    """A val split of plain pictures with two boxes and a crowd each; returns the annotation file."""
    folder = root / "images" / "val"
    folder.mkdir(parents=True)
    rows, boxes = [], []
    for number in range(1, images + 1):
        shade = 40 * number % 255
        Image.new("RGB", (WIDTH, HEIGHT), (shade, 90, 255 - shade)).save(folder / f"{number}.jpg")
        rows.append({"id": number, "file_name": f"{number}.jpg", "width": WIDTH, "height": HEIGHT})
        for category, box in (*BOXES, CROWD):
            area, crowd = box[2] * box[3], int((category, box) == CROWD)
            of_box = {"id": len(boxes) + 1, "image_id": number, "category_id": category}
            boxes.append(of_box | {"bbox": list(box), "area": area, "iscrowd": crowd})
    categories = [{"id": number, "name": name} for number, name in CATEGORIES.items()]
    path = root / "annotations" / "instances_val.json"
    path.parent.mkdir()
    path.write_text(json.dumps({"images": rows, "annotations": boxes, "categories": categories}))
    return path


def detected(images: int, right: int) -> dict[str, Any]:
    """Both boxes found in the first `right` images, a false one in the others, and one on every crowd."""
    found = []
    for number in range(1, images + 1):
        if number <= right:
            found += [_row(number, category, box, 0.9 - 0.1 * number / images) for category, box in BOXES]
        else:
            found.append(_row(number, 3, (100.0, 2.0, 10.0, 10.0), 0.55))
        found.append(_row(number, 3, (5.0, 62.0, 20.0, 10.0), 0.4))
    return arrays(found)


def _row(image: int, category: int, box: tuple[float, ...], score: float) -> dict[str, Any]:
    return {"image_id": image, "category_id": category, "bbox": list(box), "score": score}


def zoo(folder: Path) -> Path:
    """A runs folder: a better and a worse run of two seeds each, one that failed, and a data set with images."""
    annotations = data_set(folder / "data")
    truth, runs = coco_truth(annotations), folder / "runs"
    for name, right, lr, aps in (("aaaaa", 2, 1e-3, [0.1, 0.3, 0.41]), ("bbbbb", 5, 3e-4, [0.2, 0.4, 0.52])):
        for seed in (0, 1):
            path = make_run(
                runs,
                f"zoo-{name}{seed}",
                [ap + seed / 100 for ap in aps],
                settings={"optim": {"lr": lr}, "seed": seed, "data": {"root": str(folder / "data")}},
                created_at=START + right,
                ground_truth=truth,
                classes={"circle": aps[-1] + 0.1, "square": aps[-1] - 0.1 - lr * 100},
                detections=[detected(6, right)] * 3,
            )
            losses(path, [9.0, 5.0, 3.0, 2.0, 1.5, 1.0 + seed])
    later = {"ground_truth": truth, "last_event": "failed", "created_at": START + 9}
    data = {"root": str(folder / "data")}
    make_run(runs, "zoo-ccccc0", [0.05], settings={"optim": {"lr": 1.0}, "data": data}, reason="loss is NaN", **later)
    make_run(runs, "zoo-ddddd0", [], settings={"optim": {"lr": 0.5}, "data": data}, reason="no data", **later)
    return runs


def losses(path: Path, values: list[float]) -> None:
    """Replace a run's metrics by rows with these losses, two in an epoch."""
    rows = [
        Metrics(
            t=START + 30.0 * place,
            epoch=1 + (place - 1) // 2,
            epochs=len(values) // 2,
            step=50 * place,
            steps=50 * len(values),
            loss=loss,
            losses={"box": loss},
            lr=1e-3,
            images_per_s=800.0,
            data_wait=0.0,
            image_size=416,
        )
        for place, loss in enumerate(values, start=1)
    ]
    (path / "metrics.jsonl").write_bytes(b"".join(map(encode, rows)))


def large(runs: int = 50, epochs: int = 300, classes: int = 80) -> str:
    """A page of many runs with long histories, as it comes from real ones."""
    random = np.random.default_rng(3)
    every = []
    for number in range(runs):
        rise = 0.4 * (1 - np.exp(-np.arange(1, epochs + 1) / 60)) + random.normal(0, 0.004, epochs)
        tables = [metrics_of(float(ap)) for ap in rise]
        config = {"optim.lr": 1e-4 * (1 + number), "seed": 0, "epochs": epochs, "data.root": "/data/coco"}
        every.append(run_of(f"run{number:02d}", [], config=config, metrics=tables, columns={"gpu_hours": 1.0 + number}))
    comparison = compare(every, Question())
    names = [arm.name for arm in comparison.arms]
    places = tuple(round(place * epochs / 300, 2) for place in range(1, 301))
    curve = tuple(np.linspace(0.9, 0.1, 101).tolist())
    table = dict.fromkeys(LEVELS, curve)
    shown = Details(
        losses={name: LossCurve(epoch=places, loss=tuple(5.0 / (1 + place) for place in places)) for name in names},
        classes=tuple(
            ClassRow(name=f"class {number}", ap={name: float(random.uniform(0, 0.6)) for name in names}, deltas={})
            for number in range(classes)
        ),
        precision=tuple(PrecisionCurves(arm=name, mean=table, classes={}) for name in names),
        without_precision=(),
        gallery=Gallery(reason="none were asked for"),
    )
    return form.render(content(comparison, shown, (), 0.0))


def hostile() -> str:
    """A page whose every name tries to be markup."""
    bad = "</script><script>alert(1)</script>"
    config = {"optim.lr": 1e-3, "data.root": f'"><img src=x onerror=alert(2)>{bad}', "seed": 0}
    comparison = compare(
        [
            run_of(bad, [0.3, 0.4], config=config, columns={"recipe": bad}),
            run_of("<b>'\"& \u2028 \ud800</b>", [0.2, 0.3], config=config | {"optim.lr": "<i>"}, flags=(f"x: {bad}",)),
        ],
        Question(),
    )
    comparison = msgspec.structs.replace(comparison, classes=(ClassRow(name=bad, ap={bad: 0.4}, deltas={}),))
    shown = Details(
        losses={},
        classes=comparison.classes,
        precision=(),
        without_precision=(f"{bad}: gone",),
        gallery=Gallery(reason=bad),
    )
    return form.render(content(comparison, shown, (), 0.0))


class Watched:
    """What a page has asked for and complained about."""

    def __init__(self, page: Page) -> None:
        self.complaints: list[str] = []
        self.requests: list[str] = []
        page.on("console", lambda message: self.complaints.append(message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("dialog", lambda dialog: self.complaints.append(dialog.message))
        page.on("request", lambda request: self.requests.append(request.url))


@contextmanager
def opened(chromium: Browser, address: str, **context: Any) -> Iterator[Page]:
    """A page in a browser of its own; it must neither complain nor ask for anything but itself."""
    options = {"viewport": {"width": 1280, "height": 900}, "locale": "en-GB"} | context
    with chromium.new_context(**options) as own:
        own.set_default_timeout(5000)
        page = own.new_page()
        watched = Watched(page)
        page.goto(address)
        yield page
        assert watched.complaints == []
        assert {url for url in watched.requests if not url.startswith("data:")} == {address}


def names(page: Page, table: str = "table") -> list[str]:
    """The rows of a table that are to be seen, from above."""
    found: list[str] = page.locator(f"#{table} tr[data-name]:not([hidden])").evaluate_all(
        "rows => rows.map(row => row.dataset.name)"
    )
    return found
