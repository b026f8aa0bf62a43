"""Annotation files become an index whose every box can be used, and what is odd in them is counted and named."""

import dataclasses
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from coco_folder import box_row, image_row, write_annotations
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from detector.config import ConfigError, Data
from detector.data.coco import read_coco
from detector.data.index import CocoIndex
from detector.data.read import read_split
from detector.data.report import KINDS
from detector.errors import UserError

CATEGORIES = {18: "dog", 0: "person", 7: "kite"}


def read(root: Path, images: list[Any], boxes: list[Any], categories: dict[int, str] | None = None) -> tuple[Any, Any]:
    return read_coco(write_annotations(root, images, boxes, categories or CATEGORIES), root / "images" / "train")


def test_labels_are_contiguous_by_ascending_category_id_with_gaps_and_zero(tmp_path: Path) -> None:
    boxes = [box_row(number, 1, category, [1, 1, 5, 5]) for number, category in enumerate((18, 0, 7), start=1)]
    index, _ = read(tmp_path, [image_row(1, "a.jpg")], boxes)
    assert index.category_ids.tolist() == [0, 7, 18]
    assert index.category_names == ("person", "kite", "dog")
    assert index.truth(0).labels.tolist() == [2, 0, 1]


def test_boxes_belong_to_their_image_in_the_order_of_the_file(tmp_path: Path) -> None:
    images = [image_row(30, "sub/ü.jpg"), image_row(0, "b.jpg"), image_row(10, "c.jpg")]
    boxes = [box_row(1, 10, 0, [1, 2, 3, 4]), box_row(2, 30, 7, [5, 6, 7, 8]), box_row(3, 10, 18, [9, 10, 11, 12])]
    index, _ = read(tmp_path, images, boxes)
    assert [index.name(position) for position in range(3)] == ["sub/ü.jpg", "b.jpg", "c.jpg"]
    assert index.image_ids.tolist() == [30, 0, 10]
    assert [index.truth(position).boxes.tolist() for position in range(3)] == [
        [[5, 6, 7, 8]],
        [],
        [[1, 2, 3, 4], [9, 10, 11, 12]],
    ]


def test_everything_odd_is_counted_and_named(tmp_path: Path) -> None:
    images = [image_row(1, "a.jpg"), image_row(2, "b.jpg"), image_row(1, "again.jpg"), image_row(3, "empty.jpg")]
    boxes = [
        box_row(11, 1, 0, [1, 1, 10, 10]),
        box_row(12, 1, 0, [5, 5, 0, 10]),
        box_row(13, 2, 0, [5, 5, 10, -1]),
        box_row(14, 2, 0, [-4, 40, 20, 20]),
        box_row(15, 1, 0, [64, 10, 5, 5]),
        box_row(16, 99, 0, [1, 1, 5, 5]),
        box_row(17, 2, 5, [1, 1, 5, 5]),
        box_row(11, 2, 7, [1, 1, 5, 5], iscrowd=1),
        box_row(18, 1, 0, [0, 0, 64.4, 48.3]),
    ]
    index, report = read(tmp_path, images, boxes)
    told = {finding.kind: (len(finding.places), finding.places) for finding in report.findings}
    assert told == {
        "zero_size": (2, ("a.jpg annotation 12", "b.jpg annotation 13")),
        "clipped": (1, ("b.jpg annotation 14",)),
        "outside": (1, ("a.jpg annotation 15",)),
        "unknown_images": (1, ("annotation 16",)),
        "unknown_categories": (1, ("b.jpg annotation 17",)),
        "repeated_annotations": (1, ("b.jpg annotation 11",)),
        "crowds": (1, ("b.jpg annotation 11",)),
        "repeated_images": (1, ("again.jpg",)),
        "empty_images": (1, ("empty.jpg",)),
        "unused_categories": (1, ("dog",)),
    }
    assert index.truth(0).boxes.tolist() == [[1, 1, 10, 10], [0, 0, 64, 48]]
    assert index.truth(1).boxes.tolist() == [[0, 40, 16, 8], [1, 1, 5, 5]]
    assert index.truth(1).crowd.tolist() == [False, True]


