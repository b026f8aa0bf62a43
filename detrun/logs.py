"""`detrun logs`: what the ranks of a run wrote, over all attempts, and onwards while it runs."""

import time
from typing import Annotated

import typer

from detrun.options import OneRun, RunsFolder

_LOOK_EVERY_S = 0.5


def command(
    run: OneRun,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on until the run has ended.")] = False,
    rank: Annotated[int | None, typer.Option("--rank", metavar="N", min=0, help="Only this rank.")] = None,
    grep: Annotated[str | None, typer.Option("--grep", metavar="TEXT", help="Only lines with this text.")] = None,
    attempt: Annotated[int | None, typer.Option("--attempt", metavar="N", min=1, help="Only this attempt.")] = None,
    folder: RunsFolder = None,
) -> None:
    """Show the logs of a run's ranks, each line with its rank where there are several."""
    from jobs.logs import LogReader
    from jobs.overview import status
    from jobs.rundir import default_runs
    from jobs.select import one
    from jobs.state import ENDED

    directory = one(run, folder or default_runs())
    reader = LogReader(directory, rank=rank, attempt=attempt)
    while True:
        ended = not follow or status([directory.id], runs=directory.path.parent).runs[0].state in ENDED
        for line in reader.new_lines(final=ended):
            if grep is None or grep in line:
                typer.echo(line)
        if ended:
            break
        time.sleep(_LOOK_EVERY_S)
    if reader.empty:
        row = status([directory.id], runs=directory.path.parent).runs[0]
        typer.echo(
            f"{row.id} has written no log yet: it is {row.state}" + (f" ({row.reason})" if row.reason else ""), err=True
        )
