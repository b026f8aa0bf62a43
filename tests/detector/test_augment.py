"""Pixels and boxes go through the same change, and colours through darknet's."""

import colorsys
from typing import Any

import numpy as np
import pytest
from coco_folder import noise
from hypothesis import assume, given
from hypothesis import strategies as st

from detector.config import Augment
from detector.data.augment import UNCHANGED, Colour, Warp, draw_colour, draw_warp, recolour, recoloured_grey, view_of
from detector.data.geometry import (
    SMALLEST_PX,
    SMALLEST_SHARE,
    Placement,
    Rect,
    View,
    fit,
    letterbox,
    paint,
    place_boxes,
    placement,
    seen,
    whole,
)
from detector.data.image import Picture
from detector.data.index import Truth
from detector.data.philox import SAMPLE, generator

SIDE = st.integers(8, 400)
SIZE = st.sampled_from([64, 96, 224])
UNIT = st.floats(0, 1)
STRETCH = st.floats(0.7, 1.3)
WARP = st.builds(Warp, STRETCH, STRETCH, UNIT, UNIT, st.booleans(), st.just(1.0))
SCALED = st.builds(Warp, STRETCH, STRETCH, UNIT, UNIT, st.booleans(), st.floats(0.2, 2.5))


def truth(*boxes: Any) -> Truth:
    count = len(boxes)
    labels = np.arange(count, dtype=np.int32)
    return Truth(np.array(boxes, np.float32).reshape(-1, 4), labels, np.zeros(count, dtype=bool))


def corners(row: np.ndarray) -> np.ndarray:
    """Left, top, right, bottom of a row of `place_boxes`."""
    return np.array([row[1] - row[3] / 2, row[2] - row[4] / 2, row[1] + row[3] / 2, row[2] + row[4] / 2])


def put(pixels: np.ndarray, view: View, region: Rect, out: np.ndarray) -> Placement | None:
    """Draws a view of an image on what a region shows of it; None where that is nothing."""
    rows, columns, _ = pixels.shape
    shown = seen(view, region, columns, rows)
    if shown is None:
        return None
    paint(fit(Picture(pixels, 1, columns, rows), shown), shown.on, out)
    return placement(shown)


@given(
    width=SIDE, height=SIDE, size=SIZE, warp=SCALED, ends=st.tuples(UNIT, UNIT, UNIT, UNIT), cut=st.tuples(UNIT, UNIT)
)
def test_a_painted_rectangle_lands_where_its_box_says(
    width: int,
    height: int,
    size: int,
    warp: Warp,
    ends: tuple[float, float, float, float],
    cut: tuple[float, float],
) -> None:
    (x0, x1), (y0, y1) = sorted(round(at * width) for at in ends[:2]), sorted(round(at * height) for at in ends[2:])
    assume(min(x1 - x0, y1 - y0) >= 4)
    region = Rect(round(cut[0] * size / 2), 0, size, size - round(cut[1] * size / 2))
    pixels = np.zeros((height, width, 3), dtype=np.uint8)
    pixels[y0:y1, x0:x1] = 255
    out = np.zeros((3, size, size), dtype=np.uint8)
    at = put(pixels, view_of(warp, width, height, size), region, out)
    assume(at is not None)
    assert at is not None
    boxes = place_boxes(truth([x0, y0, x1 - x0, y1 - y0]), at, region)
    assume(len(boxes))
    assume((boxes[0, 3:5] >= 3).all())
    rows, columns = np.nonzero(out[0] > 127)
    painted = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
    coarseness = max(1.0, abs(at.scale_x) / 2, at.scale_y / 2, 0.75 / abs(at.scale_x), 0.75 / at.scale_y)
    assert np.abs(corners(boxes[0]) - painted).max() <= coarseness


@given(width=SIDE, height=SIDE, size=SIZE, warp=SCALED, left=UNIT, top=UNIT)
def test_nothing_is_painted_outside_a_region(
    width: int, height: int, size: int, warp: Warp, left: float, top: float
) -> None:
    region = Rect(round(left * size), round(top * size), size, size)
    out = np.zeros((3, size, size), dtype=np.uint8)
    at = put(np.full((height, width, 3), 255, np.uint8), view_of(warp, width, height, size), region, out)
    inside = out[:, region.top :, region.left :]
    assert inside.sum() == out.sum()
    assert (at is None) == (inside.max(initial=0) == 0)


