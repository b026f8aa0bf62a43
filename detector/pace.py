"""How fast a run goes: images per second, share of time spent waiting for data, and what is left."""

import time


class Pace:
    """Time since the last report, and the mean step and evaluation so far. Clocks are monotonic."""

    def __init__(self) -> None:
        self.step_s: float | None = None
        self.evaluation_s = 0.0
        self.reset()

    def reset(self) -> None:
        """Begin a new stretch; what lies between stretches, such as evaluation, is not counted."""
        self.since = time.monotonic()
        self.waited_s = 0.0
        self.images = 0
        self.steps = 0

    def count(self, images: int, waited_s: float) -> None:
        """One optimizer step was made over so many images of all ranks."""
        self.images += images
        self.waited_s += waited_s
        self.steps += 1

    def report(self) -> tuple[float, float]:
        """Images per second and the share of time waited for data in this stretch; begins a new one."""
        passed = max(time.monotonic() - self.since, 1e-9)
        mean_s = passed / max(self.steps, 1)
        # The first stretch warms up; later ones weigh half, so that the estimate follows a changing machine.
        self.step_s = mean_s if self.step_s is None else 0.5 * (self.step_s + mean_s)
        rates = self.images / passed, min(1.0, self.waited_s / passed)
        self.reset()
        return rates

    def left_s(self, steps: int, evaluations: int) -> float | None:
        """Seconds until the run ends, `None` before the first report."""
        return None if self.step_s is None else steps * self.step_s + evaluations * self.evaluation_s
