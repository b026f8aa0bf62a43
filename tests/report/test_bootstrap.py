"""Intervals of differences agree with a slow bootstrap that copies images; errors and classes come from detections."""

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from report_runs import arrays, coco_truth, make_run

from detrun.comparison import Comparison, Run
from detrun.comparison.bootstrap import resampled, with_intervals
from detrun.comparison.classes import with_classes
from detrun.comparison.detections import _truth, matched, stored
from detrun.comparison.errors import KINDS, with_errors
from detrun.comparison.matching import Detected, Truth, match
from detrun.comparison.resampling import weighted
from detrun.comparison.runs import from_run
from detrun.comparison.table import Question, compare
from detrun.readers.run_dir import read_run
from jobs.overview import status

IMAGES, CLASSES = 30, 3
Rows = list[dict[str, Any]]
slow_ok = settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])


def quietly(_: float) -> None:
    """Nobody watches."""


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Rows, Rows]:
    """An annotation file, and the detections of a worse and a better detector."""
    rng = np.random.default_rng(7)
    boxes: Rows = []
    for image in range(1, IMAGES + 1):
        for _ in range(rng.integers(1, 6)):
            x, y, w, h = (float(value) for value in rng.uniform([0, 0, 12, 12], [250, 250, 120, 120]))
            category = int(rng.integers(1, CLASSES + 1))
            boxes.append({"image_id": image, "category_id": category, "bbox": [x, y, w, h], "area": w * h})
    table = {
        "images": [
            {"id": image, "width": 400, "height": 400, "file_name": f"{image}.jpg"} for image in range(1, IMAGES + 1)
        ],
        "categories": [{"id": category, "name": f"class {category}"} for category in range(1, CLASSES + 1)],
        "annotations": [box | {"id": place, "iscrowd": 0} for place, box in enumerate(boxes, start=1)],
    }
    path = tmp_path_factory.mktemp("scene") / "val.json"
    path.write_text(json.dumps(table))
    return path, _detections(boxes, rng, 0.35, 9.0), _detections(boxes, rng, 0.25, 7.0)


def _detections(boxes: Rows, rng: np.random.Generator, missed: float, blur: float) -> Rows:
    """The boxes, blurred, with some missed, some mistaken for another class, and false ones between them."""
    found = []
    for box in boxes:
        if rng.uniform() > missed:
            category = box["category_id"] if rng.uniform() > 0.1 else 1 + box["category_id"] % CLASSES
            bbox = [float(value) for value in np.array(box["bbox"]) + rng.normal(0, blur, 4).clip(-10, 10)]
            found.append(
                {
                    "image_id": box["image_id"],
                    "category_id": category,
                    "bbox": bbox,
                    "score": float(rng.uniform(0.3, 1)),
                }
            )
        bbox = [float(value) for value in rng.uniform([0, 0, 10, 10], [300, 300, 90, 90])]
        found.append(
            {
                "image_id": box["image_id"],
                "category_id": box["category_id"],
                "bbox": bbox,
                "score": float(rng.uniform(0, 0.6)),
            }
        )
    return found


@pytest.fixture
def runs(scene: tuple[Path, Rows, Rows], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Run]:
    """Two runs that made these detections."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return [
        _run(tmp_path / "runs", f"digits-{name}", found, scene[0], lr)
        for name, found, lr in (("aaaaaa", scene[1], 1e-3), ("bbbbbb", scene[2], 3e-4))
    ]


def _run(folder: Path, name: str, found: Rows, annotations: Path, lr: float, seed: int = 0) -> Run:
    stats = _stats(json.loads(annotations.read_text()), found)
    path = make_run(
        folder,
        name,
        [stats[0]],
        settings={"optim": {"lr": lr}, "seed": seed},
        ground_truth=coco_truth(annotations),
        detections=[arrays(found)],
        classes={f"class {place}": stats[0] + place * lr for place in range(1, CLASSES + 1)},
    )
    (row,) = status([str(path)], runs=folder).runs
    return from_run(read_run(path), row, name.rpartition("-")[2], "bbox", "last")


def _stats(table: dict[str, Any], found: Rows) -> list[float]:
    """COCO's twelve numbers by the reference."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = table
        truth.createIndex()
        engine = COCOeval(truth, truth.loadRes([dict(row) for row in found]), "bbox")
        engine.evaluate()
        engine.accumulate()
        engine.summarize()
    return [float(value) for value in engine.stats]


def _resampled(table: dict[str, Any], found: Rows, drawn: Any) -> tuple[dict[str, Any], Rows]:
    """The data set with image `drawn[k]` copied in as image k."""
    boxes: Rows = []
    copies: Rows = []
    for place, image in enumerate(drawn, start=1):
        boxes += [row | {"image_id": place} for row in table["annotations"] if row["image_id"] == image]
        copies += [row | {"image_id": place} for row in found if row["image_id"] == image]
    images = [table["images"][0] | {"id": place} for place in range(1, len(drawn) + 1)]
    annotations = [row | {"id": place} for place, row in enumerate(boxes, start=1)]
    return table | {"images": images, "annotations": annotations}, copies


