"""Each family of logs, as its programs write it; real ones are in test_expected_logs."""

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import pytest
from report_logs import block, evaluations, lines, read_text, twelve, values

from detrun.readers.file import read_file
from detrun.readers.ultralytics import OWN_AP

SCALED = "scale: x100 in the log"


@pytest.fixture(scope="module")
def matched(shared: Path) -> tuple[Path, Path, list[float]]:
    """Ground truth, detections, and the published twelve numbers."""
    folder = shared / "data" / "fakebbox100"
    published = (
        "0.5045806987249628 0.6969727247299577 0.5729816669904824 0.5856257209410443 0.5193996948036719 "
        "0.5013978986347466 0.38681277964578054 0.5936795762842003 0.595352982877607 0.6398109626113442 "
        "0.5664205978994309 0.5642905982905982"
    )
    numbers = [round(float(word), 3) for word in published.split()]
    return folder / "instances_val2014_100.json", folder / "fakebbox100_results.cocoapi.json", numbers


def test_pycocotools_as_it_prints(matched: tuple[Path, Path, list[float]], tmp_path: Path) -> None:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()) as out:
        truth = COCO(str(matched[0]))
        engine = COCOeval(truth, truth.loadRes(str(matched[1])), "bbox")
        engine.evaluate()
        engine.accumulate()
        engine.summarize()
    (found,) = evaluations(tmp_path, out.getvalue())
    assert twelve(found) == matched[2]
    assert found.decimals == 3


def test_hotcoco_as_it_prints(matched: tuple[Path, Path, list[float]], tmp_path: Path) -> None:
    import hotcoco

    truth = hotcoco.COCO(str(matched[0]))
    engine = hotcoco.COCOeval(truth, truth.load_res(str(matched[1])), "bbox")
    engine.evaluate()
    engine.accumulate()
    engine.summarize()
    (found,) = evaluations(tmp_path, "\n".join(engine.summary_lines()))
    assert twelve(found) == matched[2]


@pytest.mark.parametrize("lvis", [False, True])
def test_faster_coco_eval_as_it_prints(matched: tuple[Path, Path, list[float]], tmp_path: Path, lvis: bool) -> None:
    import faster_coco_eval as engine_of

    printed: list[str] = []
    truth = engine_of.COCO(str(_with_frequencies(matched[0], tmp_path)))
    found = truth.loadRes(str(matched[1]))
    engine = engine_of.COCOeval_faster(truth, found, "bbox", print_function=printed.append, lvis_style=lvis)
    engine.evaluate()
    engine.accumulate()
    engine.summarize()
    (found,) = evaluations(tmp_path, "\n".join(printed))
    assert twelve(found) == [round(float(value), 3) for value in engine.stats[:12]]
    others = {name for name in found.rows if not name.endswith("/100") or "AR@0.50/" in name or "AR@0.75/" in name}
    recalls = {"AR@0.50/all/100", "AR@0.75/all/100", "AR@0.50:0.95/all/1", "AR@0.50:0.95/all/10"}
    assert others == (recalls | {f"AP@0.50:0.95/all/100/{kind}" for kind in "rcf"} if lvis else recalls)
    assert found.flags == ()


def _with_frequencies(annotations: Path, folder: Path) -> Path:
    """LVIS tells frequent from common and rare categories."""
    table = json.loads(annotations.read_text())
    for place, category in enumerate(table["categories"]):
        category["frequency"] = "rcf"[place % 3]
    for image in table["images"]:
        image |= {"neg_category_ids": [], "not_exhaustive_category_ids": []}
    path = folder / "annotations.json"
    path.write_text(json.dumps(table))
    return path


