"""The command line: parses, calls `jobs` and `detrun`'s own parts, and prints errors as `error:` and `hint:` lines.

stdout is data, stderr is talk. Nothing heavy is imported before a verb needs it.
"""

import gc
import sys
from typing import Annotated

import typer

from detector.errors import UserError
from detrun import control, data, export, logs, predict, report, status, submit

app = typer.Typer(
    name="detrun",
    help="Run object detector training on a Slurm cluster or on this machine, and say which run is better.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("submit")(submit.command)
app.command("status")(status.command)
app.command("report")(report.command)
app.command("logs")(logs.command)
app.command("cancel")(control.cancel)
app.command("retry")(control.retry)
app.command("predict")(predict.command)
app.command("export")(export.command)
app.add_typer(data.app, name="data")


@app.callback(invoke_without_command=True)
def root(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show a traceback with every error.")] = False,
) -> None:
    """Options before the verb."""
    if version:
        from importlib.metadata import version as installed

        typer.echo(installed("detrun"))
        raise typer.Exit
    _Debug.on = debug


class _Debug:
    on = False


def main() -> None:
    """The program. Exit codes: 0 fine, 1 error, 2 usage, 3 a watched run failed, 130 interrupted."""
    # A table of ten thousand runs is a million objects, among which the collector finds nothing, again and again.
    gc.set_threshold(1_000_000)
    sys.argv[1:] = seconds_of_watch(sys.argv[1:])
    try:
        app()
    except UserError as error:
        if _Debug.on:
            raise
        typer.echo(f"error: {error}", err=True)
        if error.hint:
            typer.echo(f"hint: {error.hint}", err=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        # The reader, `head` for instance, has seen enough.
        sys.stderr.close()
        sys.exit(0)


def seconds_of_watch(arguments: list[str]) -> list[str]:
    """Spell `--watch 5` and `-w 5` as `--watch --every 5`: an option's value is optional only here."""
    spelled: list[str] = []
    for argument in arguments:
        if spelled and spelled[-1] in ("-w", "--watch") and _is_seconds(argument):
            spelled += ["--every", argument]
        elif argument.startswith("--watch="):
            spelled += ["--watch", "--every", argument.removeprefix("--watch=")]
        else:
            spelled.append(argument)
    return spelled


def _is_seconds(text: str) -> bool:
    """A short number; six digits and more may be a run's hash."""
    return len(text) < 6 and text.replace(".", "", 1).isdigit()


if __name__ == "__main__":
    main()
