"""Image files of every common kind become upright RGB pixels, and their headers are compared with the annotations."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from coco_folder import box_row, exif, image_row, noise, write_annotations, write_image
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from detector.data.coco import read_coco
from detector.data.image import ImageError, read_image
from detector.data.index import CocoIndex
from detector.data.report import DataReport
from detector.data.scan import checked, scan_images
from detector.errors import UserError

WHOLE = (64, 48)


def index_of(root: Path, images: list[dict[str, Any]]) -> tuple[CocoIndex, DataReport]:
    boxes = [box_row(row["id"], row["id"], 1, [2, 2, 9, 9]) for row in images]
    return read_coco(write_annotations(root, images, boxes, {1: "thing"}), root / "images" / "train")


@pytest.mark.parametrize(
    ("name", "mode", "tolerance"),
    [
        ("a.png", "RGB", 0),
        ("a.png", "RGBA", 0),
        ("a.png", "L", 0),
        ("a.png", "LA", 0),
        ("a.png", "P", 0),
        ("a.png", "1", 0),
        ("a.bmp", "RGB", 0),
        ("a.tif", "RGB", 0),
        ("a.jpg", "RGB", 3),
        ("a.jpg", "L", 3),
        ("a.jpg", "CMYK", 3),
        ("a.webp", "RGB", 6),
    ],
)
def test_every_common_kind_of_file_is_decoded_to_three_channels(
    tmp_path: Path, name: str, mode: str, tolerance: int
) -> None:
    write_image(tmp_path / name, mode=mode)
    picture = read_image(tmp_path / name, *WHOLE, at_least=WHOLE)
    with Image.open(tmp_path / name) as image:
        expected = np.asarray(image.convert("RGB")).astype(int)
    assert picture.pixels.shape == (48, 64, 3)
    assert np.abs(picture.pixels - expected).mean() <= tolerance


def test_sixteen_bits_keep_their_upper_half(tmp_path: Path) -> None:
    levels = noise(64, 48)[..., 0].astype(np.uint16) * 256 + 255
    Image.fromarray(levels).save(tmp_path / "deep.png")
    picture = read_image(tmp_path / "deep.png", *WHOLE, at_least=WHOLE)
    assert picture.pixels.dtype == np.uint8
    assert (picture.pixels == (levels >> 8)[..., None]).all()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photo_is_turned_to_the_annotated_size(tmp_path: Path, orientation: int) -> None:
    stored = write_image(tmp_path / "a.png", 64, 48, exif=exif(orientation))
    with Image.open(tmp_path / "a.png") as image:
        shown = np.asarray(ImageOps.exif_transpose(image))
    upright = read_image(tmp_path / "a.png", shown.shape[1], shown.shape[0], at_least=(30, 30))
    assert (upright.pixels == shown).all()
    as_stored = read_image(tmp_path / "a.png", 64, 48, at_least=(30, 30))
    assert (as_stored.pixels == (stored if orientation > 4 else shown)).all()
    neither = read_image(tmp_path / "a.png", 50, 50, at_least=(30, 30))
    assert (neither.pixels == shown).all()
    assert (neither.width, neither.height) == shown.shape[1::-1]


@given(
    size=st.tuples(st.integers(16, 300), st.integers(16, 300)),
    share=st.tuples(st.floats(0.05, 1.5), st.floats(0.05, 1.5)),
    suffix=st.sampled_from(["jpg", "png"]),
)
def test_an_image_is_read_smaller_but_never_smaller_than_wanted(
    tmp_path_factory: pytest.TempPathFactory, size: tuple[int, int], share: tuple[float, float], suffix: str
) -> None:
    path = tmp_path_factory.getbasetemp() / f"reduced.{suffix}"
    write_image(path, *size)
    wanted = (max(round(size[0] * share[0]), 1), max(round(size[1] * share[1]), 1))
    picture = read_image(path, *size, at_least=wanted)
    height, width, _ = picture.pixels.shape
    by = picture.reduction
    assert (width, height) == (-(-size[0] // by), -(-size[1] // by))
    assert by == 1 or (width >= wanted[0] and height >= wanted[1])
    assert min(size[0] / wanted[0], size[1] / wanted[1]) < 2 * by
    assert (picture.width, picture.height) == size


@pytest.mark.parametrize("name", ["a.jpg", "a.png"])
def test_a_reduced_image_shows_the_means_of_its_pixels(tmp_path: Path, name: str) -> None:
    write_image(tmp_path / name, 320, 240, quality=95)
    whole = read_image(tmp_path / name, 320, 240, at_least=(320, 240))
    for by in (2, 4, 8, 16):
        wanted = (320 // by, 240 // by)
        means = whole.pixels.astype(int).reshape(240 // by, by, 320 // by, by, 3).mean(axis=(1, 3))
        for picture in (read_image(tmp_path / name, 320, 240, at_least=wanted), whole.reduced(wanted)):
            assert picture.reduction == by
            assert np.abs(picture.pixels - means).mean() < 2


def test_a_last_row_or_column_that_fills_no_block_is_averaged_over_what_there_is(tmp_path: Path) -> None:
    pixels = np.repeat(np.arange(0, 250, 50, dtype=np.uint8)[:, None, None], 3, axis=2).repeat(7, axis=1)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    picture = read_image(tmp_path / "a.png", 7, 5, at_least=(3, 2))
    assert picture.pixels.shape == (3, 4, 3)
    assert picture.pixels[:, 0, 0].tolist() == [25, 125, 200]


@pytest.mark.parametrize("name", ["cut.jpg", "cut.png", "text.jpg", "empty.jpg"])
def test_a_file_that_is_no_whole_image_is_refused_by_name(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name.startswith("cut"):
        write_image(path, 256, 256)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    else:
        path.write_bytes(b"<!doctype html>" if name == "text.jpg" else b"")
    with pytest.raises(ImageError, match=name):
        read_image(path, 256, 256, at_least=(256, 256))


def test_a_scan_counts_files_that_differ_from_their_annotation(tmp_path: Path) -> None:
    names = ("good.jpg", "gone.jpg", "text.jpg", "small.jpg", "turned.jpg", "flat.jpg", "half.png", "broken.png")
    images = [image_row(number, name) for number, name in enumerate(names)]
    index, report = index_of(tmp_path, images)
    folder = tmp_path / "images" / "train"
    write_image(folder / "good.jpg", exif=exif(9))
    (folder / "text.jpg").write_text("no image")
    write_image(folder / "small.jpg", 32, 24)
    write_image(folder / "turned.jpg", 48, 64, exif=exif(6))
    write_image(folder / "flat.jpg", mode="L")
    write_image(folder / "half.png", exif=exif(3))
    write_image(folder / "broken.png")
    (folder / "broken.png").write_bytes((folder / "broken.png").read_bytes()[:20])
    left, report = checked(index, report, [scan_images(index)])
    told = {finding.kind: (len(finding.places), finding.places) for finding in report.findings}
    assert told == {
        "missing_files": (1, ("gone.jpg",)),
        "unreadable_files": (2, ("text.jpg", "broken.png")),
        "other_size": (1, ("small.jpg",)),
        "rotated": (2, ("turned.jpg", "half.png")),
        "greyscale": (1, ("flat.jpg",)),
    }
    assert [left.name(position) for position in range(len(left))] == [name for name in names if name != "gone.jpg"]
    assert (report.images, report.boxes) == (7, 7)


def test_a_scan_in_parts_finds_what_a_whole_one_does(shared: Path) -> None:
    root = shared / "data" / "coco-mini"
    index, report = read_coco(root / "annotations" / "instances_train.json", root / "images" / "train")
    parts = [scan_images(index, part, 3) for part in range(3)]
    _, whole = checked(index, report, [scan_images(index)])
    _, merged = checked(index, report, parts)
    assert merged == whole
    assert whole.count("missing_files") == whole.count("other_size") == whole.count("unreadable_files") == 0
    assert whole.count("greyscale") == sum(_is_grey(index, position) for position in range(len(index))) > 0


def _is_grey(index: CocoIndex, position: int) -> bool:
    with Image.open(index.path(position)) as image:
        return len(image.getbands()) == 1


def test_a_folder_without_any_of_the_images_is_an_error(tmp_path: Path) -> None:
    index, report = index_of(tmp_path, [image_row(1, "a.jpg"), image_row(2, "b.jpg")])
    with pytest.raises(UserError, match=r"none of the 2 annotated images is there, such as a.jpg"):
        checked(index, report, [scan_images(index)])