def test_a_report_is_one_line_of_totals_and_one_for_each_finding(tmp_path: Path) -> None:
    boxes = [box_row(7, 1, category, [1, 1, 0 if category == 0 else 4, 4]) for category in CATEGORIES]
    _, report = read(tmp_path, [image_row(1, "a.jpg")], boxes)
    lines = report.lines()
    assert lines[0] == f"{tmp_path}/annotations/instances_train.json: 1 images, 2 boxes, 3 categories"
    assert "  boxes without width or height: 1 (dropped), such as a.jpg annotation 7" in lines
    assert len(lines) == 1 + len(report.findings)
    assert {finding.kind for finding in report.findings} <= set(KINDS)


def test_keys_that_other_tools_add_or_leave_out_do_no_harm(tmp_path: Path) -> None:
    images = [image_row(1, "a.jpg") | {"flickr_url": "x", "license": None}]
    boxes: list[dict[str, Any]] = [
        {"id": 1, "image_id": 1, "category_id": 0, "bbox": [1, 2, 3, 4], "iscrowd": True, "segmentation": [[1, 2]]},
        {"id": 2, "image_id": 1, "category_id": 0, "bbox": [1, 2, 3, 4], "area": 5, "score": 0.5},
    ]
    index, _ = read(tmp_path, images, boxes)
    assert index.crowd.tolist() == [True, False]
    assert index.areas.tolist() == [12, 5]


CORNER = st.integers(-30, 80)
SIDE = st.integers(-3, 90)
ANNOTATION = st.tuples(st.integers(0, 4), st.sampled_from([0, 7, 18, 3]), CORNER, CORNER, SIDE, SIDE, st.booleans())


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(annotations=st.lists(ANNOTATION, max_size=25))
def test_the_index_agrees_with_a_slow_reference(tmp_path: Path, annotations: list[Any]) -> None:
    images = [image_row(number, f"{number}.jpg", 64, 48) for number in (2, 0, 3)]
    boxes = [
        box_row(number, image, category, list(box), iscrowd=int(crowd))
        for number, (image, category, *box, crowd) in enumerate(annotations)
    ]
    index, report = read(tmp_path, images, boxes)
    for position, image in enumerate(images):
        expected = []
        for row in boxes:
            left, top, width, height = row["bbox"]
            x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + width, 64), min(top + height, 48)
            known = row["image_id"] == image["id"] and row["category_id"] in CATEGORIES
            if known and width > 0 and height > 0 and x1 > x0 and y1 > y0:
                label = sorted(CATEGORIES).index(row["category_id"])
                expected.append(([x0, y0, x1 - x0, y1 - y0], label, bool(row["iscrowd"])))
        found = index.truth(position)
        rows = zip(found.boxes.tolist(), found.labels.tolist(), found.crowd.tolist(), strict=True)
        assert list(rows) == expected
    dropped = ("unknown_images", "unknown_categories", "zero_size", "outside")
    assert len(boxes) == report.boxes + sum(report.count(kind) for kind in dropped)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(absent=st.sets(st.integers(0, 5)))
def test_an_index_without_images_is_that_of_a_file_without_them(tmp_path: Path, absent: set[int]) -> None:
    images = [image_row(number, f"{number}.jpg") for number in range(6)]
    boxes = [box_row(number, number * 5 % 6, 7, [number, 1, 2, 3], iscrowd=number % 2) for number in range(20)]
    whole, _ = read(tmp_path, images, boxes)
    less = whole.without(np.array(sorted(absent), dtype=np.int64))
    left = [image for image in images if image["id"] not in absent] or [image_row(77, "x.jpg")]
    expected, _ = read(tmp_path, left, [box for box in boxes if box["image_id"] not in absent])
    if len(absent) == 6:
        assert len(less) == len(less.boxes) == 0
    else:
        assert pickle.dumps(less) == pickle.dumps(expected)


def test_an_index_is_flat_arrays_however_many_boxes_it_holds(tmp_path: Path) -> None:
    images = [image_row(number, f"{number:012d}.jpg") for number in range(2000)]
    boxes = [box_row(number, number % 2000, 7, [1, 1, 5, 5]) for number in range(20000)]
    index, _ = read(tmp_path, images, boxes)
    values = [getattr(index, field.name) for field in dataclasses.fields(CocoIndex)]
    arrays = [value for value in values if isinstance(value, np.ndarray)]
    assert all(array.dtype != object for array in arrays)
    assert {type(value) for value in values} == {np.ndarray, bytes, tuple, type(tmp_path)}
    payload = sum(array.nbytes for array in arrays) + len(index.names)
    assert len(pickle.dumps(index)) < payload + 4000


