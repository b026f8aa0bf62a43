"""Options and arguments that several verbs share, and the completion of their values."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer


def run_ids(incomplete: str) -> Iterator[str]:
    """Run ids, recipes with runs, and `@last`, for the shell."""
    runs = Path(os.environ.get("DETRUN_RUNS") or "runs")
    try:
        ids = sorted(name for name in os.listdir(runs) if not name.startswith("."))  # noqa: PTH208
    except OSError:
        ids = []
    words = [*ids, *sorted({name.rpartition("-")[0] for name in ids}), "@last"]
    return (word for word in words if word.startswith(incomplete))


RunsFolder = Annotated[
    Path | None, typer.Option("--runs", metavar="DIR", help="The runs folder.  [default: $DETRUN_RUNS or ./runs]")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Selectors = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[RUN]...",
        help="Run id, unique prefix, recipe, sweep or @last.",
        autocompletion=run_ids,
        show_default=False,
    ),
]
SomeRuns = Annotated[
    list[str],
    typer.Argument(
        metavar="RUN...",
        help="Run id, unique prefix, recipe, sweep or @last.",
        autocompletion=run_ids,
        show_default=False,
    ),
]
OneRun = Annotated[
    str,
    typer.Argument(metavar="RUN", help="Run id, unique prefix or @last.", autocompletion=run_ids, show_default=False),
]
Every = Annotated[
    float, typer.Option("--every", metavar="S", min=0.2, help="Seconds between looks while watching; also --watch S.")
]
