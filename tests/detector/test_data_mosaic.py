"""Inputs of several images: each box lies where its pixels are, and what is drawn follows from the place alone."""

from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from coco_folder import box_row, image_row, noise, write_annotations
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from detector.batch import IMAGE, LABEL
from detector.config import Augment, Data, Optim, Train
from detector.data import geometry
from detector.data.coco import read_coco
from detector.data.geometry import GREY
from detector.data.image import Pixels
from detector.data.index import CocoIndex
from detector.data.loader import train_loader
from detector.data.mosaic import Composition, compose
from detector.data.philox import SAMPLE, generator
from detector.data.pictures import Pictures
from detector.data.sample import Sample, load_sample

# One image per channel: a bright rectangle on black, all of other sizes.
SIZES = ((90, 60), (50, 100), (64, 64))
RECTANGLES = ((20, 10, 50, 30), (5, 40, 30, 45), (16, 16, 32, 40))
PLAIN = Augment(hue=0, saturation=1, exposure=1, mosaic=1, scale=(0.5, 1.5))


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> CocoIndex:
    root = tmp_path_factory.mktemp("channels")
    images = [image_row(number, f"{number}.png", *size) for number, size in enumerate(SIZES)]
    boxes = [box_row(number, number, number, list(map(float, box))) for number, box in enumerate(RECTANGLES)]
    file = write_annotations(root, images, boxes, {0: "red", 1: "green", 2: "blue"})
    for channel, ((width, height), (left, top, across, down)) in enumerate(zip(SIZES, RECTANGLES, strict=True)):
        pixels = np.zeros((height, width, 3), np.uint8)
        pixels[top : top + down, left : left + across, channel] = 255
        cv2.imwrite(str(root / "images" / "train" / f"{channel}.png"), pixels[..., ::-1])
    return read_coco(file, root / "images" / "train")[0]


def drawn(index: CocoIndex, composition: Composition, size: int) -> tuple[Pixels, Sample]:
    out = np.zeros((3, size, size), np.uint8)
    return out, load_sample(Pictures(index, size, stretched=False), composition, out)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(seed=st.integers(0, 2**32), size=st.sampled_from([96, 160]))
def test_every_rectangle_of_a_mosaic_lies_in_its_box_and_every_box_on_its_rectangle(
    index: CocoIndex, seed: int, size: int
) -> None:
    composition = compose(PLAIN, seed % 3, 3, generator(seed, SAMPLE), closing=False)
    with pytest.MonkeyPatch.context() as patch:  # however little of a rectangle is seen, it keeps its box
        patch.setattr(geometry, "SMALLEST_PX", 1e-3)
        patch.setattr(geometry, "SMALLEST_SHARE", 0.0)
        pixels, sample = drawn(index, composition, size)
    slack = 1 + 1.5 * size / min(min(pair) for pair in SIZES)
    for channel in range(3):
        bright = pixels[channel] > 190
        loose, tight = (np.zeros((size, size), bool) for _ in range(2))
        for _, x, y, width, height, _ in sample.rows[sample.rows[:, 0] == channel]:
            for mask, by in ((loose, slack), (tight, -slack)):
                x0, x1 = x - width / 2 - by, x + width / 2 + by
                y0, y1 = y - height / 2 - by, y + height / 2 + by
                mask[max(round(y0), 0) : max(round(y1), 0), max(round(x0), 0) : max(round(x1), 0)] = True
        assert not (bright & ~loose).any()
        assert (bright | ~tight).all()


@given(seed=st.integers(0, 2**32), size=st.sampled_from([32, 96, 416]))
def test_the_four_regions_of_a_mosaic_fill_the_input_once(seed: int, size: int) -> None:
    composition = compose(PLAIN, 0, 10, generator(seed, SAMPLE), closing=False)
    covered = np.zeros((size, size), int)
    for part in composition.parts:
        left, top, right, bottom = part.change.region(size)
        covered[top:bottom, left:right] += 1
    assert len(composition.parts) == 4
    assert (covered == 1).all()


@given(seed=st.integers(0, 2**32))
def test_the_images_of_a_mosaic_meet_at_its_point_and_have_one_scale(seed: int) -> None:
    parts = compose(PLAIN, 0, 10, generator(seed, SAMPLE), closing=False).parts
    views = [part.change.view((100, 80), 200) for part in parts]
    corner = parts[0].change.corner
    assert corner is not None
    x, y = round(corner.x * 200), round(corner.y * 200)
    assert [(view.left, view.left + view.width)[place % 2 == 0] for place, view in enumerate(views)] == [x] * 4
    assert [(view.top, view.top + view.height)[place < 2] for place, view in enumerate(views)] == [y] * 4
    assert len({part.change.warp.scale for part in parts if part.change.warp}) == 1


