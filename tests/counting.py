"""What the counting script of `theirs/` leaves behind, and what it must be."""

import json
from pathlib import Path


def counted(run: Path, rank: int = 0) -> list[int]:
    """Where a rank stands in a run directory: step and value."""
    place: list[int] = json.loads((run / f"count_{rank}.json").read_text())
    return place


def count(steps: int, seed: int = 0) -> list[int]:
    """What a count ends with that lost no step and made none twice."""
    value = seed
    for step in range(1, steps + 1):
        value = (31 * value + step) % 1_000_003
    return [steps, value]
