"""Metrics against the reference, and their independence from how the work was shared out."""

import json
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torchrun import finish, prepare

from detector.evaluation import detections as boxes
from detector.evaluation.coco import Judge, table
from detector.evaluation.detections import Detections
from detector.records import METRICS, Evaluation

PUBLISHED = (
    "0.5045806987249628 0.6969727247299577 0.5729816669904824 0.5856257209410443 0.5193996948036719 0.5013978986347466 "
    "0.38681277964578054 0.5936795762842003 0.595352982877607 0.6398109626113442 0.5664205978994309 0.5642905982905982"
)


def from_records(path: Path) -> Detections:
    rows = json.loads(path.read_text())
    return Detections(
        image_id=np.array([row["image_id"] for row in rows]),
        category_id=np.array([row["category_id"] for row in rows]),
        bbox=np.array([row["bbox"] for row in rows]),
        score=np.array([row["score"] for row in rows]),
    )


@pytest.mark.parametrize("engine", ["hotcoco", "pycocotools"])
def test_fakebbox100_gives_the_published_numbers_to_the_last_digit(shared: Path, engine: str) -> None:
    folder = shared / "data" / "fakebbox100"

    score = Judge(folder / "instances_val2014_100.json", engine).score(
        from_records(folder / "fakebbox100_results.fce.json")
    )

    assert [score.metrics[name] for name in METRICS] == [float(number) for number in PUBLISHED.split()]
    assert table(score.metrics)[0].endswith("| area=   all | maxDets=100 ] = 0.50458")
    assert len(table(score.metrics)) == 12


def ground_truth(path: Path, random: np.random.Generator, images: int) -> None:
    """Boxes of all sizes over three categories with gaps in their ids; the last category has none, some are crowds."""
    annotations = []
    for image in range(1, images + 1):
        for _ in range(int(random.integers(0, 6))):
            left, top, width, height = random.uniform([0, 0, 4, 4], [300, 300, 200, 200]).tolist()
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image,
                    "category_id": int(random.choice([0, 5])),
                    "bbox": [left, top, width, height],
                    "area": width * height,
                    "iscrowd": int(random.random() < 0.1),
                }
            )
    whole = {
        "info": {},
        "images": [
            {"id": image, "file_name": f"{image}.jpg", "width": 512, "height": 512} for image in range(1, images + 1)
        ],
        "annotations": annotations,
        "categories": [{"id": each, "name": f"c{each}"} for each in (0, 5, 9)],
    }
    path.write_text(json.dumps(whole))


def guesses(path: Path, random: np.random.Generator) -> Detections:
    """Ground truth boxes moved a little, and boxes out of nothing; scores tie."""
    truth = json.loads(path.read_text())["annotations"]
    images = [row["image_id"] for row in truth] + [1] * 5
    labels = [row["category_id"] for row in truth] + random.choice([0, 5, 9], 5).tolist()
    corners = np.array([row["bbox"] for row in truth] + random.uniform(1, 200, (5, 4)).tolist()).reshape(-1, 4)
    return boxes.joined(
        [
            Detections(
                image_id=np.array(images, np.int64),
                category_id=np.array(labels, np.int64),
                bbox=np.maximum(corners + random.normal(0, 4, corners.shape), 1).astype(np.float32),
                score=(random.integers(1, 8, len(images)) / 8).astype(np.float32),
            )
        ]
    )


@settings(max_examples=25)
@given(seed=st.integers(0, 2**32), images=st.integers(1, 12))
def test_hotcoco_agrees_with_pycocotools_bit_by_bit_also_per_class(
    tmp_path_factory: pytest.TempPathFactory, seed: int, images: int
) -> None:
    random = np.random.default_rng(seed)
    path = tmp_path_factory.mktemp("gt") / "gt.json"
    ground_truth(path, random, images)
    found = guesses(path, random)

    ours, reference = (Judge(path, engine).score(found) for engine in ("hotcoco", "pycocotools"))

    assert ours.metrics == reference.metrics
    assert ours.per_class == reference.per_class
    assert ours.per_class[2].metrics["AP"] == -1


