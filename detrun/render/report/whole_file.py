"""Replaces a file as a whole: a reader sees the old text or the new one, never a part."""

import os
from pathlib import Path


def replace(path: Path, text: str) -> None:
    """Write beside the file, fsync, rename.

    Raises:
        OSError: the folder is not there, or cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
