"""The user's settings, `~/.config/detrun/config.toml`: site profiles, and bounds of the local queue.

[profile.a100]            # detrun submit --profile a100
partition = "gpu"
account = "vision"
setup = ["module load cuda"]

[local]                   # what --on local may hand out; all there is without it
gpus = [0, 1]
cpus = 16
"""

import os
import tomllib
from pathlib import Path
from typing import Any

import msgspec

from detector.config import nearest
from detector.errors import UserError


class Local(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Bounds of the local queue, `None` for what the machine has."""

    gpus: list[int] | None = None
    cpus: int | None = None


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole file. A profile is a `[resources]` table."""

    profile: dict[str, dict[str, Any]] = {}
    local: Local = Local()


def path() -> Path:
    """`$XDG_CONFIG_HOME/detrun/config.toml`, else under `~/.config`."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "detrun" / "config.toml"


def load() -> Settings:
    """The user's settings, defaults where there is no file.

    Raises:
        UserError: the file is no TOML or has keys that mean nothing.
    """
    file = path()
    try:
        return msgspec.convert(tomllib.loads(file.read_text()), Settings)
    except FileNotFoundError:
        return Settings()
    except (OSError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise UserError(f"{file}: {error}", "it takes [profile.NAME] and [local]") from None


def profile(name: str) -> dict[str, Any]:
    """A profile's `[resources]` table.

    Raises:
        UserError: there is no such profile.
    """
    profiles = load().profile
    if name not in profiles:
        known = ", ".join(f"`{known}`" for known in profiles) or "none"
        raise UserError(f"unknown profile `{name}`", nearest(name, list(profiles)) or f"{path()} has {known}")
    return profiles[name]
