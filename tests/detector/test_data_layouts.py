"""The same pictures and boxes in COCO, VOC and YOLO layout are the same records, and what is wrong is counted."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from coco_folder import box_row, exif, image_row, write_annotations, write_image
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from detector.config import ConfigError, Data
from detector.data.index import CocoIndex
from detector.data.layout import locate, recognise
from detector.data.read import read_split
from detector.data.report import DataReport
from detector.errors import UserError
from detector.evaluation.coco import Judge
from detector.evaluation.detections import Detections
from detector.processes import Ranks
from detector.splits import open_split, refuse_other_classes

NAMES = ("cat", "dog")
WIDTH, HEIGHT = 64, 48


class Box(NamedTuple):
    label: int
    left: int
    top: int
    width: int
    height: int


Boxes = dict[str, list[Box]]

SCENE: Boxes = {"a": [Box(1, 0, 0, 10, 20), Box(0, 30, 8, 34, 40)], "b": [], "c": [Box(0, 5, 6, 7, 8)]}


def write_coco(root: Path, scene: Boxes) -> None:
    images = [image_row(number, f"{stem}.jpg") for number, stem in enumerate(scene, start=1)]
    numbers = {stem: number for number, stem in enumerate(scene, start=1)}
    rows = [(stem, box) for stem, boxes in scene.items() for box in boxes]
    boxes = [box_row(at, numbers[stem], box.label, list(box[1:])) for at, (stem, box) in enumerate(rows, start=1)]
    write_annotations(root, images, boxes, dict(enumerate(NAMES)))
    for stem in scene:
        write_image(root / "images" / "train" / f"{stem}.jpg")


def write_voc(root: Path, scene: Boxes, listed: str = "train") -> None:
    for folder in ("Annotations", "ImageSets/Main", "JPEGImages"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    (root / "ImageSets/Main" / f"{listed}.txt").write_text("".join(f"{stem}\n" for stem in scene))
    (root / "classes.txt").write_text("\n".join(NAMES))
    for stem, boxes in scene.items():
        write_image(root / "JPEGImages" / f"{stem}.jpg")
        (root / "Annotations" / f"{stem}.xml").write_text(sheet(*(voc_object(box) for box in boxes)))


def sheet(*objects: str, size: tuple[int, int] | None = (WIDTH, HEIGHT)) -> str:
    told = f"<size><width>{size[0]}</width><height>{size[1]}</height><depth>3</depth></size>" if size else ""
    return f"<annotation><filename>x</filename>{told}{''.join(objects)}</annotation>"


def voc_object(box: Box, name: str = "", difficult: int = 0) -> str:
    ends = {"xmin": box.left + 1, "ymin": box.top + 1, "xmax": box.left + box.width, "ymax": box.top + box.height}
    told = "".join(f"<{key}>{value}</{key}>" for key, value in ends.items())
    name = name or NAMES[box.label]
    return f"<object><name>{name}</name><difficult>{difficult}</difficult><bndbox>{told}</bndbox></object>"


def write_yolo(root: Path, scene: Boxes) -> None:
    for folder in ("images/train", "labels/train"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    (root / "data.yaml").write_text(f"train: images/train\nnames: {list(NAMES)}\n")
    for stem, boxes in scene.items():
        write_image(root / "images/train" / f"{stem}.jpg")
        lines = [yolo_line(box) for box in boxes]
        if lines:
            (root / "labels/train" / f"{stem}.txt").write_text("\n".join(lines) + "\n")


def yolo_line(box: Box) -> str:
    x, y = (box.left + box.width / 2) / WIDTH, (box.top + box.height / 2) / HEIGHT
    return f"{box.label} {x:.8f} {y:.8f} {box.width / WIDTH:.8f} {box.height / HEIGHT:.8f}"


WRITERS: dict[str, Callable[[Path, Boxes], None]] = {"coco": write_coco, "voc": write_voc, "yolo": write_yolo}


def read(root: Path, **settings: Any) -> tuple[CocoIndex, DataReport]:
    annotated = read_split(Data(root=str(root), **settings), "train")
    return annotated.index, annotated.report


def told(report: DataReport) -> dict[str, tuple[str, ...]]:
    return {finding.kind: finding.places for finding in report.findings}


def records(index: CocoIndex) -> list[Any]:
    """Everything that training and evaluation use, but where the files are."""
    rows = [
        (Path(index.name(at)).name, index.sizes[at].tolist(), *(part.tolist() for part in index.truth(at)))
        for at in range(len(index))
    ]
    return [rows, index.category_names, index.areas.tolist()]


@pytest.mark.parametrize("layout", ["voc", "yolo"])
def test_a_layout_gives_the_records_of_coco(tmp_path: Path, layout: str) -> None:
    WRITERS["coco"](tmp_path / "coco", SCENE)
    WRITERS[layout](tmp_path / layout, SCENE)
    expected, _ = read(tmp_path / "coco")
    index, report = read(tmp_path / layout)
    assert records(index) == records(expected)
    assert index.image_ids.tolist() == [1, 2, 3]
    assert told(report) == {"empty_images": (index.name(1),)}
    assert all(index.path(at).is_file() for at in range(3))


EDGE = st.integers(0, WIDTH - 1), st.integers(0, HEIGHT - 1)
BOX = st.tuples(st.integers(0, 1), *EDGE, st.integers(1, 90), st.integers(1, 90)).map(
    lambda box: Box(box[0], box[1], box[2], min(box[3], WIDTH - box[1]), min(box[4], HEIGHT - box[2]))
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(boxes=st.lists(BOX, max_size=6))
def test_any_boxes_are_the_same_in_every_layout(tmp_path: Path, boxes: list[Box]) -> None:
    found = []
    for layout, write in WRITERS.items():
        for old in (tmp_path / layout).glob("labels/train/*"):
            old.unlink()
        write(tmp_path / layout, {"a": boxes})
        found.append(records(read(tmp_path / layout)[0]))
    assert found[1] == found[0]
    assert np.allclose(found[2][0][0][2], found[0][0][0][2], atol=1e-3)
    assert found[2][0][0][3:] == found[0][0][0][3:]


def test_a_voc_sheet_that_is_damaged_costs_its_image_and_an_object_only_itself(tmp_path: Path) -> None:
    write_voc(tmp_path, {stem: [Box(0, 1, 1, 5, 5)] for stem in "abcdef"})
    sheets = tmp_path / "Annotations"
    (sheets / "a.xml").write_text("<annotation><object>")
    (sheets / "b.xml").unlink()
    (sheets / "c.xml").write_text("<html></html>")
    (sheets / "d.xml").write_text(
        sheet(
            "<object><name>cat</name></object>",
            voc_object(Box(0, 1, 1, 5, 5)).replace("<xmax>6", "<xmax>six"),
            voc_object(Box(0, 1, 1, 5, 5)).replace("<xmin>2", "<xmin>nan"),
            voc_object(Box(0, 1, 1, 5, 5), name="unicorn"),
            voc_object(Box(0, 2, 2, 9, 9), difficult=1),
            voc_object(Box(1, 3, 3, 9, 9)),
        )
    )
    (sheets / "e.xml").write_text(sheet(voc_object(Box(0, 1, 1, 5, 5)), size=None))
    index, report = read(tmp_path)
    assert [index.name(at) for at in range(len(index))] == ["d.jpg", "e.jpg", "f.jpg"]
    assert told(report) == {
        "unreadable_annotations": ("Annotations/a.xml", "Annotations/b.xml", "Annotations/c.xml"),
        "unreadable_boxes": ("d.jpg object 1 (cat)", "d.jpg object 2 (cat)", "d.jpg object 3 (cat)"),
        "unknown_categories": ("d.jpg object 4 (unicorn)",),
        "crowds": ("d.jpg object 5 (cat)",),
    }
    assert index.truth(0).crowd.tolist() == [True, False]
    assert index.sizes[1].tolist() == [WIDTH, HEIGHT]


def test_voc_classes_are_those_of_all_sheets_where_no_file_lists_them(tmp_path: Path) -> None:
    write_voc(tmp_path, {"a": [Box(1, 1, 1, 5, 5)]}, listed="train")
    write_voc(tmp_path, {"b": [Box(0, 1, 1, 5, 5)]}, listed="val")
    (tmp_path / "classes.txt").unlink()
    for split in ("train", "val"):
        assert read_split(Data(root=str(tmp_path)), split).index.category_names == NAMES  # type: ignore[arg-type]


def test_voc_trains_on_trainval_where_there_is_a_test_list(tmp_path: Path) -> None:
    for listed, stem in (("train", "a"), ("val", "b"), ("trainval", "c"), ("test", "d")):
        write_voc(tmp_path, {stem: [Box(1, 1, 1, 5, 5)]}, listed=listed)
    assert [read_split(Data(root=str(tmp_path)), split).index.name(0) for split in ("train", "val")] == [
        "c.jpg",
        "d.jpg",
    ]
    (tmp_path / "ImageSets/Main/test.txt").unlink()
    assert read(tmp_path)[0].name(0) == "a.jpg"


def test_voc_lists_of_one_class_are_read_by_their_first_word(tmp_path: Path) -> None:
    write_voc(tmp_path, SCENE)
    (tmp_path / "ImageSets/Main/train.txt").write_text("c  1\na -1\n\nc  1\n")
    index, _ = read(tmp_path)
    assert [index.name(at) for at in range(len(index))] == ["c.jpg", "a.jpg"]


def test_yolo_lines_and_files_that_are_wrong_are_counted(tmp_path: Path) -> None:
    write_yolo(tmp_path, {stem: [Box(0, 1, 1, 5, 5)] for stem in "abcd"})
    good = yolo_line(Box(1, 8, 8, 16, 16))
    lines = [good, "", "0 .5 .5 .1", "cat .5 .5 .1 .1", "7 .5 .5 .1 .1", "0.5 .5 .5 .1 .1", "0 nan .5 .1 .1"]
    lines += ["0 1e300 .5 .1 .1", "1e300 .5 .5 .1 .1", "1 .125 .5 .375 .25 .25 .75", "0 .5 .5 0 .1", "0 2 2 .1 .1"]
    (tmp_path / "labels/train/a.txt").write_text("\n".join(lines))
    (tmp_path / "labels/train/b.txt").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "images/train/c.jpg").write_text("no image")
    index, report = read(tmp_path)
    unread = tuple(f"a.txt line {number}" for number in (3, 4, 6, 7, 8, 9))
    assert told(report) == {
        "unreadable_boxes": (*unread, str(tmp_path / "labels/train/b.txt")),
        "unsized_files": ("images/train/c.jpg",),
        "unknown_categories": ("a.txt line 5",),
        "zero_size": ("a.txt line 11",),
        "outside": ("a.txt line 12",),
        "empty_images": ("images/train/b.jpg",),
    }
    assert index.truth(0).boxes.tolist() == [[8, 8, 16, 16], [8, 12, 16, 24]]
    assert index.truth(0).labels.tolist() == [1, 1]


def test_yolo_boxes_are_shares_of_a_photo_as_it_is_shown(tmp_path: Path) -> None:
    write_yolo(tmp_path, {"a": [Box(0, 16, 12, 32, 24)]})
    write_image(tmp_path / "images/train/a.jpg", 48, 64, exif=exif(6))
    index, _ = read(tmp_path)
    assert index.sizes.tolist() == [[64, 48]]
    assert index.truth(0).boxes.tolist() == [[16, 12, 32, 24]]


@pytest.mark.parametrize("form", ["roboflow", "beside", "list", "numbered", "other machine"])
def test_yolo_exports_of_other_tools_are_found(tmp_path: Path, form: str) -> None:
    root = tmp_path / "data"
    write_yolo(root, SCENE)
    if form == "roboflow":
        (root / "images/train").rename(root / "train")
        (root / "train").rename(root / "moved")
        (root / "train").mkdir()
        (root / "moved").rename(root / "train/images")
        (root / "labels/train").rename(root / "train/labels")
        (root / "data.yaml").write_text(f"train: ../train/images\nval: ../valid/images\nnames: {list(NAMES)}\n")
    elif form == "beside":
        for file in (root / "labels/train").iterdir():
            file.rename(root / "images/train" / file.name)
        (root / "data.yaml").unlink()
        (root / "classes.txt").write_text("\n".join(NAMES) + "\n")
    elif form == "list":
        (root / "train.txt").write_text("".join(f"./images/train/{stem}.jpg\n" for stem in SCENE))
        (root / "data.yaml").write_text(f"train: train.txt\nnames: {list(NAMES)}\n")
    elif form == "numbered":
        (root / "data.yaml").write_text("train: [images/train]\nnames:\n  0: cat\n  1: dog\n")
    else:
        (root / "data.yaml").write_text(f"path: /home/someone/data\ntrain: images/train\nnames: {list(NAMES)}\n")
    write_coco(tmp_path / "coco", SCENE)
    assert records(read(root)[0]) == records(read(tmp_path / "coco")[0])


@pytest.mark.parametrize(
    ("write", "damage", "said"),
    [
        (write_voc, "ImageSets/Main/train.txt", r"train\.txt: lists no images"),
        (write_voc, "Annotations", r"none of its 3 images has a readable file in .*Annotations"),
        (write_yolo, "data.yaml", r"data\.yaml: has no `names`"),
        (write_yolo, "images/train", r"lists no images"),
    ],
)
def test_a_layout_that_is_no_use_is_refused_in_one_line(
    tmp_path: Path, write: Callable[[Path, Boxes], None], damage: str, said: str
) -> None:
    write(tmp_path, SCENE)
    target = tmp_path / damage
    if target.is_dir():
        for file in target.iterdir():
            file.unlink()
    else:
        target.write_text("")
    with pytest.raises(UserError, match=said) as caught:
        read(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("yaml", "said"),
    [
        ("names: [a, b", "not YAML"),
        ("- a\n- b", "has no `names`"),
        ("names: cat", "neither a list nor a table"),
        ("names: {0: cat, 2: dog}", "neither a list nor a table"),
        ("names: []", "lists no categories"),
        ("train: nowhere\nnames: [cat]", "data.train_images: no folder or list `.*nowhere`"),
    ],
)
def test_a_data_yaml_that_cannot_be_used_is_named(tmp_path: Path, yaml: str, said: str) -> None:
    write_yolo(tmp_path, SCENE)
    (tmp_path / "data.yaml").write_text(yaml)
    with pytest.raises(UserError, match=said) as caught:
        read(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_yolo_folder_without_names_or_without_the_split_says_so(tmp_path: Path) -> None:
    write_yolo(tmp_path, SCENE)
    with pytest.raises(ConfigError, match=r"data\.val_images: no folder"):
        read_split(Data(root=str(tmp_path)), "val")
    (tmp_path / "data.yaml").unlink()
    with pytest.raises(UserError, match="nothing names the classes"):
        read(tmp_path)


@pytest.mark.parametrize("layout", list(WRITERS))
def test_a_layout_shows_itself_and_is_found_one_folder_down(tmp_path: Path, layout: str) -> None:
    root = tmp_path / "outer" / "inner"
    WRITERS[layout](root, SCENE)
    assert recognise(Data(), root) == layout
    with pytest.raises(ConfigError, match="holds no data set in COCO, VOC or YOLO layout") as caught:
        recognise(Data(), tmp_path)
    assert str(root) in caught.value.hint


def test_a_folder_of_anything_else_is_refused_and_a_configured_format_is_believed(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(ConfigError, match=r"data\.root"):
        recognise(Data(), tmp_path)
    assert recognise(Data(format="voc"), tmp_path) == "voc"


@pytest.mark.parametrize("year", ["2017", "2014"])
def test_cocos_own_names_are_found(tmp_path: Path, year: str) -> None:
    for split in ("train", "val"):
        write_annotations(tmp_path, [image_row(1, "a.jpg")], [], {1: "cat"}, split=f"{split}{year}")
        (tmp_path / "images" / f"{split}{year}").rename(tmp_path / f"{split}{year}")
        files = locate(Data(), tmp_path, split, "coco")  # type: ignore[arg-type]
        assert files.annotations.name == f"instances_{split}{year}.json"
        assert files.images == tmp_path / f"{split}{year}"


@pytest.mark.parametrize("layout", ["voc", "yolo"])
def test_the_ground_truth_of_a_converted_split_is_a_coco_file_in_the_cache(
    tmp_path: Path, layout: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DETRUN_CACHE", str(tmp_path / "cache"))
    WRITERS[layout](tmp_path / "one", SCENE)
    WRITERS[layout](tmp_path / "two", SCENE)
    paths = {read_split(Data(root=str(tmp_path / root)), "train").ground_truth() for root in ("one", "two")}
    (path,) = paths
    assert path.parent.parent == tmp_path / "cache"
    content = json.loads(path.read_text())
    assert [row["bbox"] for row in content["annotations"]] == [[0, 0, 10, 20], [30, 8, 34, 40], [5, 6, 7, 8]]
    assert [row["id"] for row in content["images"]] == [1, 2, 3]
    assert [row["name"] for row in content["categories"]] == list(NAMES)


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DETRUN_CACHE", str(tmp_path / "file"))
    write_voc(tmp_path / "voc", SCENE)
    with pytest.raises(UserError, match="cannot be written") as caught:
        read_split(Data(root=str(tmp_path / "voc")), "train").ground_truth()
    assert "DETRUN_CACHE" in caught.value.hint


@pytest.mark.parametrize("layout", ["voc", "yolo"])
def test_boxes_found_where_they_are_score_1_against_a_converted_split(
    tmp_path: Path, layout: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DETRUN_CACHE", str(tmp_path / "cache"))
    WRITERS[layout](tmp_path / "data", SCENE)
    if layout == "voc":
        write_voc(tmp_path / "data", SCENE, listed="val")
    else:
        shutil.copytree(tmp_path / "data/images/train", tmp_path / "data/images/val")
        shutil.copytree(tmp_path / "data/labels/train", tmp_path / "data/labels/val")
    split = open_split(Data(root=str(tmp_path / "data")), "val", Ranks())
    index = split.index
    owners = index.image_ids[np.repeat(np.arange(len(index)), np.diff(index.box_starts))]
    ids = index.category_ids[index.labels]
    found = Detections(owners, ids, index.boxes, np.ones(len(index.boxes), np.float32))
    judge = Judge(split.annotations, "hotcoco")
    assert judge.score(found).metrics["AP"] == pytest.approx(1)
    assert (judge.ground_truth.images, judge.ground_truth.annotations) == (3, 3)


def test_splits_with_other_categories_are_refused(tmp_path: Path) -> None:
    for split, names in (("train", {1: "cat", 2: "dog"}), ("val", {1: "dog", 2: "cat"})):
        write_annotations(tmp_path, [image_row(1, "a.jpg")], [], names, split)
        write_image(tmp_path / "images" / split / "a.jpg")
    train, val = (open_split(Data(root=str(tmp_path)), split, Ranks()) for split in ("train", "val"))
    refuse_other_classes(train, train)
    with pytest.raises(UserError, match=r"its categories are not those of .*cat \(1\), dog \(1\)"):
        refuse_other_classes(train, val)
