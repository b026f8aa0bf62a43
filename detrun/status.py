"""`detrun status`: where runs stand, once or until they have ended."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from detrun.options import Every, Json, RunsFolder, Selectors

if TYPE_CHECKING:
    from jobs.overview import Status

FAILED = 3
INTERRUPTED = 130


def _states(incomplete: str) -> list[str]:
    from jobs.state import STATES

    return [state for state in STATES if state.startswith(incomplete)]


def command(
    runs: Selectors = None,
    watch: Annotated[bool, typer.Option("-w", "--watch", help="Look again until all have ended.")] = False,
    every: Every = 2.0,
    state: Annotated[
        str | None, typer.Option("--state", metavar="S", help="Only runs in this state.", autocompletion=_states)
    ] = None,
    show_all: Annotated[bool, typer.Option("--all", help="Show every run, however old.")] = False,
    folder: RunsFolder = None,
    as_json: Json = False,
) -> None:
    """Where every run stands: scheduler and trainer in one table."""
    from detector.config import nearest
    from detector.errors import UserError
    from jobs.state import STATES

    if state is not None and state not in STATES:
        raise UserError(
            f"--state {state}: no such state", nearest(state, list(STATES)) or "one of " + ", ".join(STATES)
        )
    if watch and not as_json:
        raise typer.Exit(watch_runs(runs or [], folder, every, state=state, show_all=show_all))
    known = _looker(runs or [], folder, state)()
    if as_json:
        import msgspec

        typer.echo(msgspec.json.encode(known).decode())
        return
    if len(known.runs) == 1 and runs and len(runs) == 1:
        from detrun.render.run import detail

        typer.echo(detail(known.runs[0]))
    else:
        from detrun.render import status as screen

        typer.echo(screen.overview(known, show_all=show_all))


def watch_runs(
    selectors: Sequence[str], folder: Path | None, every_s: float, *, state: str | None = None, show_all: bool = False
) -> int:
    """Show runs until all have ended; returns the exit code. An interrupt detaches and the runs go on."""
    from detrun.render import watch as screen

    try:
        last = screen.follow(_looker(selectors, folder, state), every_s, show_all=show_all)
    except KeyboardInterrupt:
        print("detached; the runs go on. Next: detrun status", file=sys.stderr)  # noqa: T201
        return INTERRUPTED
    return FAILED if any(row.state in ("failed", "lost") for row in last.runs) else 0


def _looker(selectors: Sequence[str], folder: Path | None, state: str | None) -> "Callable[[], Status]":
    """One look after the other; the runs of other programs are filled in from their logs."""
    from detrun.readers.foreign_progress import ForeignProgress
    from jobs.overview import status

    foreign = ForeignProgress()
    return lambda: foreign.fill(status(selectors, runs=folder, state=state))
