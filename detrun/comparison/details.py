"""What a page shows below the comparison: losses, classes, precision over recall, images. Reads runs of our own."""

from collections.abc import Mapping

import msgspec

from detrun.comparison import ClassRow, Comparison
from detrun.comparison.bootstrap import Progress
from detrun.comparison.classes import with_classes
from detrun.comparison.images import Gallery, gallery
from detrun.comparison.losses import LossCurve, loss_of
from detrun.comparison.precision import PrecisionCurves, precision_of

# Detections of every arm are read for its curves; of a few arms they are shown in images, too.
MOST_ARMS, MOST_PICTURED = 50, 4


class Details(msgspec.Struct, frozen=True, kw_only=True):
    """Attributes:
    losses: by the name of the run.
    classes: as `with_classes` orders them, of unfinished runs, too.
    precision: of the first `MOST_ARMS` arms; `without_precision` says of which of them there is none, and why.
    gallery: of the baseline and the arms before all others.
    """

    losses: Mapping[str, LossCurve]
    classes: tuple[ClassRow, ...]
    precision: tuple[PrecisionCurves, ...]
    without_precision: tuple[str, ...]
    gallery: Gallery


def details(comparison: Comparison, most_images: int, progress: Progress) -> Details:
    """Everything that a page shows beside the comparison itself, with at most so many images."""
    ours = [arm for arm in comparison.every_arm if arm.runs[0].ours]
    curves, reasons = precision_of(ours[:MOST_ARMS], lambda done: progress(done / 2))
    everyone = msgspec.structs.replace(comparison, arms=comparison.every_arm, unranked=())
    first = sorted(ours, key=lambda arm: not arm.is_baseline)[:MOST_PICTURED]
    return Details(
        losses={run.name: loss_of(run) for run in comparison.runs},
        classes=with_classes(everyone).classes,
        precision=tuple(curves),
        without_precision=tuple(reasons),
        gallery=gallery(first, most_images, lambda done: progress((1 + done) / 2)),
    )