def test_no_detections_at_all_score_zero_and_not_an_error(tmp_path: Path) -> None:
    path = tmp_path / "gt.json"
    ground_truth(path, np.random.default_rng(0), 5)

    scores = [Judge(path, engine).score(boxes.joined([])).metrics for engine in ("hotcoco", "pycocotools")]

    assert scores[0] == scores[1]
    assert scores[0]["AP"] == 0


def test_detections_survive_their_file_bit_by_bit(tmp_path: Path) -> None:
    path = tmp_path / "gt.json"
    ground_truth(path, np.random.default_rng(1), 9)
    found = guesses(path, np.random.default_rng(2))

    boxes.write(tmp_path / "d.npz", found)
    again = boxes.read(tmp_path / "d.npz")

    assert all(np.array_equal(one, other) for one, other in zip(found, again, strict=True))
    assert Judge(path, "hotcoco").score(again).metrics == Judge(path, "hotcoco").score(found).metrics


TRAINED_MASKS = [[3, 4, 5], [1, 2, 3]]


def untrained(run: Path, data: Path, weights: Path, **overrides: object) -> Path:
    """A run of no epochs: it evaluates what darknet trained."""
    settings = {"epochs": 0, "data__image_size": 416, "model__masks": TRAINED_MASKS, "model__init": str(weights)}
    return prepare(run, data, **(settings | overrides))


def evaluation(run: Path) -> Evaluation:
    return msgspec.json.decode(next((run / "eval").glob("*.json")).read_bytes(), type=Evaluation)


@pytest.mark.torchrun
def test_ap_does_not_depend_on_the_number_of_processes_nor_to_speak_of_on_the_batch(
    tmp_path: Path, shared: Path
) -> None:
    data, weights = shared / "data" / "coco-mini", shared / "data" / "weights" / "yolov3-tiny.weights"
    alone = untrained(tmp_path / "alone", data, weights, eval__batch_size=8)
    pair = untrained(tmp_path / "pair", data, weights, eval__batch_size=8)
    other = untrained(tmp_path / "other", data, weights, eval__batch_size=5)

    finish(alone, procs=1, threads=2)
    finish(pair, procs=2, threads=1)
    finish(other, procs=2, threads=1)

    assert evaluation(alone).ground_truth.images == 129
    assert evaluation(alone).metrics == evaluation(pair).metrics
    assert (alone / "eval/epoch_0000.npz").read_bytes() == (pair / "eval/epoch_0000.npz").read_bytes()
    assert evaluation(other).metrics == pytest.approx(evaluation(alone).metrics, abs=1e-4)


@pytest.mark.torchrun
def test_darknets_public_weights_reach_their_known_ap(tmp_path: Path, shared: Path) -> None:
    data, weights = shared / "data" / "coco-mini", shared / "data" / "weights" / "yolov3-tiny.weights"
    stretched = untrained(tmp_path / "stretched", data, weights, data__fit="stretch")

    finish(stretched, threads=2)

    assert 0.20 <= evaluation(stretched).metrics["AP"] <= 0.23
    assert 0.42 <= evaluation(stretched).metrics["AP50"] <= 0.46


@pytest.mark.torchrun
def test_what_was_trained_here_evaluates_alike_on_two_threads_and_on_two_processes(tmp_path: Path, tiny: Path) -> None:
    trained = prepare(tmp_path / "trained", tiny, epochs=3, eval__score_threshold=0.0)
    finish(trained, procs=1, threads=2)
    first = (trained / "eval/epoch_0003.npz").read_bytes()
    (trained / "eval/epoch_0003.json").unlink()

    finish(trained, procs=2, threads=1)

    assert (trained / "eval/epoch_0003.npz").read_bytes() == first
