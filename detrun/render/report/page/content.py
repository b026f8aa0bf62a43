"""What the page shows, as plain JSON types; the script beside it gives it form. Reads the images alone.

Arms and runs are named, never numbered, so that a page that is refreshed can tell them apart.
"""

from collections.abc import Sequence
from typing import Any

from detector.records import METRICS
from detrun.comparison import Arm, Comparison, Run
from detrun.comparison.details import MOST_ARMS, Details
from detrun.comparison.flags import NOT_RANKED, STATE
from detrun.comparison.images import IOU, SCORE, Gallery, Image
from detrun.comparison.losses import LossCurve
from detrun.comparison.precision import LEVELS, PrecisionCurves
from detrun.comparison.runs import DONE
from detrun.readers.evaluation import Evaluation
from detrun.readers.number import ABSENT
from detrun.render.report.cells import signed
from detrun.render.report.page.pictures import data_uris
from detrun.render.report.page.rows import table
from detrun.render.words import metric

_METRIC_DECIMALS, _PRECISION_DECIMALS, _LOSS_DIGITS = 5, 3, 5
_NAMES_IN_TITLE = 3
# Curves of single classes take room: as many arms and classes as this multiplies to.
_MOST_CLASS_CURVES = 400


def content(
    comparison: Comparison, shown: Details, asked: Sequence[str], now: float, every_s: float | None = None
) -> dict[str, Any]:
    """Everything on the page.

    Args:
        comparison: what is compared.
        shown: what else is known.
        asked: the columns that are shown at first; those that tell something if empty.
        now: Unix seconds.
        every_s: how often the page may look for news; None for a page that stays as it is.

    Raises:
        UserError: a column that was asked for does not exist.
    """
    return {
        "title": _title(comparison),
        "headline": headline(comparison),
        "made_at": now,
        "live": None if every_s is None else {"every_s": every_s},
        "setting": [comparison.iou_type, *comparison.setting],
        "notes": list(comparison.notes),
        "flags": [flag for flag in comparison.every_flag if not flag.startswith(NOT_RANKED)],
        "baseline": comparison.baseline,
        "table": table(comparison, asked),
        "not_ranked": [_not_ranked(run) for run in comparison.runs if run.state != DONE or not run.selected],
        "unread": [f"{each.source}: {each.reason}" for each in comparison.unread],
        "curves": [_curve(arm, run, shown.losses.get(run.name)) for arm in comparison.every_arm for run in arm.runs],
        "classes": [{"name": row.name, "ap": _known(row.ap)} for row in shown.classes],
        "precision": _precision(shown, comparison),
        "errors": [{"name": row.arm, "costs": dict(row.costs)} for row in comparison.errors],
        "configuration": _configuration(comparison.every_arm),
        "gallery": _gallery(shown.gallery),
    }


def headline(comparison: Comparison) -> str:
    """The best run in a sentence; `""` where none is ranked."""
    known = [arm for arm in comparison.arms if arm.metrics.get("AP", ABSENT) != ABSENT]
    if not known:
        return ""
    best = max(known, key=lambda arm: arm.metrics["AP"])
    spread = f" ±{metric(best.sd['AP'])}" if "AP" in best.sd else ""
    words = f"{best.name} has the highest AP, {metric(best.metrics['AP'])}{spread}" if len(known) > 1 else ""
    words = words or f"AP {metric(best.metrics['AP'])}{spread}"
    if "AP" in best.deltas and comparison.baseline:
        words += f", {signed(best.deltas['AP'])} over {comparison.baseline}"
    words += f" ({best.verdict})" if best.verdict else ""
    doubtful = len(known) > 1 and any(not flag.startswith(NOT_RANKED) for flag in comparison.flags)
    return f"{words}; read the flags below before you rely on it" if doubtful else words


def _title(comparison: Comparison) -> str:
    recipes = dict.fromkeys(str(run.columns["recipe"]) for run in comparison.runs if run.columns.get("recipe"))
    if recipes and len(recipes) <= _NAMES_IN_TITLE:
        return ", ".join(recipes)
    names = [arm.name for arm in comparison.every_arm]
    return ", ".join(names) if 0 < len(names) <= _NAMES_IN_TITLE else f"{len(comparison.runs)} runs"


def _not_ranked(run: Run) -> str:
    """Why, in a line."""
    why = next((flag.removeprefix(STATE) for flag in run.flags if flag.startswith(STATE)), run.state)
    return f"{run.name}: {why}" if run.selected else f"{run.name}: {why}, no {run.iou_type} evaluation"


