"""Which run a block of a Markdown page belongs to: the headings and list items above its code fence."""

import re

from detrun.readers.names import printable

_FENCE = re.compile(r"\s*(?:```|~~~)")
_HEADING = re.compile(r"\s{0,3}(?P<marks>#{1,6})\s+(?P<text>.*\S)")
_ITEM = re.compile(r"(?P<indent>\s*)(?:[*+-]|\d{1,3}[.)])\s+(?P<text>.*\S)")
_BOLD = re.compile(r"\s{0,3}(?:\*\*|__)(?P<text>[^*_]+)(?:\*\*|__):?\s*$")
_LINK = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")
_DECORATION = re.compile(r"[*`~]+|(?<!\w)_+|_+(?!\w)|<[^>]*>")
_LONGEST = 80


class Titles:
    """The path of headings and list items, advanced through the text between the blocks of a page."""

    def __init__(self) -> None:
        self._path: list[tuple[int, str]] = []
        self._inside = False

    def concern(self, text: bytes, *, quoted: bool) -> bool:
        """Whether a text can change the titles: in Markdown, not in a plain log."""
        return self._inside or quoted or b"```" in text or b"~~~" in text

    def above(self, text: str, *, quoted: bool = False) -> tuple[str, ...]:
        """The titles above a block, given the text since the block before it.

        Lines that look like titles count only outside code fences, and only if the block stands inside one or
        is `quoted` by `>`: in a plain log they are comments, bullets or shell traces.
        """
        path, inside = list(self._path), self._inside
        for line in text.split("\n"):
            if _FENCE.match(line):
                inside = not inside
            elif not inside and (title := _title(line)):
                path = [outer for outer in path if outer[0] < title[0]] + [title]
        if inside or quoted:
            self._path, self._inside = path, inside
        return self.path

    @property
    def path(self) -> tuple[str, ...]:
        return tuple(text for _, text in self._path)


def _title(line: str) -> tuple[int, str] | None:
    """The depth and text of a title: headings lie above bold lines, those above list items."""
    if found := _HEADING.match(line):
        depth = len(found["marks"])
    elif found := _BOLD.match(line):
        depth = 7
    elif found := _ITEM.match(line):
        depth = 8 + len(found["indent"])
    else:
        return None
    text = plain(found["text"])
    return (depth, text) if text else None


def plain(text: str) -> str:
    """A title without markup, closing colon and characters that no terminal should see."""
    text = _DECORATION.sub("", _LINK.sub(r"\1", text)).rstrip("# ").rstrip(":").strip()
    return printable(text)[:_LONGEST].strip()
