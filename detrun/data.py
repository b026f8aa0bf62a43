"""`detrun data check` and `detrun data fetch`: look at a data set before training on it, and bring public ones here."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from detector.errors import UserError
from detrun.options import Json

if TYPE_CHECKING:
    from detector.config import Data
    from detector.data.check import Check

app = typer.Typer(
    help="Check a data set, or fetch a public one.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command()
def check(
    root: Annotated[str, typer.Argument(metavar="ROOT", help="The folder with the data, as `data.root`.")],
    sets: Annotated[
        list[str] | None, typer.Option("--set", metavar="K=V", help="Set a key of `data`, as for submit.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Count what is in a data set, and name every problem with the file that has it.

    Every file is read. Exit code 1: no run could train on it.
    """
    from detector.data import check as looking

    result = looking.check(_data(root, sets or []), progress=_count)
    if as_json:
        import msgspec

        typer.echo(msgspec.json.encode(result).decode())
    else:
        from detrun.render import data as screen

        typer.echo(screen.checked(result))
        _complain(result)
    raise typer.Exit(1 if result.errors else 0)


def _names(incomplete: str) -> list[str]:
    from detector.data.archives import DATA_SETS

    return [name for name in DATA_SETS if name.startswith(incomplete)]


@app.command()
def fetch(
    name: Annotated[str, typer.Argument(metavar="NAME", help="coco2017, voc2007 or bccd.", autocompletion=_names)],
    root: Annotated[Path, typer.Argument(metavar="ROOT", help="The folder to bring it to.")],
    mirror: Annotated[
        str, typer.Option("--mirror", metavar="URL", help="A folder of another server with the same files.")
    ] = "",
) -> None:
    """Download a public data set, verify it and unpack it; goes on where it stopped."""
    from detector.config import nearest
    from detector.data.archives import DATA_SETS
    from detector.data.fetch import fetch as bring

    if name not in DATA_SETS:
        hint = nearest(name, list(DATA_SETS)) or "there are " + ", ".join(DATA_SETS)
        raise UserError(f"unknown data set `{name}`", hint)
    bring(DATA_SETS[name], root.expanduser(), mirror)
    typer.echo(root.expanduser().absolute())
    typer.echo(f"Next: detrun data check {root}", err=True)


def _data(root: str, sets: list[str]) -> "Data":
    """The `data` section of a run's configuration."""
    from detector import config
    from jobs import overrides

    chosen: dict[str, Any] = {"data.root": root}
    for text in sets:
        key, values = overrides.parse(text)
        if not key.startswith("data.") or len(values) > 1:
            raise UserError(f"--set {text}: is not one value of a key of `data`", "--set data.train_images=FOLDER")
        chosen[key] = values[0]
    return config.load(overrides.apply({}, chosen)).data


def _count(done: int, total: int) -> None:
    """Say on a terminal how far it is."""
    if sys.stderr.isatty() and (done % 200 == 0 or done == total):
        typer.echo("\r\033[K" if done == total else f"\r{done} of {total} images", nl=False, err=True)


def _complain(result: "Check") -> None:
    for problem, hint in result.errors:
        typer.echo(f"error: {problem}", err=True)
        if hint:
            typer.echo(f"hint: {hint}", err=True)
