"""Recipes: TOML files that say what to train, what it needs and what to sweep. Reads files, nothing else."""

import tomllib
from pathlib import Path
from typing import Any

import msgspec

from detector.config import nearest
from jobs import resources
from jobs.errors import RecipeError
from jobs.resources import Resources

SHIPPED = Path(__file__).parent / "recipes"

_TABLES = ("description", "train", "command", "params", "resources", "sweep")


class Recipe(msgspec.Struct, frozen=True, kw_only=True):
    """One recipe. `train` is the `[train]` table as written, unchecked: overrides come first.

    A recipe of another trainer has `command`, an argument list whose `{dotted.key}` are filled from
    `params` and whose `{run_dir}` is the run's directory, in place of `train`.
    """

    name: str
    path: Path
    description: str
    train: dict[str, Any]
    command: tuple[str, ...] | None
    params: dict[str, Any]
    resources: Resources
    sweep: dict[str, list[Any]]


def shipped() -> dict[str, Path]:
    """The recipes that come with detrun, by name."""
    return {path.stem: path for path in sorted(SHIPPED.glob("*.toml"))}


def load(name: str) -> Recipe:
    """A shipped recipe by name, or a file by path.

    Raises:
        RecipeError: no such recipe, no TOML, or a table that no recipe has.
        ResourceError: a bad `[resources]` table.
    """
    path = _find(name)
    table = _read(path)
    for key in table:
        if key not in _TABLES:
            raise RecipeError(f"{path}: unknown table `{key}`", nearest(key, list(_TABLES)))
    if ("train" in table) == ("command" in table):
        raise RecipeError(f"{path}: needs either `[train]` or `command`", "`[train]` is for detrun's own trainer")
    return Recipe(
        name=path.stem,
        path=path,
        description=str(table.get("description", "")),
        train=_table(table, "train", path),
        command=_command(table, path),
        params=_table(table, "params", path),
        resources=resources.load(_table(table, "resources", path), str(path)),
        sweep=_sweep(_table(table, "sweep", path), path),
    )


def _find(name: str) -> Path:
    path = Path(name)
    if path.suffix == ".toml" or len(path.parts) > 1:
        if path.is_file():
            return path.resolve()
        raise RecipeError(f"no recipe file {path}", "`detrun submit --list` shows the recipes that come with detrun")
    recipes = shipped()
    if name in recipes:
        return recipes[name]
    close = nearest(name, list(recipes))
    more = "`detrun submit --list` shows all"
    raise RecipeError(f"unknown recipe `{name}`", f"{close} {more}" if close else more)


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path} is no TOML: {error}") from None
    except OSError as error:
        raise RecipeError(f"cannot read {path}: {error.strerror}") from None


def _table(table: dict[str, Any], key: str, path: Path) -> dict[str, Any]:
    value = table.get(key, {})
    if not isinstance(value, dict):
        raise RecipeError(f"{path}: `{key}` is not a table", f"write it as [{key}]")
    return value


def _command(table: dict[str, Any], path: Path) -> tuple[str, ...] | None:
    command = table.get("command")
    if command is None:
        return None
    if not isinstance(command, list) or not command or not all(isinstance(part, str) for part in command):
        raise RecipeError(
            f"{path}: `command` is not a list of strings", 'for instance command = ["train.py", "--lr", "{lr}"]'
        )
    return tuple(command)


def _sweep(table: dict[str, Any], path: Path) -> dict[str, list[Any]]:
    for key, values in table.items():
        if isinstance(values, dict):
            raise RecipeError(
                f"{path}: sweep over `{key}.…`", f'quote dotted keys: "{key}.{next(iter(values))}" = [...]'
            )
        if not isinstance(values, list) or not values:
            raise RecipeError(f"{path}: sweep over `{key}` has no list of values", f'for instance "{key}" = [1, 2]')
    return table