def test_torchvision_prints_boxes_and_masks_after_each_epoch(tmp_path: Path) -> None:
    text = "".join(
        f"Epoch: [{epoch}] Total time: 0:00:39 (0.6 s / it)\nIoU metric: bbox\n{block(values(0.3 + epoch / 10))}"
        f"IoU metric: segm\n{block(values(0.2 + epoch / 10))}"
        for epoch in range(2)
    )
    boxes, masks = evaluations(tmp_path, text), evaluations(tmp_path, text, "segm")
    assert [(each.epoch, each.metrics["AP"]) for each in boxes] == [(0, 0.3), (1, 0.4)]
    assert [(each.epoch, each.metrics["AP"]) for each in masks] == [(0, 0.2), (1, 0.3)]


def test_keypoints_are_kept_apart(tmp_path: Path) -> None:
    rows = [line.replace("maxDets=100", "maxDets= 20") for line in lines(values(0.5)) if "small" not in line]
    text = block(values(0.3)) + "\n".join(line for line in rows if "maxDets= 20" in line)
    (boxes,), (points,) = evaluations(tmp_path, text), evaluations(tmp_path, text, "keypoints")
    assert boxes.metrics["AP"] == 0.3
    assert points.metrics["AP"] == 0.5


def test_mmdetection_3_tells_an_evaluation_three_times_and_it_counts_once(tmp_path: Path) -> None:
    numbers = values(0.31)
    short = " ".join(f"{number:.3f}" for number in numbers[:6])
    text = (
        "06/12 06:15:01 - mmengine - INFO - Epoch(train)  [12][7330/7330]  lr: 2.0e-04  loss: 0.61\n"
        f"06/12 06:16:11 - mmengine - INFO - Evaluating bbox...\n{block(numbers)}"
        f"06/12 06:16:11 - mmengine - INFO - bbox_mAP_copypaste: {short}\n"
        f"06/12 06:16:11 - mmengine - INFO - Epoch(val) [12][625/625]    coco/bbox_mAP: {numbers[0]:.4f}  "
        f"coco/bbox_mAP_50: {numbers[1]:.4f}  data_time: 0.0033  time: 0.0985\n"
    )
    (found,) = evaluations(tmp_path, text)
    assert (found.epoch, twelve(found), found.flags) == (12, numbers, ())


def test_mmdetection_2_with_a_thousand_proposals_has_no_ar1(tmp_path: Path) -> None:
    rows = [line.replace("maxDets=100", "maxDets=1000") for line in lines(values(0.3))]
    rows[0] = lines(values(0.3))[0]
    rows[6:9] = [rows[8].replace("maxDets=1000", f"maxDets={limit}") for limit in (100, 300, 1000)]
    (found,) = evaluations(tmp_path, "\n".join(rows) + "\n")
    assert found.metrics["AP"] == 0.3
    assert found.metrics["AR100"] == 0.38
    assert not {"AR1", "AR10"} & found.metrics.keys()
    assert found.flags == ("maxDets: 1000, not 100",)


def test_proposal_recalls_of_mmdetection_are_rows(tmp_path: Path) -> None:
    text = "2022-04-12 01:27:55,144 - mmdet - INFO - Epoch(val) [3][7330]  AR@100: 0.4, AR@300: 0.5, AR_s@1000: 0.3\n"
    (found,) = evaluations(tmp_path, text)
    assert found.metrics == {"AR100": 0.4, "ARs": 0.3}
    assert found.epoch == 3


def test_mmengine_scalars_take_their_epoch_from_the_training_lines(tmp_path: Path) -> None:
    text = (
        '{"lr": 0.02, "loss": 1.0, "epoch": 4, "iter": 50, "step": 2050}\n'
        '{"coco/bbox_mAP": 0.22, "coco/bbox_mAP_50": 0.367, "coco/segm_mAP": 0.2, "step": 4}\n'
    )
    (found,) = evaluations(tmp_path, text)
    assert (found.epoch, found.step, found.metrics) == (4, 4, {"AP": 0.22, "AP50": 0.367})
    assert evaluations(tmp_path, text, "segm")[0].metrics == {"AP": 0.2}


