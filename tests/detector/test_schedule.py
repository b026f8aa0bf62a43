"""The learning rate is darknet's and torch's own schedules, as a function of the step alone."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler, MultiStepLR

from detector.config import Optim, Schedule
from detector.schedule import learning_rate

LR = 0.25


def rates(schedule: Schedule, steps: int) -> list[float]:
    return [learning_rate(Optim(lr=LR), schedule, step, steps) for step in range(steps)]


def torchs(scheduler: type[LRScheduler], steps: int, **settings: object) -> list[float]:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=LR)
    schedule, found = scheduler(optimizer, **settings), []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return found


@given(burn_in=st.integers(1, 30), rest=st.integers(1, 40), final_ratio=st.floats(0, 1))
def test_the_cosine_begins_behind_the_burn_in_and_is_torchs(burn_in: int, rest: int, final_ratio: float) -> None:
    schedule = Schedule(name="cosine", burn_in_steps=burn_in, burn_in_power=1.0, final_ratio=final_ratio)
    found = rates(schedule, burn_in + rest)
    assert found[:burn_in] == pytest.approx([LR * (step + 1) / burn_in for step in range(burn_in)])
    assert found[burn_in:] == pytest.approx(torchs(CosineAnnealingLR, rest, T_max=rest, eta_min=LR * final_ratio))


@given(steps=st.integers(1, 60), marks=st.lists(st.floats(0.05, 1), min_size=0, max_size=3))
def test_the_steps_are_torchs_at_their_shares_of_the_run(steps: int, marks: list[float]) -> None:
    schedule = Schedule(name="step", burn_in_steps=0, decay_at=tuple(marks), decay_factor=0.5)
    milestones = [next(step for step in range(steps + 1) if step >= mark * steps) for mark in marks]
    assert rates(schedule, steps) == pytest.approx(torchs(MultiStepLR, steps, milestones=milestones, gamma=0.5))


def test_darknets_burn_in_rises_with_the_fourth_power_and_then_stays() -> None:
    """`get_current_rate` of network.c, whose batch numbers count from 1."""
    found = rates(Schedule(name="constant", burn_in_steps=1000), 1500)
    assert found[499] == pytest.approx(LR / 16)
    assert found[999:] == [LR] * 501
    assert found == sorted(found)