def _curve(arm: Arm, run: Run, loss: LossCurve | None) -> dict[str, Any]:
    """A run's evaluations by column; places without an epoch are counted."""
    every = run.evaluations
    return {
        "arm": arm.name,
        "run": run.name,
        "epoch": _column(every, "epoch"),
        "seconds": _column(every, "seconds"),
        "images": _column(every, "images"),
        "metrics": {name: column for name in METRICS if (column := _metric(every, name)) is not None},
        "loss": _loss(loss) if loss and loss.loss else None,
    }


def _column(every: Sequence[Evaluation], name: str) -> list[float] | None:
    """Where each evaluation stands on an axis; None where the log does not say."""
    values = [getattr(each, name) for each in every]
    if name == "epoch" and None in values:
        return [float(place) for place in range(1, len(every) + 1)]
    return None if None in values else [round(value, 2) for value in values]


def _metric(every: Sequence[Evaluation], name: str) -> list[float | None] | None:
    values = [each.metrics.get(name) for each in every]
    known = [None if value in (None, ABSENT) else round(value, _METRIC_DECIMALS) for value in values]
    return known if any(value is not None for value in known) else None


def _loss(loss: LossCurve) -> dict[str, list[float] | None]:
    return {
        "epoch": [round(value, 3) for value in loss.epoch],
        "seconds": [round(value, 1) for value in loss.seconds] or None,
        "images": list(loss.images) or None,
        "loss": [float(f"{value:.{_LOSS_DIGITS}g}") for value in loss.loss],
    }


def _known(ap: Any) -> dict[str, float]:
    return {name: round(value, _METRIC_DECIMALS) for name, value in ap.items() if value != ABSENT}


def _precision(shown: Details, comparison: Comparison) -> dict[str, Any]:
    names = dict.fromkeys(name for each in shown.precision for name in each.classes)
    by_class = len(names) * len(shown.precision) <= _MOST_CLASS_CURVES
    cut = max(0, sum(arm.runs[0].ours for arm in comparison.every_arm) - MOST_ARMS)
    return {
        "levels": list(LEVELS),
        "classes": list(names) if by_class and len(names) > 1 else [],
        "arms": [_precision_of(each, with_classes=by_class and len(names) > 1) for each in shown.precision],
        "without": [*shown.without_precision, *([f"{cut} more runs: not read"] if cut else [])],
    }


def _precision_of(curves: PrecisionCurves, *, with_classes: bool) -> dict[str, Any]:
    tables = {"": curves.mean, **(curves.classes if with_classes else {})}
    return {
        "name": curves.arm,
        "curves": {
            name: {level: [round(value, _PRECISION_DECIMALS) for value in curve] for level, curve in table.items()}
            for name, table in tables.items()
        },
    }


def _configuration(arms: Sequence[Arm]) -> list[dict[str, Any]]:
    """Every key, with the value of each arm's first run that has it."""
    keys = dict.fromkeys(key for arm in arms for key in arm.runs[0].config)
    first = [(arm.name, arm.runs[0].config) for arm in arms if arm.runs[0].config]
    return [{"key": key, "values": {name: config[key] for name, config in first if key in config}} for key in keys]


def _gallery(gallery: Gallery) -> dict[str, Any]:
    uris = data_uris(gallery.images)
    images = [_image(image, uri) for image, uri in zip(gallery.images, uris, strict=True) if uri]
    reason = gallery.reason or ("" if images else "none of the images can be read")
    return {
        "arms": list(gallery.arms),
        "categories": list(gallery.categories),
        "images": images,
        "reason": reason,
        "iou": IOU,
        "score": SCORE,
    }


def _image(image: Image, uri: str) -> dict[str, Any]:
    """Boxes as lists, to save room: left, top, width, height, category, then score, outcome, place of its truth."""
    codes = {"right": 0, "wrong": 1, "uncounted": 2}
    return {
        "name": image.name,
        "uri": uri,
        "width": image.width,
        "height": image.height,
        "truth": [[*_box(each.box), each.category, int(each.crowd)] for each in image.truth],
        "found": {
            name: [
                [*_box(each.box), each.category, round(each.score, 3), codes[each.outcome], each.truth]
                for each in found
            ]
            for name, found in image.found.items()
        },
    }


def _box(box: tuple[float, float, float, float]) -> list[float]:
    return [round(value, 1) for value in box]
