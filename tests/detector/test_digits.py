"""The built-in data set: real digits, honest splits, boxes on the ink, the same bytes each time, never half of it."""

import hashlib
import json
import multiprocessing
from pathlib import Path

import numpy as np
import pytest

from detector.config import ConfigError, Data
from detector.data import digits
from detector.data.philox import SCENE, generator
from detector.data.read import read_split
from detector.data.scan import checked, scan_images
from detector.data.scenes import DIGITS, OVERLAP, SIDE_PX, paint
from detector.errors import UserError


@pytest.fixture(autouse=True)
def few_scenes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digits, "SCENES", {"train": 12, "val": 5})


def contents(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_the_same_seed_composes_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    one, again, other = (digits.compose(tmp_path / name, seed) for name, seed in (("a", 0), ("b", 0), ("c", 1)))
    assert contents(one) == contents(again)
    assert len(contents(one)) == 12 + 5 + 2
    images = [{name: digest for name, digest in contents(folder).items() if "jpg" in name} for folder in (one, other)]
    assert not set(images[0].values()) & set(images[1].values())


def test_it_is_an_ordinary_folder_without_problems(tmp_path: Path) -> None:
    digits.compose(tmp_path / "digits")
    for split, count in digits.SCENES.items():
        annotated = read_split(Data(root=str(tmp_path / "digits")), split)  # type: ignore[arg-type]
        index, report = checked(annotated.index, annotated.report, [scan_images(annotated.index)])
        assert len(index) == count
        assert {finding.kind for finding in report.findings} <= {"unused_categories"}
        assert index.category_names == tuple("0123456789")
        assert np.allclose(index.areas, index.boxes[:, 2] * index.boxes[:, 3])
    text = json.loads((tmp_path / "digits" / "annotations" / "instances_train.json").read_text())
    ids = [row["id"] for row in text["annotations"]]
    assert ids == list(range(1, len(ids) + 1))


def test_no_sample_is_in_both_splits_and_each_is_in_one() -> None:
    train, val = (set(digits.sources(split, 0).tolist()) for split in ("train", "val"))
    assert not train & val
    assert train | val == set(range(1797))
    assert len(val) == 359


def test_a_complete_folder_is_used_again(tmp_path: Path) -> None:
    folder = digits.compose(tmp_path / "digits")
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert digits.compose(folder) == folder
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    assert [path.name for path in tmp_path.iterdir()] == ["digits"]


def test_a_composition_that_dies_leaves_nothing_that_looks_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = contents(digits.compose(tmp_path / "whole"))

    def dies(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(digits, "_annotations", dies)
        with pytest.raises(KeyboardInterrupt):
            digits.compose(tmp_path / "digits")
    assert not (tmp_path / "digits").exists()
    assert contents(digits.compose(tmp_path / "digits")) == whole


def test_processes_that_compose_at_once_all_get_the_whole(tmp_path: Path) -> None:
    whole = contents(digits.compose(tmp_path / "whole"))
    fork = multiprocessing.get_context("fork")
    racers = [fork.Process(target=digits.compose, args=(tmp_path / "raced",)) for _ in range(3)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()
    assert [racer.exitcode for racer in racers] == [0, 0, 0]
    assert contents(tmp_path / "raced") == whole
    assert sorted(path.name for path in tmp_path.iterdir()) == ["raced", "whole"]


@pytest.mark.parametrize("variable", ["DETRUN_CACHE", "XDG_CACHE_HOME", "HOME"])
def test_the_builtin_root_is_composed_in_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    for name in ("DETRUN_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, str(tmp_path))
    under = {"DETRUN_CACHE": ".", "XDG_CACHE_HOME": "detrun", "HOME": ".cache/detrun"}[variable]
    root = digits.resolve_root("builtin:digits")
    assert root == tmp_path / under / f"digits-v{digits.VERSION}"
    assert (root / "annotations" / "instances_val.json").is_file()


def test_a_cache_that_cannot_be_written_is_named_with_a_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("DETRUN_CACHE", str(tmp_path / "file"))
    with pytest.raises(UserError, match=f"{tmp_path}/file: cannot write the digits there") as caught:
        digits.resolve_root("builtin:digits")
    assert "DETRUN_CACHE" in caught.value.hint


def test_any_other_root_is_the_folder_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "mine").mkdir()
    assert digits.resolve_root(str(tmp_path / "mine")) == tmp_path / "mine"
    assert digits.resolve_root("~/mine") == tmp_path / "mine"
    with pytest.raises(ConfigError, match=r"data.root: no folder `.*/theirs`"):
        digits.resolve_root("~/theirs")


def test_boxes_are_tight_around_ink_that_stays_visible() -> None:
    ring = np.zeros((1, 8, 8))
    ring[0, 1:7, 1:7] = 16
    ring[0, 3:5, 3:5] = 0
    for number in range(40):
        scene = paint(ring, np.array([0]), generator(0, SCENE, (number, 0)))
        paper = np.median(scene.pixels.reshape(-1, 3), axis=0)
        contrast = np.abs(scene.pixels - paper).sum(axis=2)
        assert len(scene.boxes) == len(scene.labels) <= DIGITS[1]
        for left, top, width, height in scene.boxes:
            assert left > 0
            assert top > 0
            assert left + width < SIDE_PX
            assert top + height < SIDE_PX
            inside = contrast[top : top + height, left : left + width]
            edges = (inside[:2].max(), inside[-2:].max(), inside[:, :2].max(), inside[:, -2:].max())
            assert min(edges) > 40


def test_boxes_overlap_only_a_little() -> None:
    for scene in digits.scenes("train", 0):
        corners = np.array([(left, top, left + width, top + height) for left, top, width, height in scene.boxes])
        common = np.minimum(corners[:, None, 2:], corners[None, :, 2:]) - np.maximum(
            corners[:, None, :2], corners[:, :2]
        )
        areas = (corners[:, 2:] - corners[:, :2]).prod(axis=1)
        shared = np.clip(common, 0, None).prod(axis=2)
        iou = shared / (areas[:, None] + areas - shared)
        assert (iou[~np.eye(len(areas), dtype=bool)] <= OVERLAP + 0.05).all()