def test_intervals_agree_with_a_slow_obvious_bootstrap(runs: list[Run], scene: tuple[Path, Rows, Rows]) -> None:
    table = json.loads(scene[0].read_text())
    rng = np.random.default_rng(3)
    draws = []
    for _ in range(100):
        drawn = rng.integers(1, IMAGES + 1, IMAGES)
        first, second = (_stats(*_resampled(table, found, drawn)) for found in scene[1:])
        draws.append(np.subtract(second, first))
    slow = np.array(draws)
    fast = resampled(runs[1], 1000, quietly) - resampled(runs[0], 1000, quietly)
    for place in (0, 1, 2, 4, 8):
        spread = slow[:, place].std()
        assert spread > 0.005
        assert fast[:, place].std() == pytest.approx(spread, rel=0.25)
        assert fast[:, place].mean() == pytest.approx(slow[:, place].mean(), abs=0.3 * spread)
        ends = np.percentile(fast[:, place], [2.5, 97.5])
        assert ends == pytest.approx(np.percentile(slow[:, place], [2.5, 97.5]), abs=0.8 * spread)


@slow_ok
@given(data=st.data())
def test_one_draw_gives_what_a_data_set_with_copies_gives(scene: tuple[Path, Rows, Rows], data: st.DataObject) -> None:
    table = json.loads(scene[0].read_text())
    drawn = data.draw(st.lists(st.integers(1, IMAGES), min_size=IMAGES, max_size=IMAGES))
    copied = _stats(*_resampled(table, scene[1], drawn))
    truth, found = _as_arrays(table, scene[1])
    counts = np.bincount(np.array(drawn) - 1, minlength=IMAGES).astype(float)
    ours = np.nan_to_num(weighted(match(truth, found), counts[None])[0], nan=-1.0)
    assert ours == pytest.approx(copied, abs=1e-12)


@pytest.mark.parametrize("name", ["fakebbox100", "coco-mini"])
def test_with_every_image_once_the_twelve_are_those_of_the_reference(shared: Path, name: str) -> None:
    folder = shared / "data" / name
    if name == "fakebbox100":
        table = json.loads((folder / "instances_val2014_100.json").read_text())
        found = json.loads((folder / "fakebbox100_results.cocoapi.json").read_text())
    else:
        table = json.loads((folder / "annotations" / "instances_val.json").read_text())
        found = _copies_of_crowds_and_all(table["annotations"])
    ours = weighted(match(*_as_arrays(table, found)), np.ones((1, len(table["images"]))))[0]
    assert np.nan_to_num(ours, nan=-1.0) == pytest.approx(_stats(table, found), abs=1e-12)


def _copies_of_crowds_and_all(boxes: Rows) -> Rows:
    """Three blurred detections of most boxes, with scores that often tie."""
    rng = np.random.default_rng(0)
    found = []
    for box in boxes:
        for _ in range(3):
            if rng.uniform() > 0.3:
                bbox = [float(value) for value in (np.array(box["bbox"]) + rng.normal(0, 6, 4)).clip(1)]
                row = {"image_id": box["image_id"], "category_id": box["category_id"], "bbox": bbox}
                found.append(row | {"score": round(float(rng.uniform()), 1)})
    return found


def _as_arrays(table: dict[str, Any], found: Rows) -> tuple[Truth, Detected]:
    images = {row["id"]: place for place, row in enumerate(sorted(table["images"], key=lambda row: row["id"]))}
    categories = {row["id"]: place for place, row in enumerate(sorted(table["categories"], key=lambda row: row["id"]))}

    def places(rows: Rows) -> tuple[Any, Any, Any]:
        image = np.array([images[row["image_id"]] for row in rows])
        category = np.array([categories[row["category_id"]] for row in rows])
        return image, category, np.array([row["bbox"] for row in rows], float)

    boxes = table["annotations"]
    truth = Truth(
        *places(boxes),
        area=np.array([row["area"] for row in boxes]),
        crowd=np.array([bool(row["iscrowd"]) for row in boxes]),
        images=len(images),
        categories=len(categories),
    )
    return truth, Detected(*places(found), score=np.array([row["score"] for row in found]))


