"""The shortest names that tell runs apart, from the folders, files and headings that lead to them. No I/O."""

from collections import Counter
from collections.abc import Sequence

Trail = tuple[str, ...]


def printable(text: str) -> str:
    """A text without the characters that command a terminal."""
    return "".join(char if char.isprintable() else " " for char in text)


def shortest(trails: Sequence[Trail]) -> list[str]:
    """A name for each trail (outermost first, at least one part), all different.

    The last part where it tells, else with the nearest part before it that does. A last part that all share,
    such as `log`, tells nothing and is left out.
    """
    trails = _without_shared_end(trails)
    names = [trail[-1] for trail in trails]
    taken = Counter(names)
    names = [
        name if taken[name] == 1 else _with_ancestor(trail, [other for other in trails if other[-1] == name])
        for name, trail in zip(names, trails, strict=True)
    ]
    return _numbered(names)


def _without_shared_end(trails: Sequence[Trail]) -> Sequence[Trail]:
    while len(trails) > 1 and len({trail[-1] for trail in trails}) == 1 and all(len(trail) > 1 for trail in trails):
        shorter = [trail[:-1] for trail in trails]
        if len(set(shorter)) < len(set(trails)) or len(set(shorter)) == 1:
            break
        trails = shorter
    return trails


def _with_ancestor(trail: Trail, rivals: list[Trail]) -> str:
    """The last part, behind the nearest part before it by which all rivals differ; else the whole trail."""
    for depth in range(2, max(map(len, rivals)) + 1):
        parts = [rival[-depth] if len(rival) >= depth else "" for rival in rivals]
        if len(set(parts)) == len(rivals) and len(trail) >= depth:
            return f"{trail[-depth]}/{trail[-1]}"
    return "/".join(trail)


def _numbered(names: list[str]) -> list[str]:
    """Names that are still the same get a number."""
    counts, seen = Counter(names), Counter[str]()
    numbered = []
    for name in names:
        seen[name] += 1
        numbered.append(f"{name} #{seen[name]}" if counts[name] > 1 else name)
    return numbered
