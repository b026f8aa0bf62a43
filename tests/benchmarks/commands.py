"""How long the command line takes: help, a dry run of a hundred runs, a submission, status and report over many."""

import os
import sys
import tempfile
from itertools import count
from pathlib import Path

import fleet
import timing

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from slurm_cluster import Cluster
from slurm_daemons import ClusterError

# Of a trainer of ours a thousand runs' checkpoints would have to fit the disk.
COUNTING = Path(__file__).resolve().parent.parent / "theirs" / "count.toml"


def run() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        environment = os.environ | {"XDG_CACHE_HOME": f"{folder}/cache", "DETRUN_STATE": f"{folder}/state"}
        times = timing.of_command("--help", environment=environment)
        print(timing.row("detrun --help", times, 0.1))
        sweep = ",".join(str(1e-3 / (1 + step)) for step in range(100))
        dry = ("submit", "digits", "--set", f"optim.lr={sweep}", "--on", "slurm", "-n", "--runs", f"{folder}/none")
        print(timing.row("plan and dry run of 100 runs", timing.of_command(*dry, environment=environment), 0.5))
        _submit(folder)
        for many, budget_s in ((100, None), (1_000, 0.4), (10_000, 1.5)):
            runs = folder / str(many)
            fleet.write(runs, many)
            times = timing.of_command("status", "--runs", str(runs), environment=environment)
            print(timing.row(f"status over {many:,} runs", times, budget_s))
        times = timing.of_command("report", "--runs", f"{folder}/1000", environment=environment)
        print(timing.row("report over 1,000 runs", times, 1.0))


def _submit(folder: Path) -> None:
    """A sweep of 1,000 runs to a private Slurm on which nothing starts; each time in a runs folder of its own."""
    cluster = Cluster(folder / "slurm")
    number = count()
    try:
        cluster.start()
        cluster.run("scontrol", "update", "partitionname=main", "state=down")
        sweep = ("--set", "seed=" + ",".join(map(str, range(1_000))))
        environment = cluster.env | {"XDG_CACHE_HOME": f"{folder}/cache", "DETRUN_STATE": f"{folder}/state"}

        def once() -> None:
            runs = f"{folder}/sent-{next(number)}"
            timing.once("submit", str(COUNTING), "--on", "slurm", *sweep, "--runs", runs, environment=environment)

        print(timing.row("submit of 1,000 runs to Slurm", timing.of_call(once, runs=3), 5.0))
    except ClusterError as error:
        print(f"submit of 1,000 runs to Slurm: skipped, {error}")
    finally:
        cluster.stop()
