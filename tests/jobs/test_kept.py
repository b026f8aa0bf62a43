"""What is kept of settled runs, so that a slow file system is asked as little as can be."""

from pathlib import Path

from test_state import FRESH, make_run

from jobs.kept import gather_all


def test_of_runs_that_have_ended_only_two_files_are_looked_at_and_none_is_read(tmp_path: Path) -> None:
    ended = [make_run(tmp_path / "runs", (90, "start", 1), (40, "done", 1))]
    before = gather_all(ended)
    for run in ended:
        run.run_json.write_text("not read")
        run.metrics.write_text("not read")

    assert gather_all(ended) == before


def test_a_run_that_goes_on_or_is_tried_again_is_read_anew(tmp_path: Path) -> None:
    run = make_run(tmp_path / "runs", (90, "start", 1))
    running = gather_all([run])[0]
    done = make_run(tmp_path / "runs", (90, "start", 1), (40, "done", 1))
    ended = gather_all([done])[0]
    again = make_run(tmp_path / "runs", (90, "start", 1), (40, "done", 1), (FRESH, "start", 2))

    assert [running.last, ended.last, gather_all([again])[0].last] == ["start", "done", "start"]


def test_what_was_kept_may_break_at_any_time(tmp_path: Path) -> None:
    run = make_run(tmp_path / "runs", (90, "start", 1), (40, "done", 1))
    before = gather_all([run])
    (tmp_path / "runs" / ".cache" / "facts-2.msgpack").write_bytes(b"\xff broken")

    assert gather_all([run]) == before
