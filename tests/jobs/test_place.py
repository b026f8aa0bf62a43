"""Where an attempt runs."""

from pathlib import Path

import pytest

from jobs import place


def test_an_attempt_finds_nothing_of_a_killed_one_of_the_same_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    where = place.Place(executor="slurm", job_id="7", key="7.0", node=0, nodes=("n1",), host="n1")
    (place.scratch(where) / "stop").write_text("preempted")

    assert list(place.scratch(where).iterdir()) == []