@given(width=SIDE, height=SIDE, size=SIZE, warp=SCALED, left=UNIT, top=UNIT)
def test_a_region_shows_what_the_whole_input_shows_there(
    width: int, height: int, size: int, warp: Warp, left: float, top: float
) -> None:
    view = view_of(warp, width, height, size)
    region = Rect(round(left * size), round(top * size), size, size)
    out = np.zeros((2, 3, size, size), dtype=np.uint8)
    whole_at = put(noise(width, height), view, whole(size), out[0])
    part_at = put(noise(width, height), view, region, out[1])
    assume(whole_at is not None and part_at is not None)
    assert whole_at is not None
    assert part_at is not None
    corner = np.array([width, height]) / 2
    middles = [np.array(at[:2]) * corner + np.array(at[2:]) for at in (whole_at, part_at)]
    pixel = np.abs(np.array([whole_at[:2], part_at[:2]])).max(axis=0)
    assume((np.array([part_at.scale_x, part_at.scale_y]) / np.array(whole_at[:2]) < 1.5).all())
    inside = (middles[0] > region[:2]).all() and (middles[0] < region[2:]).all()
    assert not inside or (np.abs(middles[0] - middles[1]) <= 2 * pixel + 1e-6).all()


@given(width=SIDE, height=SIDE, size=SIZE, warp=WARP)
def test_mirroring_twice_is_no_change(width: int, height: int, size: int, warp: Warp) -> None:
    view = view_of(warp._replace(mirrored=False), width, height, size)
    assume(min(view.width, view.height) >= 4)
    plain, mirrored = (np.zeros((3, size, size), dtype=np.uint8) for _ in range(2))
    at = put(noise(width, height), view, whole(size), plain)
    at_mirrored = put(noise(width, height), view._replace(mirrored=True), whole(size), mirrored)
    assert at is not None
    assert at_mirrored is not None
    there = slice(view.left, view.left + view.width)
    assert (mirrored[..., there][..., ::-1] == plain[..., there]).all()
    box = [width / 4, height / 4, width / 2, height / 3]
    (one,) = place_boxes(truth(box), at, whole(size))
    (back,) = place_boxes(truth(box), at_mirrored, whole(size))
    back[1] = 2 * view.left + view.width - back[1]
    assert np.allclose(back, one, atol=1e-3)


def test_mirroring_swaps_sides_and_not_colours() -> None:
    pixels = np.zeros((8, 8, 3), dtype=np.uint8)
    pixels[:, :2] = (200, 100, 50)
    mirrored = np.zeros((3, 8, 8), dtype=np.uint8)
    put(pixels, View(0, 0, 8, 8, mirrored=True), whole(8), mirrored)
    assert mirrored[:, 0, 7].tolist() == [200, 100, 50]
    assert mirrored[:, 0, 0].tolist() == [0, 0, 0]


@given(width=st.integers(1, 5000), height=st.integers(1, 5000), size=SIZE)
def test_a_letterbox_is_centred_keeps_the_aspect_and_maps_back(width: int, height: int, size: int) -> None:
    view = letterbox(width, height, size)
    assert max(view.width, view.height) == size
    assert abs(view.left - (size - view.width - view.left)) <= 1
    assert abs(view.top - (size - view.height - view.top)) <= 1
    scale = size / max(width, height)
    assert abs(view.width - max(width * scale, 1)) <= 0.5
    assert abs(view.height - max(height * scale, 1)) <= 0.5
    shown = seen(view, whole(size), width, height)
    assert shown is not None
    at = placement(shown)
    points = np.array([[0, 0], [width, height], [width / 3, height / 7]])
    scales, offsets = np.array(at[:2]), np.array(at[2:])
    there = points * scales + offsets
    assert there.min() >= 0
    assert there.max() <= size + 1e-9
    assert np.allclose((there - offsets) / scales, points)


@given(width=SIDE, height=SIDE, size=SIZE, warp=SCALED)
def test_a_view_fills_the_scaled_input_one_way_and_leaves_no_more_space_than_it_must(
    width: int, height: int, size: int, warp: Warp
) -> None:
    view = view_of(warp, width, height, size)
    aspect = width * warp.stretch_x / (height * warp.stretch_y)
    longest = size * warp.scale
    assert abs(view.width - max(longest * min(aspect, 1), 1)) <= 0.5
    assert abs(view.height - max(longest / max(aspect, 1), 1)) <= 0.5
    for start, extent in ((view.left, view.width), (view.top, view.height)):
        assert min(0, size - extent) <= start <= max(0, size - extent)


def test_boxes_are_clipped_and_dropped_when_too_little_to_see_is_left() -> None:
    boxes = truth([-10, 10, 30, 20], [0, 0, 0.9, 40], [63.5, 0, 20, 20], [5, 5, 1, 1], [-95, 0, 100, 20])
    rows = place_boxes(boxes, Placement(1, 1, 0, 0), whole(64))
    assert rows[:, 0].tolist() == [0, 3]
    assert rows[0, 1:5].tolist() == [10, 20, 20, 20]
    assert (rows[:, 3:5] >= SMALLEST_PX).all()
    assert 5 / 100 < SMALLEST_SHARE <= 20 / 30