def test_coco_mini_is_read_whole(shared: Path) -> None:
    train = read_split(Data(root=str(shared / "data" / "coco-mini")), "train")
    index, report = train.index, train.report
    assert (report.images, report.boxes, report.categories) == (263, 2235, 80)
    assert (report.count("crowds"), report.count("empty_images")) == (21, 3)
    assert index.category_ids.max() == 90
    assert index.labels.max() < 80
    val = read_split(Data(root=str(shared / "data" / "coco-mini")), "val")
    report = val.report
    assert (report.images, report.boxes, report.count("crowds"), report.count("empty_images")) == (129, 1196, 16, 2)


def test_bccd_is_read_whole(shared: Path) -> None:
    sizes = {}
    for split in ("train", "val"):
        annotated = read_split(Data(root=str(shared / "data" / "bccd")), split)  # type: ignore[arg-type]
        index, report = annotated.index, annotated.report
        sizes[split] = (len(index), len(index.boxes), index.category_names)
        assert report.count("crowds") == report.count("zero_size") == 0
    names = ("RBC", "WBC", "Platelets")
    assert sizes == {"train": (292, 3922, names), "val": (72, 964, names)}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "the file is empty"),
        ("{'images': []}", "not JSON"),
        ('{"images": [', "not JSON"),
        ("[1, 2]", "not a COCO instances file: Expected `object`, got `array`"),
        ('{"images": [], "categories": []}', "missing required field `annotations`"),
        (
            json.dumps({"images": [], "categories": [], "annotations": [{"id": 1, "image_id": 1, "caption": "a dog"}]}),
            "missing required field `category_id` - at `$.annotations[0]`",
        ),
        (
            json.dumps({"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": [], "categories": []}),
            "missing required field `width` - at `$.images[0]`",
        ),
        ('{"images": [], "categories": [{"id": 1, "name": "a"}], "annotations": []}', "lists no images"),
        (json.dumps({"images": [image_row(1, "a.jpg")], "annotations": [], "categories": []}), "lists no categories"),
        (
            json.dumps(
                {
                    "images": [image_row(1, "a.jpg")],
                    "annotations": [],
                    "categories": [{"id": 1, "name": "a"}, {"id": 1, "name": "b"}],
                }
            ),
            "category id 1 is both `a` and `b`",
        ),
    ],
)
def test_a_file_that_is_no_use_is_refused_in_one_line(tmp_path: Path, content: str, said: str) -> None:
    file = tmp_path / "bad.json"
    file.write_text(content)
    with pytest.raises(UserError) as caught:
        read_coco(file, tmp_path)
    message = str(caught.value)
    assert said in message
    assert message.startswith(str(file))
    assert "\n" not in message


def test_a_missing_root_names_the_key_and_the_option() -> None:
    for root in ("", "/no/such/folder", "builtin:letters"):
        with pytest.raises(ConfigError) as caught:
            read_split(Data(root=root), "train")
        assert caught.value.key == "data.root"
    assert "--set data.root=" in _hint(Data())
    assert "builtin:digits" in _hint(Data(root="builtin:letters"))


def test_a_missing_annotation_file_hints_at_those_that_are_there(tmp_path: Path) -> None:
    write_annotations(tmp_path, [image_row(1, "a.jpg")], [], CATEGORIES, split="all")
    data = Data(root=str(tmp_path))
    with pytest.raises(ConfigError, match=r"data.train_annotations: no file `.*instances_train.json`"):
        read_split(data, "train")
    assert "annotations/instances_all.json" in _hint(data)
    assert "no .json file at all" in _hint(Data(root=str(tmp_path / "images"), format="coco"))


def test_a_missing_image_folder_is_named(tmp_path: Path) -> None:
    write_annotations(tmp_path, [image_row(1, "a.jpg")], [], CATEGORIES)
    (tmp_path / "images" / "train").rmdir()
    with pytest.raises(ConfigError, match=r"data\.train_images: no folder"):
        read_split(Data(root=str(tmp_path)), "train")


def _hint(data: Data) -> str:
    with pytest.raises(UserError) as caught:
        read_split(data, "train")
    return caught.value.hint