def test_equal_results_at_two_steps_are_two_evaluations(tmp_path: Path) -> None:
    text = "".join(f'{{"coco/bbox_mAP": 0.0, "coco/bbox_mAP_50": 0.0, "step": {step}}}\n' for step in (1000, 2000))
    assert [each.step for each in evaluations(tmp_path, text)] == [1000, 2000]


def test_detectron2_metrics_json_is_percent_with_bare_nan(tmp_path: Path) -> None:
    text = (
        '{"total_loss": 0.6, "iteration": 19}\n'
        '{"bbox/AP": 21.28, "bbox/AP50": 40.5, "bbox/APs": NaN, "bbox/AP-person": 30.1, "iteration": 4999}\n'
    )
    (found,) = evaluations(tmp_path, text)
    assert found.metrics == {"AP": 0.2128, "AP50": 0.405, "APs": -1.0}
    assert (found.epoch, found.step, found.decimals, found.flags) == (None, 4999, None, (SCALED,))


def test_detectron2_tells_rows_table_and_copypaste_of_one_evaluation(tmp_path: Path) -> None:
    where = "[11/23 08:14:47 d2.evaluation.testing]: "
    text = (
        f"{block(values(0.3))}[11/23 08:14:47 d2.evaluation.coco_evaluation]: Evaluation results for bbox: \n"
        "|   AP   |  AP50  |  AP75  |  APs  |  APm   |  APl   |\n"
        "|:------:|:------:|:------:|:-----:|:------:|:------:|\n"
        f"| 30.041 | 31.012 | 32.000 | 33.01 | 34.000 | 35.000 |\n{where}copypaste: Task: bbox\n"
        f"{where}copypaste: AP,AP50,AP75,APs,APm,APl\n"
        f"{where}copypaste: 30.0411,31.0120,32.0000,33.0100,34.0000,35.0000\n"
    )
    (found,) = evaluations(tmp_path, text)
    assert found.metrics["AP"] == 0.300411
    assert found.metrics["APs"] == 0.3301
    assert found.metrics["AR100"] == 0.38


def test_the_first_detectron_writes_fractions_under_box_and_mask(tmp_path: Path) -> None:
    text = "".join(
        f"INFO task_evaluation.py: 182: copypaste: Task: {task}\n"
        "INFO task_evaluation.py: 185: copypaste: AP,AP50,AP75,APs,APm,APl\n"
        f"INFO task_evaluation.py: 186: copypaste: {ap:.4f},0.5631,0.3894,0.1893,0.3999,0.4974\n"
        for task, ap in (("box", 0.358), ("mask", 0.3127))
    )
    assert evaluations(tmp_path, text)[0].metrics["AP"] == 0.358
    assert evaluations(tmp_path, text, "segm")[0].metrics["AP"] == 0.3127


def test_a_writer_that_repeats_the_last_evaluation_tells_it_once(tmp_path: Path) -> None:
    row = '{{"bbox/AP": 21.28271, "bbox/AP50": 40.51822, "iteration": {}}}\n'
    text = "".join(row.format(step) for step in range(4999, 5100, 20)) + '{"bbox/AP": 22.0, "iteration": 9999}\n'
    assert [each.step for each in evaluations(tmp_path, text)] == [4999, 9999]


def test_mlperf_lines_alone_hold_ap_alone(tmp_path: Path) -> None:
    text = (
        '0: :::MLLOG {"namespace": "", "time_ms": 1, "key": "eval_accuracy", '
        '"value": {"BBOX": 0.3782, "SEGM": 0.3431}, "metadata": {"file": "train.py", "lineno": 1, "epoch_num": 13}}\n'
        ':::MLL 1560217203.794 eval_accuracy: {"value": 0.1514, "metadata": {"epoch_num": 33}}\n'
    )
    assert [(each.epoch, each.metrics) for each in evaluations(tmp_path, text)] == [
        (13, {"AP": 0.3782}),
        (33, {"AP": 0.1514}),
    ]
    assert [each.metrics for each in evaluations(tmp_path, text, "segm")] == [{"AP": 0.3431}]


