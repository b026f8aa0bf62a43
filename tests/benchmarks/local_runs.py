"""Runs of ours through the installed command, on all cores of this machine, one by one, evaluated at their ends."""

import json
import os
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from command import Detrun
from processes import end

_BF16 = ("avx512_bf16", "amx_bf16")


class Outcome(NamedTuple):
    """What became of a run.

    Attributes:
        score: AP, or a classifier's top-1.
        whole_s: from its start to its end, imports and the evaluation included.
        train_s: of its steps alone.
        epochs: as many as asked for.
        images_per_s: of its steps alone.
        parameters: of its model.
        overrides: the keys in which it differs from its recipe.
    """

    score: float
    whole_s: float
    train_s: float
    epochs: int
    images_per_s: float
    parameters: int
    overrides: dict[str, Any]

    @property
    def epoch_s(self) -> float:
        return self.train_s / self.epochs


@contextmanager
def fresh(data: Path) -> Iterator[Detrun]:
    """The command with no runs yet, for a data set; in the end they and their processes are gone."""
    with tempfile.TemporaryDirectory() as name:
        detrun = Detrun(Path(name), data)
        try:
            yield detrun
        finally:
            end(detrun.processes())


def train(detrun: Detrun, recipe: str, data: Path, *options: str, **keys: Any) -> list[Outcome]:
    """The runs of one submission; dots of keys are written as `__`, and a tuple sweeps."""
    values = {"data.root": data, "eval.every": 10**6, "log_every": 1}
    values |= {key.replace("__", "."): value for key, value in keys.items()}
    sets = [word for key, value in values.items() for word in ("--set", f"{key}={_listed(value)}")]
    cores = str(len(os.sched_getaffinity(0)))
    planned = detrun.json("submit", recipe, "--on", "local", "--gpus", "0", "--cpus", cores, *sets, *options)["runs"]
    runs = [run["id"] for run in planned]
    detrun("status", *runs, "--watch", timeout_s=7200)
    return [_outcome(detrun, row) for row in detrun.status(*runs)]


def spread(values: Sequence[float], places: int) -> str:
    """Mean ± sample standard deviation."""
    return f"{statistics.mean(values):.{places}f} ± {statistics.stdev(values):.{places}f}"


def precisions() -> tuple[str, ...]:
    """Those that this CPU computes in, the fastest last: bf16 takes half the time."""
    flags = Path("/proc/cpuinfo").read_text().split()
    return ("fp32", "bf16") if any(flag in flags for flag in _BF16) else ("fp32",)


def row(what: str, runs: Sequence[Outcome]) -> str:
    """A line of the results: AP as mean and SD, then what each run reached and took."""
    raw = ", ".join(f"{run.score:.4f} in {run.whole_s:.0f} s" for run in runs)
    return f"{what:<36}AP {spread([run.score for run in runs], 3)}   raw: {raw}"


def _listed(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _outcome(detrun: Detrun, row: dict[str, Any]) -> Outcome:
    run = detrun.runs / row["id"]
    steps = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    # The first line comes behind the first step.
    train_s = (steps[-1]["t"] - steps[0]["t"]) * len(steps) / (len(steps) - 1)
    batch = json.loads((run / "config.json").read_bytes())["optim"]["batch_size"]
    evaluation = json.loads(next((run / "eval").glob("*.json")).read_bytes())
    return Outcome(
        score=row["metrics"]["top1"] if row["metrics"].get("top1") is not None else row["metrics"]["AP"],
        whole_s=row["ended_at"] - row["started_at"],
        train_s=train_s,
        epochs=steps[-1]["epochs"],
        images_per_s=len(steps) * batch / train_s,
        parameters=evaluation["parameters"],
        overrides=row["overrides"],
    )
