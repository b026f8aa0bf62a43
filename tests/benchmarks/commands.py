"""How long the command line takes: help, a dry run of a hundred runs, and status and report over many runs."""

import os
import tempfile
from pathlib import Path

import fleet
import timing


def run() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        environment = os.environ | {"XDG_CACHE_HOME": f"{folder}/cache", "DETRUN_STATE": f"{folder}/state"}
        times = timing.of_command("--help", environment=environment)
        print(timing.row("detrun --help", times, 0.1))
        sweep = ",".join(str(1e-3 / (1 + step)) for step in range(100))
        dry = ("submit", "digits", "--set", f"optim.lr={sweep}", "--on", "slurm", "-n", "--runs", f"{folder}/none")
        print(timing.row("plan and dry run of 100 runs", timing.of_command(*dry, environment=environment), 0.5))
        for count, budget_s in ((100, None), (1_000, 0.4), (10_000, 1.5)):
            runs = folder / str(count)
            fleet.write(runs, count)
            times = timing.of_command("status", "--runs", str(runs), environment=environment)
            print(timing.row(f"status over {count:,} runs", times, budget_s))
        times = timing.of_command("report", "--runs", f"{folder}/1000", environment=environment)
        print(timing.row("report over 1,000 runs", times, 1.0))
