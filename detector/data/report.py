"""What was found in a data set besides ordinary boxes: counts and examples, as a value and as plain lines. No I/O."""

from collections.abc import Iterable

import msgspec

from detector.data.index import CocoIndex

# Places that a line names.
EXAMPLES = 3

# Every kind of finding, what it counts, and what becomes of it.
KINDS = {
    "crowds": ("crowd boxes", "kept out of the loss, matched as COCO does in evaluation"),
    "empty_images": ("images without boxes", "kept as background"),
    "zero_size": ("boxes without width or height", "dropped"),
    "clipped": ("boxes reaching out of their image", "clipped"),
    "outside": ("boxes wholly outside their image", "dropped"),
    "unknown_images": ("annotations of an image that is not listed", "dropped"),
    "unknown_categories": ("annotations of a category that is not listed", "dropped"),
    "repeated_images": ("image ids listed again", "the first one stays"),
    "repeated_annotations": ("annotation ids used again", "kept"),
    "unused_categories": ("categories without boxes", "kept"),
    "unreadable_annotations": ("annotation files that cannot be read", "their images dropped"),
    "unreadable_boxes": ("boxes that cannot be read", "dropped"),
    "unsized_files": ("image files without a readable header", "dropped"),
    "missing_files": ("images without a file", "dropped"),
    "unreadable_files": ("files without a readable header", "tried again when they are loaded"),
    "other_size": ("files of another size than annotated", "boxes taken as pixels of the file"),
    "rotated": ("files that EXIF rotates or mirrors", "turned to the annotated size"),
    "greyscale": ("greyscale files", "repeated over three channels"),
    "broken_files": ("files that are no whole image", "a grey image stands in for each"),
    "in_both_splits": ("val images that are in the train split too", "kept, and evaluation is too kind"),
}

# Kinds that are no one's mistake.
HARMLESS = {"crowds", "empty_images", "unused_categories", "rotated", "greyscale"}


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of finding, and every place that has it, named by file and annotation."""

    kind: str
    places: tuple[str, ...]

    def line(self) -> str:
        what, fate = KINDS[self.kind]
        return f"{what}: {len(self.places)} ({fate}), such as {'; '.join(self.places[:EXAMPLES])}"


class DataReport(msgspec.Struct, frozen=True, kw_only=True):
    """A split in figures: what can be trained on or evaluated with, and what was found on the way there."""

    source: str
    images: int
    boxes: int
    categories: int
    findings: tuple[Finding, ...] = ()

    @classmethod
    def of(cls, source: str, index: CocoIndex, found: tuple[Finding, ...]) -> "DataReport":
        """The totals of an index beside what was found on the way to it."""
        return cls(
            source=source,
            images=len(index),
            boxes=len(index.boxes),
            categories=len(index.category_ids),
            findings=found,
        )

    def count(self, kind: str) -> int:
        """How many of one of `KINDS` there are."""
        return sum(len(finding.places) for finding in self.findings if finding.kind == kind)

    def lines(self) -> list[str]:
        """Plain text: one line of totals, one indented line for each finding."""
        totals = f"{self.source}: {self.images} images, {self.boxes} boxes, {self.categories} categories"
        return [totals, *(f"  {finding.line()}" for finding in self.findings)]


def findings(found: Iterable[tuple[str, list[str]]]) -> tuple[Finding, ...]:
    """Findings from kinds and their places; kinds without any are left out."""
    return tuple(Finding(kind=kind, places=tuple(places)) for kind, places in found if places)
