"""Confidence intervals of differences: a paired bootstrap over images, with a cache on disk.

Images of the val set are drawn with replacement, and all runs are scored on the same draws, so that what makes an
image hard cancels out (Efron and Tibshirani, An Introduction to the Bootstrap, chapters 8 and 13). An arm of several
seeds is scored by their mean in each draw. The interval speaks of the images only: what another seed would give, it
does not know.

An image that is drawn twice counts twice. hotcoco 1.3's `compare` counts it once, which makes its intervals about a
quarter too narrow; hence the scoring of our own in `detrun.comparison.resampling`.
"""

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from detector.records import METRICS
from detrun.comparison import Arm, Comparison, Interval, Run
from detrun.comparison.detections import NoDetectionsError, arrays, detections_file
from detrun.comparison.flags import notes
from detrun.comparison.matching import match
from detrun.comparison.resampling import weighted
from detrun.comparison.verdict import verdict

# Called with the share of the work that is done, from 0 to 1.
Progress = Callable[[float], None]
Floats = NDArray[np.float64]

SAMPLES = 1000
_RANDOM_SEED = 42
_METHOD = 1
_CHUNK_WEIGHTS, _SMALLEST_CHUNK = 1_000_000, 25
_ENDS = (2.5, 97.5)
_MOST_UNDEFINED = 0.1
_TOLERANCE = 1e-6


def with_intervals(comparison: Comparison, progress: Progress, samples: int = SAMPLES) -> Comparison:
    """The comparison with 95% intervals of every ranked arm's differences from the baseline, where they can be had.

    A flag says of each arm that has none why.
    """
    baseline = next((arm for arm in comparison.every_arm if arm.is_baseline), None)
    if baseline is None or len(comparison.arms) < 2:
        return comparison.flagged(["no CI: there is nothing to compare with"])
    scores, problems = _scored({arm.name: arm for arm in (baseline, *comparison.arms)}, samples, progress)
    rows = []
    for arm in comparison.arms:
        both = not arm.is_baseline and arm.name in scores and baseline.name in scores
        found = _intervals(arm, scores[arm.name] - scores[baseline.name]) if both else {}
        arm = msgspec.structs.replace(arm, intervals=found)
        rows.append(msgspec.structs.replace(arm, verdict="" if arm.is_baseline else verdict(arm, baseline)))
    comparison = msgspec.structs.replace(comparison, arms=tuple(rows)).flagged(problems)
    return msgspec.structs.replace(comparison, notes=notes(comparison))


def resampled(run: Run, samples: int, progress: Progress) -> Floats:
    """(samples, 12) the metrics of a run on draws of images, from the cache where they are there.

    The draws are the same for all runs with as many images. NaN where a draw has no ground truth in a slice.

    Raises:
        NoDetectionsError: detections or annotations cannot be had, or do not give the recorded AP.
    """
    cached = _cache_file(run, samples)
    try:
        scores = np.asarray(np.load(cached), np.float64)
    except (OSError, ValueError, EOFError):
        scores = _scores(run, samples, progress)
        _keep(cached, scores)
    if abs(scores[0, 0] - run.metrics["AP"]) > _TOLERANCE:
        raise NoDetectionsError(f"its detections give AP {scores[0, 0]:.5f}, its record says {run.metrics['AP']:.5f}")
    return scores[1:]


def _scores(run: Run, samples: int, progress: Progress) -> Floats:
    """(1 + samples, 12) the metrics with every image once, and on the draws."""
    truth, found = arrays(run)
    areas = match(truth, found)
    parts = [weighted(areas, np.ones((1, truth.images)))]
    for weights in _draws(truth.images, samples):
        parts.append(weighted(areas, weights))
        progress(min(1.0, sum(map(len, parts)) / samples))
    return np.concatenate(parts)


def _draws(images: int, samples: int) -> Iterator[Floats]:
    """How often each image is drawn, (R, images) at a time."""
    random = np.random.default_rng(_RANDOM_SEED)
    chunk = max(_SMALLEST_CHUNK, _CHUNK_WEIGHTS // max(1, images))
    for start in range(0, samples, chunk):
        drawn = random.integers(0, images, (min(chunk, samples - start), images))
        yield np.array([np.bincount(row, minlength=images) for row in drawn], np.float64)


def _scored(arms: dict[str, Arm], samples: int, progress: Progress) -> tuple[dict[str, Floats], list[str]]:
    """Each arm's metrics on the draws, and why some have none."""
    scores: dict[str, Floats] = {}
    problems = []
    total, done = sum(len(arm.runs) for arm in arms.values()), 0
    truths = {run.setting.ground_truth.sha256 for arm in arms.values() for run in arm.runs if run.setting}
    if len(truths) > 1:
        return {}, ["no CI: the runs were scored on different annotations"]
    for name, arm in arms.items():
        try:
            of_runs = []
            for run in arm.runs:
                of_runs.append(resampled(run, samples, _part(progress, done, total)))
                done += 1
                progress(done / total)
            scores[name] = np.mean(of_runs, axis=0)
        except NoDetectionsError as error:
            problems.append(f"no CI: {name}: {error}")
    return scores, problems


def _part(progress: Progress, done: int, total: int) -> Progress:
    """Tells of one run's work as a part of all runs'."""
    return lambda share: progress((done + share) / total)


def _intervals(arm: Arm, differences: Floats) -> dict[str, Interval]:
    """Percentile intervals of the metrics that nearly all draws define."""
    found = {}
    for place, metric in enumerate(METRICS):
        known = differences[~np.isnan(differences[:, place]), place]
        if metric in arm.deltas and len(known) >= (1.0 - _MOST_UNDEFINED) * len(differences):
            lower, upper = (float(end) for end in np.percentile(known, _ENDS))
            found[metric] = Interval(lower=lower, upper=upper)
    return found


def _cache_file(run: Run, samples: int) -> Path:
    """A file named by everything that the result follows from."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "detrun" / "bootstrap"
    content = hashlib.sha256(detections_file(run).read_bytes()).hexdigest()
    truth = run.setting.ground_truth.sha256 if run.setting else ""
    origin = msgspec.json.encode([_METHOD, samples, _RANDOM_SEED, run.iou_type, truth, content])
    return folder / f"{hashlib.sha256(origin).hexdigest()}.npy"


def _keep(path: Path, scores: Floats) -> None:
    """A cache that cannot be written is done without."""
    temporary = path.with_suffix(f".{os.getpid()}.npy")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(temporary, scores)
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
