"""Run directories are read as they are, with whatever is missing or damaged."""

from pathlib import Path

import msgspec
import pytest
from report_logs import block, values
from report_runs import EPOCH_S, make_run, metrics_of

from detector.records import METRICS
from detrun.readers.foreign_run import with_logs
from detrun.readers.run_dir import is_run, read_record, read_run, read_setting


def test_a_run_gives_its_evaluations_with_epoch_step_time_and_images(tmp_path: Path) -> None:
    reading = read_run(make_run(tmp_path, "digits-7f3a1c", [0.2, 0.25], settings={"optim": {"batch_size": 8}}))
    assert [each.epoch for each in reading.evaluations] == [1, 2]
    assert [each.metrics for each in reading.evaluations] == [metrics_of(0.2), metrics_of(0.25)]
    assert [each.seconds for each in reading.evaluations] == [EPOCH_S, 2 * EPOCH_S]
    assert [each.images for each in reading.evaluations] == [800, 1600]
    assert (reading.recipe, reading.git_sha, reading.config["optim.batch_size"]) == ("digits", "a41c9e2" + "0" * 33, 8)
    assert list(reading.evaluations[0].metrics) == list(METRICS)
    assert reading.parameters == 8_686_000


def test_the_ends_of_an_evaluation_say_the_same_as_the_whole(tmp_path: Path) -> None:
    classes = {f'class {place} "engine": {{': 0.1 for place in range(300)}
    path = make_run(tmp_path, "digits-7f3a1c", [0.2], classes=classes)
    (file,) = read_run(path).files
    whole, setting = read_record(file), read_setting(file)
    assert Path(file).stat().st_size > 50_000
    assert whole is not None
    assert setting is not None
    assert len(whole.per_class) == 300
    assert (setting.engine, setting.ground_truth, setting.image_size) == (
        whole.engine,
        whole.ground_truth,
        whole.image_size,
    )
    assert read_run(path).evaluations[0].metrics == whole.metrics


def test_a_record_on_one_line_reads_as_well(tmp_path: Path) -> None:
    path = make_run(tmp_path, "digits-7f3a1c", [0.2])
    file = path / "eval" / "epoch_0001.json"
    file.write_bytes(msgspec.json.encode(msgspec.json.decode(file.read_bytes())))
    assert read_run(path).evaluations[0].metrics == metrics_of(0.2)
    setting = read_setting(str(file))
    assert setting is not None
    assert setting.engine.version == "1.3.0"


@pytest.mark.parametrize("content", [b"", b"{", b'{"metrics": 3}', b"\0" * 5000, b'{"per_class": [], "engine": 1}'])
def test_a_damaged_evaluation_is_flagged_and_the_others_are_read(tmp_path: Path, content: bytes) -> None:
    path = make_run(tmp_path, "digits-7f3a1c", [0.2, 0.25])
    (path / "eval" / "epoch_0002.json").write_bytes(content)
    reading = read_run(path)
    assert [each.epoch for each in reading.evaluations] == [1]
    assert reading.flags == ("damaged: eval/epoch_0002.json cannot be read",)
    assert read_setting(str(path / "eval" / "epoch_0002.json")) is None


def test_a_run_without_anything_is_an_empty_run(tmp_path: Path) -> None:
    path = tmp_path / "digits-7f3a1c"
    path.mkdir()
    assert not is_run(path)
    (path / "run.json").write_text("{}")
    assert is_run(path)
    reading = read_run(path)
    assert (reading.evaluations, reading.config, reading.recipe) == ((), {}, None)


def test_a_foreign_trainer_is_read_from_its_logs_attempt_by_attempt(tmp_path: Path) -> None:
    path = make_run(tmp_path, "mine-7f3a1c", [])
    for attempt, epochs in ((1, (1, 2)), (2, (3,)), (10, (4,))):
        folder = path / "logs" / f"attempt_{attempt}"
        folder.mkdir(parents=True)
        text = "".join(f"Epoch: [{epoch}] loss\n{block(values(epoch / 10))}" for epoch in epochs)
        (folder / "rank0.out").write_text(text)
        (folder / "rank1.out").write_text("Epoch: [1] loss\n")
    assert [each.epoch for each in with_logs(read_run(path)).evaluations] == [1, 2, 3, 4]


def test_a_foreign_trainer_that_prints_nothing_is_read_from_the_file_it_left(tmp_path: Path) -> None:
    path = make_run(tmp_path, "mine-7f3a1c", [])
    (path / "log.txt").write_text('{"test_coco_eval_bbox": [' + ", ".join(["0.3"] * 12) + '], "epoch": 0}\n')
    assert [each.metrics["AP"] for each in with_logs(read_run(path)).evaluations] == [0.3]
