"""The learning rate as a pure function of the step, so that resuming needs no state.

Burn-in as in darknet's `get_current_rate` (network.c), `steps` policy and cosine annealing.
"""

import math

from detector.config import Optim, Schedule


def learning_rate(optim: Optim, schedule: Schedule, step: int, steps: int) -> float:
    """The rate for optimizer step `step` (from 0) of `steps`."""
    if step < schedule.burn_in_steps:
        return float(optim.lr * ((step + 1) / schedule.burn_in_steps) ** schedule.burn_in_power)
    if schedule.name == "constant":
        return optim.lr
    if schedule.name == "step":
        passed = sum(step >= fraction * steps for fraction in schedule.decay_at)
        return float(optim.lr * schedule.decay_factor**passed)
    progress = (step - schedule.burn_in_steps) / max(1, steps - schedule.burn_in_steps)
    half_wave = 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
    return optim.lr * (schedule.final_ratio + (1 - schedule.final_ratio) * half_wave)