def test_accuracy_of_an_image_classifier_is_no_ap(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    path.write_text(':::MLPv0.5.0 resnet 1541.5 (train.py:333) eval_accuracy: {"epoch": 61, "value": 0.7498}\n')
    assert not isinstance(read_file(path), list)


def test_an_mlperf_line_that_contradicts_the_rows_is_flagged_and_not_taken(tmp_path: Path) -> None:
    line = ':::MLL 1.0 eval_accuracy: {"value": 0.31, "metadata": {"epoch_num": 33}}'
    text = f'"epoch_num": 33\n{block(values(0.2))}{line}\n'
    (found,) = evaluations(tmp_path, text)
    assert found.metrics["AP"] == 0.2
    assert found.flags == ("disagrees: AP is 0.2 in the rows, 0.31 in a line",)


def test_rt_detr_makes_the_best_epoch_precise(tmp_path: Path) -> None:
    text = "".join(
        f"Epoch: [{epoch}]  [0/10]  eta: 0\nIoU metric: bbox\n{block(values(ap))}"
        "best_stat:  {'epoch': 0, 'coco_eval_bbox': 0.29996}\n"
        for epoch, ap in ((0, 0.3), (1, 0.2))
    )
    assert [each.metrics["AP"] for each in evaluations(tmp_path, text)] == [0.29996, 0.2]


def test_yolox_that_logs_only_its_best_ap_gives_that_with_a_flag(tmp_path: Path) -> None:
    line = "2023-01-13 | INFO | yolox.core.trainer:195 - Training of experiment is done and the best AP is {}\n"
    (found,) = evaluations(tmp_path, line.format("0.00") + line.format("40.51"))
    assert found.metrics == {"AP": 0.4051}
    assert found.flags == ("epoch: the log names its best AP alone", SCALED)


def test_yolox_whose_best_ap_is_not_among_its_rows_is_flagged(tmp_path: Path) -> None:
    (log,) = read_text(tmp_path, f"{block(values(0.3))}Training of experiment is done and the best AP is 40.51\n")
    assert log.flags == ("disagrees: the log calls 0.4051 its best AP, its rows do not",)


V8_HEADER = (
    "                 Class     Images  Instances      Box(P          R      mAP50  mAP50-95){}: "
    "100%|###| 8/8 [00:03<00:00]\n"
)
MASKS = "     Mask(P          R      mAP50  mAP50-95)"


def _v8_epoch(epoch: int, ap: float, masks: str = "") -> str:
    return (
        f"    {epoch}/2      6.73G      1.235     0.5911       1.14         11        640:  50%|#| 8/16\r"
        f"    {epoch}/2      6.73G      1.235     0.5911       1.14         11        640: 100%|#| 16/16\n"
        f"{V8_HEADER.format(MASKS if masks else '')}"
        f"                   all        722       1444      0.939      0.927      0.967      {ap}{masks}\n"
    )


def test_ultralytics_tables_give_ap50_and_ap_of_boxes_and_masks(tmp_path: Path) -> None:
    text = _v8_epoch(1, 0.551, "     0.9     0.8    0.71    0.46") + _v8_epoch(
        2, 0.562, "     0.9     0.8    0.72    0.47"
    )
    boxes, masks = evaluations(tmp_path, text), evaluations(tmp_path, text, "segm")
    assert [(each.epoch, each.metrics) for each in boxes] == [
        (1, {"AP": 0.551, "AP50": 0.967}),
        (2, {"AP": 0.562, "AP50": 0.967}),
    ]
    assert [each.metrics["AP"] for each in masks] == [0.46, 0.47]
    assert boxes[0].flags == (OWN_AP,)


def test_ultralytics_last_look_at_the_best_weights_is_no_epoch(tmp_path: Path) -> None:
    again = _v8_epoch(2, 0.57).partition("\n")[2]
    end = "2 epochs completed in 0.1 hours.\nValidating runs/weights/best.pt...\n"
    text = f"{_v8_epoch(1, 0.5)}{_v8_epoch(2, 0.4)}{end}{again}"
    assert [(each.epoch, each.of_best) for each in evaluations(tmp_path, text)] == [
        (1, False),
        (2, False),
        (None, True),
    ]


def test_an_older_table_with_f1_in_the_last_column_holds_no_ap(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    path.write_text(
        "               Class    Images   Targets         P         R   mAP@0.5        F1: 100%|##| 52/52\n"
        "                 all       787      2054     0.736    0.0185   0.00493   0.00334\n"
    )
    assert not isinstance(read_file(path), list)


def test_results_csv_of_version_8_has_boxes_masks_and_gaps(tmp_path: Path) -> None:
    header = "epoch,time,metrics/precision(B),metrics/mAP50(B),metrics/mAP50-95(B),metrics/mAP50(M),metrics/mAP50-95(M)"
    text = f"{header}\n1,12.1,0.5,0.3,0.2,0.25,0.15\n2,24.1,0.5,0.31,0.21,,\nbroken line\n"
    (log,) = read_text(tmp_path, text, "anything.dat")
    boxes = [each for each in log.evaluations if each.iou_type == "bbox"]
    masks = [each for each in log.evaluations if each.iou_type == "segm"]
    assert [(each.epoch, each.metrics) for each in boxes] == [
        (1, {"AP50": 0.3, "AP": 0.2}),
        (2, {"AP50": 0.31, "AP": 0.21}),
    ]
    assert [each.metrics["AP"] for each in masks] == [0.15]
    assert log.flags == ("damaged: 1 lines hold no metric",)


def test_trainer_dicts_of_transformers(tmp_path: Path) -> None:
    text = (
        "{'eval_loss': 1.2, 'eval_map': 0.2896, 'eval_map_50': 0.5, 'eval_map_medium': -1.0, 'eval_mar_100': 0.33, "
        "'eval_map_person': 0.2, 'epoch': 1.0}\n{'loss': 2.1, 'epoch': 1.5}\n{'eval_map': 0.3, 'epoch': 2.0}\n"
    )
    found = evaluations(tmp_path, text)
    assert [(each.epoch, each.metrics) for each in found] == [
        (1, {"AP": 0.2896, "AP50": 0.5, "APm": -1.0, "AR100": 0.33}),
        (2, {"AP": 0.3}),
    ]


def test_trainer_state_of_transformers(tmp_path: Path) -> None:
    entries: list[dict[str, Any]] = [
        {"epoch": 1.0, "loss": 1.0, "step": 10},
        {"epoch": 1.0, "eval_map": 0.29, "eval_mar_large": 0.4, "eval_loss": float("nan"), "step": 10},
    ]
    for indent in (2, None):
        text = json.dumps({"best_metric": 0.29, "log_history": entries}, indent=indent)
        (found,) = evaluations(tmp_path, text)
        assert (found.epoch, found.step, found.metrics) == (1, 10, {"AP": 0.29, "ARl": 0.4})


def test_a_summary_in_percent_is_converted_and_flagged(tmp_path: Path) -> None:
    numbers = values(0.2)
    (found,) = evaluations(tmp_path, block([100 * number for number in numbers], decimals=1))
    assert twelve(found) == numbers
    assert (found.decimals, found.flags) == (3, (SCALED,))


def test_a_single_number_above_one_is_damage_and_not_percent(tmp_path: Path) -> None:
    (found,) = evaluations(tmp_path, block(values(0.2)).replace("= 0.210", "= 9.210"))
    assert "AP50" not in found.metrics
    assert found.metrics["AP"] == 0.2
    assert found.flags == ("damaged: 1 of 12 rows hold no metric",)
