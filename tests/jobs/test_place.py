"""Where an attempt runs."""

from pathlib import Path

import pytest

from jobs import place


def test_an_attempt_shares_its_folder_with_none_of_the_same_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a killed one, whose stop would stop this one, nor a living one of another cluster on the host."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    where = place.Place(executor="slurm", job_id="7", key="7.0", node=0, nodes=("n1",), host="n1")
    before = place.scratch(where)
    (before / "stop").write_text("preempted")

    assert list(place.scratch(where).iterdir()) == []
    assert [path.name for path in before.iterdir()] == ["stop"]
