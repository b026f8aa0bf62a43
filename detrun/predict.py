"""`detrun predict`: a run's best checkpoint on any images. The work is done by a process of the trainer."""

import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from detrun.options import OneRun, RunsFolder


def command(
    run: OneRun,
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="Image files.", exists=True, dir_okay=False)],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where results and pictures go.")] = Path(
        "predictions"
    ),
    threshold: Annotated[
        float, typer.Option("--threshold", metavar="S", min=0, max=1, help="Draw boxes above this score.")
    ] = 0.3,
    folder: RunsFolder = None,
) -> None:
    """Find objects in images: writes results.json in COCO's format, and each image with its boxes."""
    from jobs.rundir import default_runs
    from jobs.select import one

    directory = one(run, folder or default_runs())
    program = [sys.executable, "-m", "detector.predict", str(directory.path)]
    options = ["--out", str(out), "--threshold", str(threshold)]
    done = subprocess.run([*program, *options, "--", *map(str, images)], check=False)
    if done.returncode:
        raise typer.Exit(done.returncode)
