"""How this process keeps the memory that it has. Changes the C library's settings and nothing else."""

import ctypes

# mallopt(3): parameters, and the most that is taken for the second.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3
_LARGEST_THRESHOLD = 32 << 20
_KEPT = 1 << 30
_AHEAD = 96 << 20


def keep_freed_memory() -> None:
    """Have glibc keep what is freed, up to a GiB, instead of giving it back to the kernel.

    A step on a CPU frees and takes the same hundreds of MiB as the one before, and each page that comes back from the
    kernel costs a fault: a sixth of the time of yolov3-tiny. Other C libraries are left as they are.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return
    for parameter, value in (
        (_M_MMAP_THRESHOLD, _LARGEST_THRESHOLD),
        (_M_TRIM_THRESHOLD, _KEPT),
        (_M_TOP_PAD, _AHEAD),
    ):
        mallopt(parameter, value)
