"""`--set key=value[,value]` and sweeps: text to values, and grids of overrides. Pure."""

import itertools
import tomllib
from collections.abc import Iterable, Mapping
from typing import Any

from detector.config import ConfigError

Override = dict[str, Any]


def parse(text: str) -> tuple[str, list[Any]]:
    """One `--set`: its key and its values, of which several make a sweep.

    Values are TOML literals; what is no literal is a string, so `fp16` needs no quotes.

    Raises:
        ConfigError: no `=`, no key or no value.
    """
    key, equals, values = text.partition("=")
    key = key.strip()
    if not equals or not key:
        raise ConfigError("", f"--set {text!r} is not KEY=VALUE", "for instance --set optim.lr=1e-3")
    parts = [part.strip() for part in _split(values)]
    if "" in parts:
        raise ConfigError(key, "has an empty value", f"--set {key}=VALUE, or --set '{key}=\"\"' for an empty string")
    return key, [literal(part) for part in parts]


def literal(text: str) -> Any:
    """A TOML value, or the text itself."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def grid(axes: Mapping[str, Iterable[Any]]) -> list[Override]:
    """Every combination of the axes' values, the last axis fastest."""
    return [
        dict(zip(axes, values, strict=True))
        for values in itertools.product(*(_distinct(axis) for axis in axes.values()))
    ]


def apply(table: Mapping[str, Any], overrides: Override) -> dict[str, Any]:
    """A copy of a nested table with dotted keys set.

    Raises:
        ConfigError: a key runs through a value that is no table.
    """
    result = _copied(table)
    for key, value in overrides.items():
        *sections, last = key.split(".")
        inner = result
        for section in sections:
            inner = inner.setdefault(section, {})
            if not isinstance(inner, dict):
                raise ConfigError(key, f"`{section}` is a value, not a section")
        inner[last] = value
    return result


def lookup(table: Mapping[str, Any], key: str) -> Any:
    """The value at a dotted key, `None` where there is none."""
    value: Any = table
    for name in key.split("."):
        if not isinstance(value, Mapping) or name not in value:
            return None
        value = value[name]
    return value


def show(value: Any) -> str:
    """A value as a person would type it."""
    if isinstance(value, list | tuple):
        return "[" + ",".join(show(item) for item in value) + "]"
    return str(value)


def _copied(table: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _copied(value) if isinstance(value, Mapping) else value for key, value in table.items()}


def _distinct(values: Iterable[Any]) -> list[Any]:
    return list({repr(value): value for value in values}.values())


def _split(text: str) -> list[str]:
    """Split at commas that stand outside brackets and quotes."""
    parts, depth, quote, start = [], 0, "", 0
    for position, char in enumerate(text):
        if quote:
            quote = "" if char == quote else quote
        elif char in "\"'":
            quote = char
        elif char in "[{":
            depth += 1
        elif char in "]}":
            depth -= 1
        elif char == "," and depth == 0:
            parts.append(text[start:position])
            start = position + 1
    return [*parts, text[start:]]
