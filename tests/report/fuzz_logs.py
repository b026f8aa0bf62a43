"""Damages logs at random and reads them: nothing may be raised, and no number may be claimed that is not there.

    python tests/report/fuzz_logs.py FOLDER [LINES] [SEED]

FOLDER holds logs to start from. Prints what it did; ends with 1 at the first log that is misread, and keeps it.
"""

import random
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from report_logs import damaged, invented

from detrun.readers.file import read_file
from detrun.readers.source import Source, SourceError, text_of

_PAGE_LINES = 300
_LONGEST_LINE = 6000


def fuzz(sources: Sequence[Path], lines: int, seed: int, folder: Path) -> tuple[int, int]:
    """Read about as many damaged lines as asked for; returns how many, and how many evaluations they held.

    Raises:
        AssertionError: a log claims a number that it does not hold; it stays in `folder`.
    """
    rng = random.Random(seed)
    pages = [[line[:_LONGEST_LINE] for line in path.read_bytes().split(b"\n")] for path in sources]
    telling = [line for page in pages for line in page if b"AP" in line or b"IoU" in line or b"eval" in line]
    path = folder / "log.txt"
    done = evaluations = 0
    while done < lines:
        page = rng.choice(pages)
        start = rng.randrange(max(1, len(page) - _PAGE_LINES))
        mutated = damaged(rng, page[start : start + _PAGE_LINES], telling)
        path.write_bytes(b"\n".join(mutated))
        logs = read_file(path)
        if isinstance(logs, list):
            evaluations += sum(len(log.evaluations) for log in logs)
            claims = invented(logs, _text(path))
            assert not claims, f"seed {seed}, after {done} lines: {path} holds no {claims[:5]}"
        done += len(mutated)
    return done, evaluations


def _text(path: Path) -> str:
    """The clean text, which numbers are searched in: escape sequences may stand inside a number."""
    try:
        return "".join(map(text_of, Source(path).chunks()))
    except SourceError:
        return ""


def main() -> None:
    """Run from the command line."""
    where, lines = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1_000_000
    seed = int(sys.argv[3]) if len(sys.argv) > 3 else 0
    sources = [path for path in sorted(where.rglob("*")) if path.is_file() and path.name != "expected.json"]
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    started = time.monotonic()
    done, evaluations = fuzz(sources, lines, seed, folder)
    print(
        f"{done} lines, {evaluations} evaluations, {time.monotonic() - started:.0f} s: nothing raised, nothing invented"
    )


if __name__ == "__main__":
    main()
