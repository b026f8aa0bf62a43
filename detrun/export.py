"""`detrun export`: a run's best checkpoint for other programs. The work is done by a process of the trainer."""

import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from detrun.options import Json, OneRun, RunsFolder


def command(
    run: OneRun,
    _onnx: Annotated[bool, typer.Option("--onnx", help="The format: ONNX.")],
    file: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="What to write.  [default: RUN.onnx]", show_default=False)
    ] = None,
    as_json: Json = False,
    folder: RunsFolder = None,
) -> None:
    """Write the network as ONNX, checked against torch on images of the run's val split."""
    from jobs.rundir import default_runs
    from jobs.select import one

    directory = one(run, folder or default_runs())
    program = [sys.executable, "-m", "detector.export", str(directory.path), str(file or f"{directory.id}.onnx")]
    done = subprocess.run([*program, *(["--json"] if as_json else [])], check=False)
    if done.returncode:
        raise typer.Exit(done.returncode)