@pytest.mark.parametrize("seed", range(6))
def test_colours_change_as_in_floating_point_hsv(seed: int) -> None:
    colour = draw_colour(Augment(), generator(seed, SAMPLE))
    pixels = np.random.default_rng(seed).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    expected = np.empty(pixels.shape)
    for at in np.ndindex(12, 12):
        hue, saturation, value = colorsys.rgb_to_hsv(*(pixels[at] / 255))
        changed = ((hue + colour.hue) % 1, min(saturation * colour.saturation, 1), min(value * colour.exposure, 1))
        expected[at] = np.array(colorsys.hsv_to_rgb(*changed)) * 255
    difference = np.abs(recolour(pixels, colour) - expected)
    assert difference.mean() < 2
    assert difference.max() < 8


def test_colours_hardly_changed_stay_within_rounding() -> None:
    pixels = noise(64, 48)
    assert (recolour(pixels, UNCHANGED) == pixels).all()
    assert np.abs(recolour(pixels, Colour(0.0, 1.0, 1.0001)).astype(int) - pixels).max() <= 4


@given(colour=st.builds(Colour, st.floats(-0.5, 0.5), st.floats(0.5, 2), st.floats(0.5, 2)), grey=st.integers(0, 255))
def test_grey_stays_grey_and_takes_the_exposure(colour: Colour, grey: int) -> None:
    changed = recolour(np.full((2, 2, 3), grey, dtype=np.uint8), colour)
    assert np.ptp(changed) == 0
    assert abs(int(changed[0, 0, 0]) - recoloured_grey(grey, colour)) <= 1
    assert abs(recoloured_grey(grey, colour) - min(grey * colour.exposure, 255)) <= 0.5


def test_half_a_turn_of_hue_and_another_lead_back() -> None:
    pixels = noise(64, 48)
    for turn in (0.5, -0.5):
        once = recolour(pixels, Colour(turn, 1, 1))
        assert np.abs(once.astype(int) - pixels).mean() > 5
        assert np.abs(recolour(once, Colour(turn, 1, 1)).astype(int) - pixels).mean() < 2


def test_draws_stay_in_their_ranges_and_use_all_of_them() -> None:
    augment = Augment(flip=0.3, jitter=0.2, hue=0.1, saturation=1.5, exposure=2.0, scale=(0.5, 1.5))
    random = generator(0, SAMPLE)
    warps = [draw_warp(augment, random) for _ in range(2000)]
    colours = [draw_colour(augment, random) for _ in range(2000)]
    mirrored = np.mean([warp.mirrored for warp in warps])
    assert 0.26 < mirrored < 0.34
    for values, low, high in (
        ([warp.stretch_x for warp in warps], 0.8, 1.2),
        ([warp.stretch_y for warp in warps], 0.8, 1.2),
        ([warp.place_x for warp in warps], 0, 1),
        ([warp.place_y for warp in warps], 0, 1),
        ([warp.scale for warp in warps], 0.5, 1.5),
        ([colour.hue for colour in colours], -0.1, 0.1),
        ([colour.saturation for colour in colours], 1 / 1.5, 1.5),
        ([colour.exposure for colour in colours], 0.5, 2),
    ):
        assert low <= min(values) < low + 0.05 * (high - low)
        assert high - 0.05 * (high - low) < max(values) <= high
    raised = np.mean([colour.saturation > 1 for colour in colours])
    assert 0.46 < raised < 0.54


def test_limits_without_effect_draw_no_change() -> None:
    random = generator(0, SAMPLE)
    off = Augment(flip=0, jitter=0, hue=0, saturation=1, exposure=1)
    assert all(draw_colour(off, random) == UNCHANGED for _ in range(20))
    warps = [draw_warp(off, random) for _ in range(200)]
    assert {(warp.stretch_x, warp.stretch_y, warp.mirrored, warp.scale) for warp in warps} == {(1.0, 1.0, False, 1.0)}


def test_the_same_place_draws_the_same_and_another_another() -> None:
    draws = [
        draw_warp(Augment(), generator(seed, SAMPLE, place)) for seed in (1, 2**64 - 1) for place in ((0, 1), (1, 0))
    ]
    again = [
        draw_warp(Augment(), generator(seed, SAMPLE, place)) for seed in (1, 2**64 - 1) for place in ((0, 1), (1, 0))
    ]
    assert draws == again
    assert len(set(draws)) == 4
