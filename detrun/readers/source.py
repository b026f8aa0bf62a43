"""A streaming source of log text: the bytes of a file in, clean chunks of whole lines out.

Memory is bounded by a few chunks whatever the file holds, a line of 100 MB included. Handles gzip and
zstandard, UTF-16 and UTF-32 (by mark, or by their zero bytes), escape sequences of terminals, and carriage
returns, which end a line as newlines do. Everything else stays bytes: every keyword of a log is ASCII, and
only lines that matter are decoded.
"""

import codecs
import gzip
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

CHUNK_BYTES = 1 << 20
LONGEST_LINE_BYTES = 4 << 20

_PIECE_BYTES, _ZSTD_PIECE_BYTES = 1 << 18, 1 << 14
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_ESCAPE = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b\n]{0,512}(?:\x07|\x1b\\)|[@-Z\\^_])")
_CONTROL = bytes(set(range(1, 32)) - set(b"\a\b\t\n\v\f\r\x1b"))
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


class SourceError(Exception):
    """A file that cannot be read as text; the message is a short reason."""


class Source:
    """One file being read. `damage` names, after reading, what was wrong with it, `""` if nothing."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.damage = ""

    def chunks(self) -> Iterator[bytes]:
        """Clean text as chunks that end with a newline, save the last one.

        Raises:
            SourceError: the file cannot be opened, is empty, or is no text.
        """
        blocks = self._blocks()
        first = next(blocks, b"")
        if not first.strip(b"\0"):
            raise SourceError(self.damage or "empty")
        encoding, mark = _encoding(first)
        if encoding == "utf-8" and _looks_binary(first):
            raise SourceError("not text")
        yield from map(_clean, self._lines(_as_utf8(first[mark:], blocks, encoding)))

    def _blocks(self) -> Iterator[bytes]:
        """The uncompressed bytes in large blocks, as far as they can be had."""
        pieces: list[bytes] = []
        try:
            with self.path.open("rb") as raw:
                for piece in _pieces(raw):
                    pieces.append(piece)
                    if sum(map(len, pieces)) >= CHUNK_BYTES:
                        yield b"".join(pieces)
                        pieces = []
        except (EOFError, zlib.error, gzip.BadGzipFile):
            self.damage = "the compressed file is cut or damaged"
        except OSError as error:
            self.damage = f"cannot be read: {error.strerror or error}"
        if pieces:
            yield b"".join(pieces)

    def _lines(self, blocks: Iterator[bytes]) -> Iterator[bytes]:
        """The same bytes, cut at line ends; of a line beyond all measure only the beginning."""
        rest = b""
        skipping = False
        for block in blocks:
            end = max(block.rfind(b"\n"), block.rfind(b"\r")) + 1
            if skipping and not end:
                continue
            start = 0
            if skipping:
                start, skipping = _first_line_end(block), False
            if end:
                yield rest + block[start:end]
                rest = block[end:]
            else:
                rest += block
            if len(rest) > LONGEST_LINE_BYTES:
                self.damage = f"a line longer than {LONGEST_LINE_BYTES >> 20} MiB was cut"
                yield rest[:LONGEST_LINE_BYTES] + b"\n"
                rest, skipping = b"", True
        if rest:
            yield rest


def text_of(line: bytes) -> str:
    """A line as text: UTF-8, else Latin-1, which takes any byte."""
    try:
        return line.decode()
    except UnicodeDecodeError:
        return line.decode("latin-1")


def _pieces(raw: BinaryIO) -> Iterator[bytes]:
    """The uncompressed bytes of a file.

    Raises:
        EOFError, zlib.error, gzip.BadGzipFile: the compressed file is cut or damaged.
    """
    magic = raw.read(4)
    raw.seek(0)
    if magic == _ZSTD:
        yield from _unzstd(raw)
        return
    stream = gzip.GzipFile(fileobj=raw) if magic.startswith(_GZIP) else raw
    read = getattr(stream, "read1", stream.read)
    while piece := read(_PIECE_BYTES):
        yield piece


def _unzstd(raw: BinaryIO) -> Iterator[bytes]:
    """Frame after frame, in pieces small enough that what they unpack to is, too."""
    import zstandard

    frame, open_frame = zstandard.ZstdDecompressor().decompressobj(), False
    try:
        while piece := raw.read(_ZSTD_PIECE_BYTES):
            while piece:
                yield frame.decompress(piece)
                open_frame, piece = not frame.eof, frame.unused_data
                if frame.eof:
                    frame = zstandard.ZstdDecompressor().decompressobj()
    except zstandard.ZstdError as error:
        raise EOFError from error
    if open_frame:
        raise EOFError


def _encoding(first: bytes) -> tuple[str, int]:
    """The encoding and the length of its mark. Without a mark, zero bytes in every second place tell UTF-16."""
    for mark, encoding in _MARKS:
        if first.startswith(mark):
            return encoding, len(mark)
    head = first[:4096]
    even, odd = head[::2].count(0), head[1::2].count(0)
    if len(head) >= 16 and max(even, odd) > 0.4 * len(head) / 2 and min(even, odd) < 0.05 * len(head) / 2:
        return ("utf-16-le" if odd > even else "utf-16-be"), 0
    return "utf-8", 0


def _as_utf8(first: bytes, blocks: Iterator[bytes], encoding: str) -> Iterator[bytes]:
    if encoding == "utf-8":
        yield first
        yield from blocks
        return
    decoder = codecs.getincrementaldecoder(encoding)(errors="replace")
    yield decoder.decode(first).encode("utf-8", "replace")
    for block in blocks:
        yield decoder.decode(block).encode("utf-8", "replace")


def _looks_binary(first: bytes) -> bool:
    """Whether more than a twentieth of the beginning are control bytes that no terminal prints.

    Zero bytes do not count: a crash leaves them in logs. A tar archive is known by its mark.
    """
    head = first[:65536].replace(b"\0", b"")[:8192]
    return first[257:262] == b"ustar" or len(head) - len(head.translate(None, _CONTROL)) > len(head) / 20


def _first_line_end(block: bytes) -> int:
    ends = [position for position in (block.find(b"\n"), block.find(b"\r")) if position >= 0]
    return min(ends) + 1


def _clean(chunk: bytes) -> bytes:
    if b"\x1b" in chunk:
        chunk = _ESCAPE.sub(b"", chunk)
    if b"\r" in chunk:
        chunk = chunk.replace(b"\r", b"\n")
    if b"\0" in chunk:
        chunk = chunk.replace(b"\0", b"")
    return chunk
