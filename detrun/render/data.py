"""The screen of `detrun data check`. Pure but for asking what stdout is."""

from collections.abc import Iterator

from detector.data.check import Check, ClassCount, Problem, Size, SplitCheck
from detrun.render.grid import Cell, Column, Grid, on_terminal, render

# On a terminal, so many places of one kind are shown; elsewhere all.
_PLACES = 12
# The most frequent sizes that are shown; they can be as many as the images.
_SIZES = 3


def checked(result: Check) -> str:
    """What is there, split by split and class by class, and a row for every problem's place."""
    if result.layout == "classes":
        parts = [f"{result.root}: folders of classes", *([render(_folders(result))] if result.splits else [])]
    else:
        parts = [f"{result.root}: {result.layout.upper()} layout"]
    if result.splits and result.layout != "classes":
        parts += [render(_splits(result)), render(_classes(result))]
    found = _problems(result)
    parts.append(render(found) if found.rows else "no problems")
    return "\n\n".join(parts)


def _splits(result: Check) -> Grid:
    titles = ("IMAGES", "BOXES", "CROWDS", "SMALL", "MEDIUM", "LARGE")
    columns = [Column("SPLIT"), *(Column(title, right=True) for title in titles), Column("IMAGE SIZES")]
    rows = [[Cell(each.split), *_counts(each), Cell(_sizes(each.image_sizes))] for each in result.splits]
    return Grid(columns, rows)


def _counts(split: SplitCheck) -> Iterator[Cell]:
    boxes, crowds = (sum(getattr(each, kind) for each in split.classes) for kind in ("boxes", "crowds"))
    for count in (split.images, boxes, crowds, *split.box_sizes.values()):
        yield Cell(str(count))


def _sizes(sizes: list[Size]) -> str:
    shown = sizes[:_SIZES]
    words = [f"{size.width}x{size.height}" + f" ({size.images})" * (len(sizes) > 1) for size in shown]
    return ", ".join(words) + (f" and {rest} others" if (rest := len(sizes) - len(shown)) else "")


def _classes(result: Check) -> Grid:
    """A class to a row, its counts in each split side by side."""
    columns = [Column("CLASS")]
    for split in result.splits:
        columns += [Column(f"{split.split.upper()} {what}", right=True) for what in ("BOXES", "CROWDS", "IMAGES")]
    names = list(dict.fromkeys(each.name for split in result.splits for each in split.classes))
    by_name = [{each.name: each for each in split.classes} for split in result.splits]
    return Grid(columns, [[Cell(name), *(cell for one in by_name for cell in _class(one.get(name)))] for name in names])


def _folders(result: Check) -> Grid:
    """A class to a row, its images in each split side by side."""
    columns = [Column("CLASS"), *(Column(f"{split.split.upper()} IMAGES", right=True) for split in result.splits)]
    rows = [[Cell("all"), *(Cell(str(split.images)) for split in result.splits)]]
    for row in zip(*(split.classes for split in result.splits), strict=True):
        rows.append([Cell(row[0].name), *(Cell(str(count.images)) for count in row)])
    return Grid(columns, rows)


def _class(count: ClassCount | None) -> list[Cell]:
    """Nothing where the split has no such class."""
    if count is None:
        return [Cell("–", raw="")] * 3
    return [Cell(str(number)) for number in (count.boxes, count.crowds, count.images)]


def _problems(result: Check) -> Grid:
    columns = [Column("SPLIT"), Column("PROBLEM"), Column("FATE"), Column("WHERE")]
    rows = [row for split in result.splits for problem in split.problems for row in _places(split.split, problem)]
    return Grid(columns, rows)


def _places(split: str, problem: Problem) -> Iterator[list[Cell]]:
    """A row for each place; what is no one's mistake is one row with its number."""
    style = "dim" if problem.harmless else "yellow"
    cells = [Cell(split), Cell(problem.what, style), Cell(problem.fate, "dim")]
    if problem.harmless:
        yield [*cells, Cell(f"{len(problem.places)}, such as {problem.places[0]}", "dim")]
        return
    shown = problem.places[:_PLACES] if on_terminal() else problem.places
    for place in shown:
        yield [*cells, Cell(place)]
    if rest := len(problem.places) - len(shown):
        yield [*cells, Cell(f"and {rest} more (--json names them all)", "dim")]
