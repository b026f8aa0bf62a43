"""`detrun data`: a public data set is brought here and looked at, and what is wrong is named with its file."""

import json
import shutil
from pathlib import Path

import pytest
from class_folder import packed, write_classes
from coco_folder import box_row, image_row, write_annotations, write_image
from command import Detrun
from file_server import serving
from test_data_fetch import zipped
from test_data_layouts import SCENE, write_voc

from detector.data.archives import DATA_SETS


def test_a_fetched_data_set_is_whole_for_the_check(detrun: Detrun, tmp_path: Path) -> None:
    (bccd,) = DATA_SETS["bccd"]
    voc = tmp_path / "voc"
    write_voc(voc, SCENE, listed="trainval")
    write_voc(voc, {"d": SCENE["a"]}, listed="test")
    write_image(voc / "JPEGImages" / "d.jpg", mode="L")
    files = {f"{bccd.inside}/{path.relative_to(voc)}": path.read_bytes() for path in voc.rglob("*") if path.is_file()}
    root = tmp_path / "bccd"
    with serving(**{bccd.name: zipped(files, bccd.comment)}) as server:
        fetched = detrun("data", "fetch", "bccd", str(root), "--mirror", server.url)
    assert fetched.stdout == f"{root}\n"
    assert f"Next: detrun data check {root}" in fetched.stderr

    shown = detrun("data", "check", str(root))

    splits, classes, problems = shown.stdout.removeprefix(f"{root}: VOC layout\n\n").split("\n\n")
    assert splits.splitlines()[1:] == ["train\t3\t3\t0\t2\t1\t0\t64x48", "val\t1\t2\t0\t1\t1\t0\t64x48"]
    assert classes.splitlines()[1:] == ["cat\t2\t0\t2\t1\t0\t1", "dog\t1\t0\t1\t1\t0\t1"]
    assert problems.splitlines()[1:] == [
        "train\timages without boxes\tkept as background\t1, such as b.jpg",
        "val\tgreyscale files\trepeated over three channels\t1, such as d.jpg",
    ]
    assert shown.stderr == ""


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    """Both splits with one image cut short, one missing, one repeated, and boxes of every odd kind."""
    root = tmp_path / "bad"
    for split, names in (("train", ("a.jpg", "cut.jpg", "gone.jpg")), ("val", ("again.jpg",))):
        images = [image_row(number, name) for number, name in enumerate(names)]
        boxes = [box_row(number, number, 1, [8.0, 8.0, 16.0, 12.0]) for number in range(len(names))]
        boxes.append(box_row(7, 0, 1, [5.0, 5.0, 0.0, 9.0]))
        boxes.append(box_row(8, 0, 1, [0.0, 0.0, 60.0, 40.0], iscrowd=1))
        write_annotations(root, images, boxes, {1: "thing"}, split)
        for name in names:
            write_image(root / "images" / split / name)
    cut = root / "images/train/cut.jpg"
    cut.write_bytes(cut.read_bytes()[:-200])
    (root / "images/train/gone.jpg").unlink()
    return root


def test_every_problem_is_named_with_its_file(detrun: Detrun, bad: Path) -> None:
    lines = detrun("data", "check", str(bad)).stdout.splitlines()

    assert "train\tboxes without width or height\tdropped\ta.jpg annotation 7" in lines
    assert "train\timages without a file\tdropped\tgone.jpg" in lines
    assert "train\tfiles that are no whole image\ta grey image stands in for each\tcut.jpg" in lines
    assert (
        "val\tval images that are in the train split too\tkept, and evaluation is too kind\tagain.jpg is a.jpg" in lines
    )
    assert "thing\t2\t1\t2\t1\t1\t1" in lines


def test_the_check_as_json_has_everything_that_is_on_the_screen(detrun: Detrun, bad: Path) -> None:
    told = detrun.json("data", "check", str(bad))

    train = told["splits"][0]
    assert (told["schema"], told["layout"], told["errors"]) == (1, "coco", [])
    assert train["classes"] == [{"name": "thing", "boxes": 2, "crowds": 1, "images": 2}]
    assert train["box_sizes"] == {"small": 2, "medium": 0, "large": 0}
    assert train["image_sizes"] == [{"width": 64, "height": 48, "images": 2}]
    problems = {problem["kind"]: (problem["places"], problem["harmless"]) for problem in train["problems"]}
    assert problems["broken_files"] == (["cut.jpg"], False)
    assert problems["crowds"] == (["a.jpg annotation 8"], True)


