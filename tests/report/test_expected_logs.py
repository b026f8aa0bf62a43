"""Every real log of the shared folder reads as its `expected.json` says."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from detector.records import METRICS
from detrun.readers.evaluation import Evaluation, Log, rows_of_metrics
from detrun.readers.file import read_file

TYPES = ("bbox", "segm")


def read(path: Path) -> list[Log]:
    logs = read_file(path)
    assert isinstance(logs, list), logs
    return logs


def evaluations(log: Log, iou_type: str = "bbox") -> list[Evaluation]:
    return [each for each in log.evaluations if each.iou_type == iou_type]


def printed(evaluation: Evaluation) -> list[float]:
    """The twelve as the rows have them, before a line with more digits made some precise."""
    named = rows_of_metrics(tuple(evaluation.rows))
    return [evaluation.rows[named[metric]] for metric in METRICS]


def held(evaluation: Evaluation) -> list[float]:
    return [evaluation.metrics[metric] for metric in METRICS if metric in evaluation.metrics]


def entries(shared: Path, *formats: str) -> Iterator[tuple[Path, dict[str, Any]]]:
    expected = json.loads((shared / "logs" / "expected.json").read_text())
    for name, entry in expected.items():
        if entry["format"] in formats and "runs" not in entry:
            yield shared / "logs" / name, entry


def test_the_file_of_expectations_holds_only_forms_that_are_checked_here(shared: Path) -> None:
    expected = json.loads((shared / "logs" / "expected.json").read_text())
    known = {"coco-text", "coco-text-interleaved", "detr-jsonl", "mmdet2-jsonl", "ultralytics-csv", "issue-excerpt"}
    assert {entry["format"] for entry in expected.values()} == known
    assert len(expected) == 16


def test_printed_summaries_read_exactly(shared: Path) -> None:
    for path, entry in entries(shared, "coco-text", "coco-text-interleaved"):
        (log,) = read(path)
        assert {each.iou_type for each in log.evaluations} == set(entry["iou_types"]), path
        for iou_type in entry["iou_types"]:
            found, wanted = evaluations(log, iou_type), entry[iou_type]
            assert len(found) == entry["evals"], path
            assert printed(found[0]) == wanted["first"], path
            assert printed(found[-1]) == wanted["last"], path
            if "best" in wanted:
                best = max(found, key=lambda each: each.rows["AP@0.50:0.95/all/100"])
                assert printed(best) == wanted["best"], path
                assert found.index(best) == wanted["best_index0"], path
            assert [printed(each) for each in found] == wanted.get("all", [printed(each) for each in found]), path


def test_epochs_are_those_that_the_logs_name(shared: Path) -> None:
    checked = 0
    for path, entry in entries(shared, "coco-text", "coco-text-interleaved", "detr-jsonl", "mmdet2-jsonl"):
        if "epochs" in entry:
            checked += 1
            assert [each.epoch for each in evaluations(read(path)[0])] == entry["epochs"], path
    assert checked == 7


def test_eight_writers_at_once_make_four_evaluations_with_full_precision(shared: Path) -> None:
    ((path, entry),) = entries(shared, "coco-text-interleaved")
    found = evaluations(read(path)[0])
    assert [each.metrics["AP"] for each in found] == entry["ap_full"]
    assert {each.copies for each in found} == {entry["copies_per_eval"]}


@pytest.mark.parametrize("name", ["mlperf05_nvidia_ssd_dgx1.txt", "seeds_ssd_v06/result_0.txt"])
def test_mlperf_lines_make_ap_precise_and_agree_with_the_rows(shared: Path, name: str) -> None:
    for each in evaluations(read(shared / "logs" / name)[0]):
        row = each.rows["AP@0.50:0.95/all/100"]
        assert each.metrics["AP"] != row
        assert round(each.metrics["AP"], len(str(row)) - 2) == row
        assert each.decimals is None


def test_json_lines_read_exactly(shared: Path) -> None:
    for path, entry in entries(shared, "detr-jsonl", "mmdet2-jsonl"):
        (log,) = read(path)
        for iou_type in TYPES:
            if iou_type in entry:
                found, wanted = evaluations(log, iou_type), entry[iou_type]
                assert len(found) == entry["evals"], path
                assert held(found[0]) == wanted["first"], path
                assert held(found[-1]) == wanted["last"], path
                if "best" in wanted:
                    best = max(found, key=lambda each: each.metrics["AP"])
                    assert held(best) == wanted["best"], path
                    assert found.index(best) == wanted["best_index0"], path


def test_a_results_csv_reads_exactly_and_invents_no_recall(shared: Path) -> None:
    ((path, entry),) = entries(shared, "ultralytics-csv")
    found = evaluations(read(path)[0])
    named = {"metrics/mAP_0.5": "AP50", "metrics/mAP_0.5:0.95": "AP"}
    assert len(found) == entry["evals"]
    assert found[0].metrics == {named[column]: value for column, value in entry["first"].items()}
    assert found[-1].metrics == {named[column]: value for column, value in entry["last"].items()}
    assert [each.epoch for each in found] == list(range(150))


def test_excerpts_read_row_by_row(shared: Path) -> None:
    for path, entry in entries(shared, "issue-excerpt"):
        with_rows = [each for each in evaluations(read(path)[0]) if each.rows]
        assert len(with_rows) == entry["evals"], path
        assert [dict(each.rows) for each in with_rows] == [dict(entry["rows"])] * entry["evals"], path


def test_lines_of_mmdetection_without_rows_are_evaluations_too(shared: Path) -> None:
    (log,) = read(shared / "logs" / "issues" / "mmdet2_adamixer_issue5_head.txt")
    assert [(each.epoch, held(each)) for each in log.evaluations] == [
        (1, [0.25, 0.41, 0.259, 0.122, 0.27, 0.353]),
        (2, [0.303, 0.478, 0.319, 0.157, 0.334, 0.421]),
    ]


def test_a_table_in_percent_makes_the_rows_above_it_precise(shared: Path) -> None:
    (log,) = read(shared / "logs" / "issues" / "detectron2_pr380.txt")
    (found,) = log.evaluations
    assert held(found)[:7] == [0.27391, 0.45042, 0.2799, 0.08468, 0.27076, 0.49926, 0.208]
    assert "scale: x100 in the log" in found.flags


def test_a_cut_block_is_incomplete_and_keeps_what_it_has(shared: Path) -> None:
    (log,) = read(shared / "logs" / "issues" / "mmdet_issue3434_minus1_truncated.txt")
    (found,) = log.evaluations
    assert found.flags == ("incomplete: 11 of 12 rows",)
    assert "ARl" not in found.metrics
    assert found.metrics["APm"] == -1.0


def test_other_detection_limits_are_flagged_and_stand_for_no_ar100(shared: Path) -> None:
    (log,) = read(shared / "logs" / "issues" / "cocoapi_ppw_pr7_maxdets_all.txt")
    (found,) = log.evaluations
    assert found.metrics["AP"] == 0.419
    assert not {"AR1", "AR10", "AR100"} & found.metrics.keys()
    assert found.flags == ("maxDets: all, not 100",)


def test_appended_sessions_are_counted(shared: Path) -> None:
    (log,) = read(shared / "logs" / "yolox_tkp153_train_log.txt")
    assert [each.epoch for each in log.evaluations] == [*range(1, 21), *range(1, 21)]
    assert [each.session for each in log.evaluations] == [1] * 20 + [2] * 20
    assert log.flags == ("sessions: 7 starts in one file, 2 with evaluations",)


def test_two_runs_of_one_markdown_page_are_named_by_their_list_items(shared: Path) -> None:
    path = shared / "logs" / "yolov3_result.md"
    wanted = json.loads((shared / "logs" / "expected.json").read_text())[path.name]["runs"]
    logs = read(path)
    assert {log.titles[-1]: held(log.evaluations[0]) for log in logs} == wanted
    assert [log.titles[-1] for log in logs] == ["From Scratch", "Pretrained Backbone"]


def test_facts_beside_the_metrics_are_kept(shared: Path) -> None:
    (log,) = read(shared / "logs" / "detr_sdetr_log.txt")
    assert log.facts == {"parameters": 41590880}