def test_mixup_is_the_mean_of_two_inputs_with_the_boxes_of_both(index: CocoIndex) -> None:
    for seed in range(5):
        both = compose(Augment(mixup=1, mosaic=0.5), 0, 3, generator(seed, SAMPLE), closing=False)
        assert both.through is not None
        pixels, sample = drawn(index, both, 96)
        one, first = drawn(index, both._replace(through=None), 96)
        other, second = drawn(index, Composition((both.through,)), 96)
        assert np.abs(pixels - (one.astype(float) + other) / 2).max() <= 0.5
        assert (sample.rows == np.concatenate([first.rows, second.rows])).all()
        assert (sample.placement, sample.size) == (first.placement, first.size)


def test_inputs_are_composed_as_often_as_asked_and_of_any_image() -> None:
    augment = Augment(mosaic=0.3, mixup=0.6)
    drawn = [compose(augment, 4, 7, generator(0, SAMPLE, (place, 1)), closing=False) for place in range(2000)]
    assert 0.26 < np.mean([len(each.parts) == 4 for each in drawn]) < 0.34
    assert 0.56 < np.mean([each.through is not None for each in drawn]) < 0.64
    assert {each.parts[0].position for each in drawn} == {4}
    assert {part.position for each in drawn for part in each.parts[1:]} == set(range(7))
    assert {each.through.position for each in drawn if each.through} == set(range(7))


def test_a_file_that_cannot_be_read_leaves_grey_in_its_corner_and_the_others_as_they_are(tmp_path: Path) -> None:
    root = tmp_path
    images = [image_row(number, f"{number}.png") for number in range(2)]
    boxes = [box_row(number, number, number, [0.0, 0.0, 64.0, 48.0]) for number in range(2)]
    file = write_annotations(root, images, boxes, {0: "good", 1: "bad"})
    cv2.imwrite(str(root / "images/train/0.png"), noise(64, 48))
    index, _ = read_coco(file, root / "images/train")
    composition = compose(PLAIN, 0, 1, generator(5, SAMPLE), closing=False)
    whole, _ = drawn(index, composition, 96)
    bad = composition.parts[2]._replace(position=1)
    pixels, sample = drawn(index, Composition((*composition.parts[:2], bad, composition.parts[3])), 96)
    left, top, right, bottom = bad.change.region(96)
    assert min(right - left, bottom - top) > 10
    assert (pixels[:, top:bottom, left:right] == GREY).all()
    whole[:, top:bottom, left:right] = GREY
    assert (pixels == whole).all()
    assert sample.bad == (1,)
    assert 1 not in sample.rows[:, 0]


def test_the_closing_phase_makes_the_batches_of_a_run_without_mosaic_and_mixup(index: CocoIndex) -> None:
    def batches(**augment: float) -> list[torch.Tensor]:
        settings = Augment(multi_scale=(64, 96), multi_scale_every=1, close_epochs=2, **augment)  # type: ignore[arg-type]
        config = Train(epochs=5, data=Data(image_size=64), augment=settings, optim=Optim(batch_size=3))
        loader = train_loader(index, config, rank=0, world=1, start_step=0, workers=0, gpu=False)
        return [batch.images for batch in islice(loader, 5)]

    composed, alone = batches(mosaic=1, mixup=1), batches()
    same = [torch.equal(one, other) for one, other in zip(composed, alone, strict=True)]
    assert same == [False, False, False, True, True]


def test_a_batch_counts_the_boxes_of_all_images_of_an_input_as_its_own(index: CocoIndex) -> None:
    config = Train(epochs=3, data=Data(image_size=96), augment=PLAIN, optim=Optim(batch_size=3))
    loader = train_loader(index, config, rank=0, world=1, start_step=0, workers=0, gpu=False)
    for batch in loader:
        owners = batch.targets[:, IMAGE].long()
        assert owners.tolist() == sorted(owners.tolist())
        assert set(owners.tolist()) == {0, 1, 2}
        assert (batch.targets[:, LABEL] != batch.image_ids[owners]).any()
