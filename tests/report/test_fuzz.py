"""Damaged logs raise nothing and claim nothing that they do not hold; `fuzz_logs.py` does a million lines."""

import random
from pathlib import Path

import pytest
from fuzz_logs import fuzz
from report_logs import block, damaged, invented, read_text, values

from detrun.readers.evaluation import Evaluation, Log


@pytest.mark.parametrize("seed", [11, 12])
def test_damaged_real_logs(shared: Path, tmp_path: Path, seed: int) -> None:
    sources = [path for path in sorted((shared / "logs").rglob("*")) if path.is_file() and path.name != "expected.json"]
    done, evaluations = fuzz(sources, 30_000, seed, tmp_path)
    assert done >= 30_000
    assert evaluations > 1_000


def test_the_search_for_inventions_finds_one(tmp_path: Path) -> None:
    text = f"Epoch: [3]\n{block(values(0.2))}"
    logs = read_text(tmp_path, text)
    assert invented(logs, text) == []
    forged = Evaluation(iou_type="bbox", metrics={"AP": 0.123}, epoch=77)
    assert invented([Log(evaluations=(forged,))], text) == [0.123, 77]


def test_damage_is_done() -> None:
    page = block(values(0.2)).encode().split(b"\n") * 20
    mutated = damaged(random.Random(0), page, page)
    assert sum(one != two for one, two in zip(page, mutated, strict=False)) > len(page) / 4
