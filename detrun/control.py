"""`detrun cancel` and `detrun retry`."""

import typer

from detrun.options import Json, RunsFolder, SomeRuns


def cancel(runs: SomeRuns, folder: RunsFolder = None, as_json: Json = False) -> None:
    """End runs and every process of theirs. A cancelled run is never requeued; retry resumes it."""
    from jobs.control import cancel as end

    ended = end(runs, runs=folder)
    if as_json:
        _json({"schema": 1, "cancelled": ended})
    elif ended:
        typer.echo("\n".join(f"cancelled {run}" for run in ended))
    else:
        typer.echo("nothing to cancel: none of them is going", err=True)


def retry(runs: SomeRuns, folder: RunsFolder = None, as_json: Json = False) -> None:
    """Start runs that ended early again, from their last checkpoints."""
    from jobs.control import retry as again

    jobs = again(runs, runs=folder)
    if as_json:
        _json({"schema": 1, "submitted": jobs})
        return
    for run, job in jobs.items():
        typer.echo(f"submitted {run}" + (f" as job {job}" if job else ""))
    typer.echo("Next: detrun status --watch", err=True)


def _json(value: object) -> None:
    import msgspec

    typer.echo(msgspec.json.encode(value).decode())