def test_data_that_no_run_could_train_on_end_with_exit_code_1_and_the_reasons(detrun: Detrun, bad: Path) -> None:
    refused = detrun("data", "check", str(bad), "--set", "data.max_bad_images=0", code=1)
    assert refused.stdout.startswith(f"{bad}: COCO layout")
    assert "error: 1 files of the train split are no whole images; more than 0 end a run" in refused.stderr
    assert "hint: mend them, or allow more" in refused.stderr

    val = bad / "annotations/instances_val.json"
    content = json.loads(val.read_text())
    content["categories"][0]["name"] = "other"
    val.write_text(json.dumps(content))
    assert "the splits have other categories: other (1), thing (1)" in detrun("data", "check", str(bad), code=1).stderr

    shutil.rmtree(bad / "images/val")
    alone = detrun("data", "check", str(bad), code=1)
    assert "error: data.val_images: no folder" in alone.stderr
    assert "\ntrain\t2\t2\t1\t" in alone.stdout


def test_files_of_other_names_are_checked_where_the_keys_say(detrun: Detrun, bad: Path) -> None:
    (bad / "annotations/instances_train.json").rename(bad / "boxes.json")
    shown = detrun("data", "check", str(bad), "--set", "data.train_annotations=boxes.json")
    assert "\ntrain\t2\t2\t1\t" in shown.stdout


def test_folders_of_classes_are_counted_and_what_cannot_be_read_is_named(detrun: Detrun, tmp_path: Path) -> None:
    root = write_classes(tmp_path / "classes")
    cut = root / "train/red/3.jpg"
    cut.write_bytes(cut.read_bytes()[:-200])
    (root / "val/blue/9.jpg").write_text("no image")
    shutil.copyfile(root / "train/green/0.jpg", root / "val/green/again.jpg")

    shown = detrun("data", "check", str(root))

    title, classes, problems = shown.stdout.split("\n\n")
    assert title == f"{root}: folders of classes"
    assert classes.splitlines() == [
        "CLASS\tTRAIN IMAGES\tVAL IMAGES",
        "all\t36\t14",
        "blue\t12\t5",
        "green\t12\t5",
        "red\t12\t4",
    ]
    assert problems.splitlines()[1:] == [
        "train\tfiles that are no whole image\ta grey image stands in for each\ttrain/red/3.jpg",
        "val\tfiles that are no whole image\ta grey image stands in for each\tval/blue/9.jpg",
        "val\tval images that are in the train split too\tkept, and evaluation is too kind\t"
        "val/green/again.jpg is train/green/0.jpg",
    ]
    in_tar = detrun.json("data", "check", str(packed(root, tmp_path / "classes.tar")))
    assert in_tar["layout"] == "classes"
    assert in_tar["splits"][1]["classes"][0] == {"name": "blue", "boxes": 0, "crowds": 0, "images": 5}
    assert in_tar["splits"][0]["problems"][0]["places"] == ["some-name/train/red/3.jpg"]
    refused = detrun("data", "check", str(root), "--set", "data.max_bad_images=0", code=1)
    assert "error: 1 files of the val split are no whole images; more than 0 end a run" in refused.stderr
    shutil.rmtree(root / "val")
    assert "error: data.val_images: no folder" in detrun("data", "check", str(root), code=1).stderr


@pytest.mark.parametrize(
    ("arguments", "error", "hint"),
    [
        (("check", "/nowhere"), "data.root: no folder `/nowhere`", "--set data.root="),
        (("check", "."), "holds no data set in COCO, VOC or YOLO layout", "layout.py"),
        (("check", ".", "--set", "data.rooot=x"), "data.rooot: unknown key", "`data.root`"),
        (("check", ".", "--set", "epochs=3"), "is not one value of a key of `data`", ""),
        (("fetch", "coco", "x"), "unknown data set `coco`", "`coco2017`"),
        (("fetch", "imagenet", "x"), "unknown data set `imagenet`", "voc2007"),
    ],
)
def test_wrong_input_is_answered_with_the_fix(
    detrun: Detrun, arguments: tuple[str, ...], error: str, hint: str
) -> None:
    done = detrun("data", *arguments, code=1)
    assert error in done.stderr
    assert hint in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