def test_an_interval_holds_the_difference_and_is_computed_once(
    runs: list[Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[float] = []
    first = with_intervals(compare(runs, Question()), told.append, samples=200)
    arm = next(arm for arm in first.arms if not arm.is_baseline)
    assert arm.intervals.keys() == arm.deltas.keys()
    assert arm.intervals["AP"].lower < arm.deltas["AP"] < arm.intervals["AP"].upper
    assert told == sorted(told)
    assert told[-1] == 1.0
    assert any("bootstrap" in note for note in first.notes)
    monkeypatch.setattr("detrun.comparison.bootstrap.match", None)
    assert with_intervals(compare(runs, Question()), quietly, samples=200) == first


def test_an_arm_of_several_seeds_is_scored_by_their_mean(
    scene: tuple[Path, Rows, Rows], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    several = [
        _run(tmp_path / "runs", f"digits-{name}{seed}", found, scene[0], lr, seed)
        for name, lr, seed, found in (
            ("aaaaa", 1e-3, 0, scene[1]),
            ("aaaaa", 1e-3, 1, scene[2]),
            ("bbbbb", 3e-4, 0, scene[2]),
        )
    ]
    comparison = with_intervals(compare(several, Question()), quietly, samples=100)
    one, two, other = (resampled(each, 100, quietly)[:, 0] for each in several)
    arm = next(arm for arm in comparison.arms if not arm.is_baseline)
    ends = np.percentile(other - (one + two) / 2, [2.5, 97.5])
    assert (arm.intervals["AP"].lower, arm.intervals["AP"].upper) == pytest.approx(tuple(ends))


def test_why_there_is_no_interval_is_said(
    scene: tuple[Path, Rows, Rows], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    truth = tmp_path / "val.json"
    truth.write_bytes(scene[0].read_bytes())
    pair = [
        _run(tmp_path / "runs", f"digits-{name}", scene[place], truth, lr)
        for place, (name, lr) in enumerate((("aaaaaa", 1e-3), ("bbbbbb", 3e-4)), start=1)
    ]

    def flags(*runs: Run) -> str:
        return " ".join(with_intervals(compare(runs, Question()), quietly, samples=10).flags)

    assert pair[1].file is not None
    stored = pair[1].file.parent / "epoch_0001.npz"
    content = stored.read_bytes()
    stored.write_bytes(content[:100])
    assert "no CI: bbbbbb: epoch_0001.npz is damaged" in flags(*pair)
    stored.unlink()
    assert "no CI: bbbbbb: epoch_0001.npz is gone" in flags(*pair)
    assert pair[0].file is not None
    stored.write_bytes((pair[0].file.parent / "epoch_0001.npz").read_bytes())
    assert "no CI: bbbbbb: its detections give AP" in flags(*pair)
    truth.write_bytes(truth.read_bytes() + b" ")
    assert "val.json has changed since" in flags(*pair[:1], _with_new_detections(pair[1], content))


def _with_new_detections(run: Run, content: bytes) -> Run:
    """The run with its own detections again, under a name that no cache knows."""
    assert run.file is not None
    (run.file.parent / "epoch_0001.npz").write_bytes(content)
    _truth.cache_clear()
    return run


def test_runs_scored_on_different_annotations_have_no_interval(scene: tuple[Path, Rows, Rows], tmp_path: Path) -> None:
    other = tmp_path / "other.json"
    other.write_bytes(scene[0].read_bytes() + b"\n")
    pair = [
        _run(tmp_path, f"digits-{name}", scene[1], path, lr)
        for name, path, lr in (("a", scene[0], 1e-3), ("b", other, 3e-4))
    ]
    comparison = with_intervals(compare(pair, Question()), quietly)
    assert "no CI: the runs were scored on different annotations" in comparison.flags


def test_logs_have_no_interval_and_a_lone_run_nothing_to_compare_with(runs: list[Run]) -> None:
    alone = with_intervals(compare(runs[:1], Question()), quietly)
    assert alone.flags == ("no CI: there is nothing to compare with",)


def test_a_run_that_detected_nothing_can_be_compared(
    scene: tuple[Path, Rows, Rows], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = make_run(tmp_path, "digits-cccccc", [0.0], ground_truth=coco_truth(scene[0]), detections=[arrays([])])
    (row,) = status([str(path)], runs=tmp_path).runs
    nothing = from_run(read_run(path), row, "cccccc", "bbox", "last")
    assert matched(stored(nothing)).tide_errors()["counts"]["Cls"] == 0
    assert np.nanmax(resampled(nothing, 10, quietly)) == 0.0


def test_errors_are_hotcocos_by_the_words_of_the_paper(runs: list[Run]) -> None:
    comparison = with_errors(compare(runs, Question()), quietly)
    assert [row.arm for row in comparison.errors] == ["bbbbbb", "aaaaaa"]
    known = matched(stored(runs[1])).tide_errors()["delta_ap"]
    assert dict(comparison.errors[0].costs) == {name: known[key] for name, key in KINDS.items()}
    assert comparison.errors[0].costs["missed"] > 0


def test_classes_come_with_the_largest_change_first(runs: list[Run]) -> None:
    comparison: Comparison = with_classes(compare(runs, Question()))
    changes = [abs(row.deltas["bbbbbb"]) for row in comparison.classes]
    assert len(changes) == CLASSES
    assert changes == sorted(changes, reverse=True)
    (first, *_) = comparison.classes
    assert first.deltas["bbbbbb"] == pytest.approx(first.ap["bbbbbb"] - first.ap["aaaaaa"])
