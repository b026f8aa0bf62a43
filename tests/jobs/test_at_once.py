"""Looks at many files: in order, and beside one another where each of them waits."""

import threading
import time

import pytest

from jobs.at_once import mapped


@pytest.mark.parametrize("wait_s", [0.0, 0.002])
@pytest.mark.parametrize("items", [0, 1, 32, 33, 500])
def test_what_is_found_is_in_the_order_of_the_items(items: int, wait_s: float) -> None:
    def look(item: int) -> str:
        time.sleep(wait_s)
        return str(item)

    assert mapped(look, range(items)) == [str(item) for item in range(items)]


def test_slow_looks_wait_beside_one_another_and_quick_ones_stay_in_one_thread() -> None:
    threads: set[int] = set()

    def look(wait_s: float) -> None:
        threads.add(threading.get_ident())
        if wait_s:
            time.sleep(wait_s)

    mapped(look, [0.0] * 300)
    quick = len(threads)
    mapped(look, [0.005] * 300)

    assert quick == 1
    assert len(threads) > 8


def test_what_a_look_raises_is_raised() -> None:
    def look(item: int) -> None:
        time.sleep(0.001)
        if item == 100:
            raise ValueError("no such file")

    with pytest.raises(ValueError, match="no such file"):
        mapped(look, range(200))
