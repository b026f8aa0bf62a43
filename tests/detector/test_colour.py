"""Colours changed for a batch on the device: the same as in the loader, but for the rounding of bytes."""

from itertools import islice
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from detector.batch import AnyBatch
from detector.colour import recoloured
from detector.config import Augment, Data, Eval, Optim, Train
from detector.data.augment import UNCHANGED, Colour, recolour
from detector.data.class_batches import class_train_loader
from detector.data.folder import read_folders
from detector.data.loader import train_loader
from detector.data.read import read_split
from detector.transfer import Transfer

# There is no GPU here to pin memory for.
pytestmark = pytest.mark.filterwarnings("ignore:'pin_memory' argument is set as true")

TRANSFER = Transfer(torch.device("cpu"))


@given(
    seed=st.integers(0, 2**32 - 1),
    colour=st.builds(Colour, st.floats(-0.5, 0.5), st.floats(0.3, 3.0), st.floats(0.3, 3.0)),
)
def test_pixels_of_every_colour_become_what_they_become_as_bytes(seed: int, colour: Colour) -> None:
    random = np.random.default_rng(seed)
    greys = np.repeat(random.integers(0, 256, (8, 32, 1), dtype=np.uint8), 3, axis=2)
    pixels = np.concatenate((random.integers(0, 256, (24, 32, 3), dtype=np.uint8), greys))

    seen = recoloured(as_images(pixels), torch.tensor([colour]))

    assert seen.shape == (1, 3, 32, 32)
    assert seen.is_contiguous(memory_format=torch.channels_last)
    assert_alike(seen, as_images(recolour(pixels, colour)), at_most=4 + 6 * max(1.0, colour.saturation))


def test_unchanged_is_unchanged() -> None:
    images = torch.rand(2, 3, 16, 16)
    torch.testing.assert_close(recoloured(images, torch.tensor([UNCHANGED, UNCHANGED])), images)


def as_images(pixels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255


def assert_alike(seen: torch.Tensor, expected: torch.Tensor, at_most: float) -> None:
    """In levels of a byte: nowhere further apart than its rounding in HSV can carry, and close on average."""
    apart = (seen - expected).abs() * 255
    assert apart.max() <= at_most
    assert apart.mean() < 1.5


@pytest.mark.parametrize("mosaic", [0.0, 0.5])
def test_batches_for_a_gpu_look_like_those_for_the_cpu_and_have_the_same_boxes(shared: Path, mosaic: float) -> None:
    augment = Augment(mosaic=mosaic, close_epochs=0, multi_scale=(64, 96))
    train = settings(shared / "data" / "coco-mini", augment)
    index = read_split(train.data, "train").index

    def batches(gpu: bool) -> list[AnyBatch]:
        return list(islice(train_loader(index, train, rank=0, world=1, start_step=0, workers=0, gpu=gpu), 3))

    assert_same_but_for_rounding(batches(gpu=False), batches(gpu=True), left_alone=mosaic > 0)


def test_batches_to_classify_look_alike_too(shared: Path) -> None:
    train = settings(shared / "data" / "tiny-imagenet-20.tar", Augment())
    train = msgspec.structs.replace(train, task="classify")
    index, _ = read_folders(train.data)

    def batches(gpu: bool) -> list[AnyBatch]:
        return list(islice(class_train_loader(index, train, rank=0, world=1, start_step=0, workers=0, gpu=gpu), 3))

    assert_same_but_for_rounding(batches(gpu=False), batches(gpu=True), left_alone=False)


def settings(root: Path, augment: Augment) -> Train:
    data, batches = Data(root=str(root), image_size=64), {"batch_size": 6}
    return Train(epochs=2, data=data, augment=augment, optim=Optim(**batches), eval=Eval(**batches))


def assert_same_but_for_rounding(ready: list[AnyBatch], left: list[AnyBatch], *, left_alone: bool) -> None:
    """`left_alone`: some inputs are made of several images, each in a colour of its own."""
    plain = torch.tensor(UNCHANGED)
    for done, open_ in zip(ready, left, strict=True):
        assert done.colours is None
        assert open_.colours is not None
        assert torch.equal(done.targets, open_.targets)
        assert torch.equal(done.image_ids, open_.image_ids)
        assert (open_.colours != plain).any()
        assert (open_.colours == plain).all(1).any() == left_alone
        assert not torch.equal(done.images, open_.images)
        assert_alike(TRANSFER.images(open_), TRANSFER.images(done), at_most=20)
