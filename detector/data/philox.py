"""Random bits by place instead of by history. No state, no I/O.

Philox is counter-based: the seed and a purpose are its key, and the place in the run its counter, so that the bits of
any place are at hand without those before it (Salmon et al., Parallel Random Numbers: As Easy as 1, 2, 3, SC 2011).
"""

import numpy as np
from numpy.random import Generator, Philox

# What random bits are for; no two purposes share a stream.
ORDER, SIZE, SAMPLE, SOURCES, SCENE = range(5)


def generator(seed: int, purpose: int, place: tuple[int, int] = (0, 0)) -> Generator:
    """The random bits of one purpose at one place, such as (position, epoch)."""
    key = np.array([seed % 2**64, purpose], dtype=np.uint64)
    return Generator(Philox(key=key, counter=np.array([0, 0, *place], dtype=np.uint64)))
