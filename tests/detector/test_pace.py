"""How fast a run goes, on one line for people and in the records."""

import time

import msgspec
import pytest

from detector.journal import line
from detector.pace import Pace
from detector.records import Metrics

ROW = Metrics(
    t=0.0, epoch=3, epochs=90, step=4100, steps=164250, loss=5.25, losses={"box": 2.0, "class": 3.25}, lr=1e-3,
    images_per_s=1612.4, data_wait=0.031, image_size=416, mfu=0.402, skipped=2, bad_images=1,
    gpu_mem_gib=21.5, eta_s=3725,
)  # fmt: skip


def test_one_line_has_rate_utilization_wait_and_what_was_skipped() -> None:
    assert line(ROW) == (
        "epoch 3/90  step 4100/164250  loss 5.25 (box 2 class 3.25)  lr 0.001  1612 img/s  data wait 3%  mfu 40%  "
        "gpu 21.5 GiB  skipped 2  bad images 1  eta 1:02:05"
    )


def test_a_line_without_a_finite_loss_or_a_gpu_says_no_more_than_it_knows() -> None:
    row = msgspec.structs.replace(ROW, loss=None, losses={}, mfu=None, gpu_mem_gib=None, bad_images=0, eta_s=None)
    assert line(row) == ("epoch 3/90  step 4100/164250  loss -  lr 0.001  1612 img/s  data wait 3%  skipped 2")


def test_a_stretch_counts_images_and_the_share_of_time_waited_for_them() -> None:
    pace = Pace()
    pace.reset()
    started = time.monotonic()
    for _ in range(2):
        time.sleep(0.02)
        pace.count(8, waited_s=0.01)
    rate, wait = pace.report()
    passed_s = time.monotonic() - started
    assert 16 / passed_s <= rate <= 16 / 0.04
    assert wait == pytest.approx(0.02 * rate / 16)
    # What is left: so many steps at the pace of this stretch, and so many evaluations.
    pace.evaluation_s = 3.0
    assert pace.left_s(10, 2) == pytest.approx(10 * 8 / rate + 6.0)
