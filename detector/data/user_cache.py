"""The folder for what can be made again: composed, converted and unpacked data. Writes whole files or none."""

import os
import tempfile
from pathlib import Path

from detector.errors import UserError


def user_cache() -> Path:
    """`$DETRUN_CACHE`, else `$XDG_CACHE_HOME/detrun`, else `~/.cache/detrun`; it need not exist."""
    own = os.environ.get("DETRUN_CACHE")
    if own:
        return Path(own).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "detrun"


def keep(name: str, content: bytes) -> Path:
    """A file of the cache with this content; one that is there already is left as it is.

    The name must follow from the content: processes that keep the same one at once do no harm.

    Raises:
        UserError: the cache cannot be written.
    """
    path = user_cache() / name
    if path.is_file() and path.stat().st_size == len(content):
        return path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}-") as temporary:
            with (Path(temporary) / path.name).open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            Path(file.name).replace(path)
    except OSError as error:
        hint = "`DETRUN_CACHE=/path` in the environment names another folder"
        raise UserError(f"{path}: cannot be written: {error.strerror}", hint) from None
    return path
