"""Many runs on a private Slurm, preempted, requeued, killed and retried at random until all are done.

    python tests/benchmarks/soak.py [--runs 200] [--kind count|train] [--seed 0]

`count` runs are torchrun jobs that only count and take seconds; `train` runs are real trainings on tiny data. Prints a
result in Markdown and exits 1 where a run is not done, a step was lost, a process is left, a record is broken, or a
run needed more attempts than was done to it.
"""

import argparse
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from datetime import date
from pathlib import Path

import msgspec
import psutil

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import timing
import tiny_data
from checkpoints import fingerprint
from command import Detrun
from counting import count, counted
from processes import environment
from slurm_cluster import Cluster

from detector.records import Event, Metrics
from jobs import records
from jobs.records import Job, Run
from jobs.rundir import RunDir

THEIRS = Path(__file__).resolve().parent.parent / "theirs"
STEPS = 400
EPOCHS = 4
BETWEEN_S = 2.0
# Else the last runs get all that is left, and never end.
MOST = 3
DISTURBANCES = ("preempt", "requeue", "terminate", "kill rank", "kill worker", "cancel")


class Soak:
    """One soak: the cluster, the runs, and what was done to them."""

    def __init__(self, folder: Path, options: argparse.Namespace) -> None:
        self.options = options
        self.dice = random.Random(options.seed)
        self.cluster = Cluster(folder / "slurm")
        data = tiny_data.write(folder / "data")
        self.detrun = Detrun(folder, data, **self.cluster.env)
        self.project = shutil.copytree(THEIRS, folder / "project")
        self.done: Counter[str] = Counter()
        self.aimed_at: Counter[str] = Counter()
        self.may_have_met: Counter[str] = Counter()
        self.attempts: list[int] = []

    def go(self) -> list[str]:
        """Run it to the end; what is wrong afterwards."""
        self.cluster.start()
        try:
            runs = self._submit()
            self._disturb(runs)
            self._finish(runs)
            return self._wrong(runs)
        finally:
            self.cluster.stop()

    def _submit(self) -> list[str]:
        seeds = ",".join(map(str, range(self.options.runs)))
        if self.options.kind == "count":
            recipe = self.project / "count.toml"
            recipe.write_text(recipe.read_text().replace("max_requeues = 3", "max_requeues = 1000"))
            sets = ("--set", f"seed={seeds}", "--set", f"steps={STEPS}")
            planned = self.detrun.json("submit", str(recipe), "--on", "slurm", *sets)["runs"]
        else:
            every = ",".join(str(600 + place) for place in range(self.options.runs))
            sets = ("--set", f"checkpoint.every_min={every}", "--set", f"eval.every={EPOCHS}")
            planned = self.detrun.submit("--on", "slurm", "--cpus", "1", *sets, epochs=EPOCHS)
        return [run["id"] for run in planned]

    def _disturb(self, runs: list[str]) -> None:
        """One disturbance every few seconds until as many were made as there are runs, or all runs are done."""
        while self.aimed_at.total() < len(runs):
            rows = self.detrun.status()
            going = [row for row in rows if row["state"] == "running" and self.aimed_at[row["id"]] < MOST]
            if going:
                self._disturb_one(self.dice.choice(DISTURBANCES), self.dice.choice(going), rows)
            elif all(row["state"] == "done" or self.aimed_at[row["id"]] >= MOST for row in rows):
                return
            self._retry()
            time.sleep(BETWEEN_S)

    def _disturb_one(self, what: str, row: dict[str, str], rows: list[dict[str, str]]) -> None:
        self.done[what] += 1
        self.aimed_at[row["id"]] += 1
        met = [each for each in rows if each["state"] != "done"] if what == "preempt" else [row]
        self.may_have_met.update(each["id"] for each in met)
        if what == "preempt":
            node = self.dice.choice(("n1", "n2"))
            urgent = ("-p", "urgent", "-w", node, "--exclusive", "-o", "/dev/null", "--wrap", "sleep 1")
            self.cluster.run("sbatch", *urgent)
        elif what == "requeue":
            self.cluster.run("scontrol", "requeue", row["job_id"], check=False)
        elif what == "terminate":
            # scancel waits for a job that is not there any more.
            self.cluster.run("timeout", "5", "scancel", "--signal=TERM", row["job_id"], check=False)
        elif what == "cancel":
            self.detrun("cancel", row["id"], code=None)
        else:
            self._kill(row["path"], rank=what == "kill rank")

    def _kill(self, run: str, *, rank: bool) -> None:
        marked = [process for process in psutil.process_iter() if environment(process).get("DETRUN_RUN") == run]
        victims = [process for process in marked if ("RANK" in environment(process)) is rank]
        if victims:
            victim = self.dice.choice(victims)
            if victim.is_running():
                victim.kill()

    def _retry(self) -> bool:
        """Try again what ended early; whether there was anything."""
        ended = [row["id"] for row in self.detrun.status() if row["state"] in ("failed", "cancelled", "lost")]
        if ended:
            self.done["retry"] += len(ended)
            self.detrun("retry", *ended, code=None)
        return bool(ended)

    def _finish(self, runs: list[str]) -> None:
        deadline = time.monotonic() + self.options.patience_min * 60
        while time.monotonic() < deadline:
            if not self._retry() and all(row["state"] == "done" for row in self.detrun.status(*runs)):
                return
            time.sleep(BETWEEN_S)

    def _wrong(self, runs: list[str]) -> list[str]:
        states = Counter(row["state"] for row in self.detrun.status(*runs))
        attempts = {row["id"]: row["attempts"] for row in self.detrun.status(*runs)}
        self.attempts = list(attempts.values())
        wrong = [f"{states}"] if states != {"done": len(runs)} else []
        wrong += [f"too many attempts: {run}" for run in runs if attempts[run] > 1 + self.may_have_met[run]]
        wrong += [line for run in runs for line in self._broken(self.detrun.runs / run)]
        wrong += self._lost(runs)
        wrong += [f"left over: {process}" for process in self.cluster.job_processes()]
        return wrong

    def _lost(self, runs: list[str]) -> list[str]:
        """Runs that lost a step or made one twice, by what they ended with."""
        folders = [self.detrun.runs / run for run in runs]
        if self.options.kind == "count":
            ends = {folder.name: counted(folder) for folder in folders}
            good = [count(STEPS, seed) for seed in range(len(runs))]
            return [f"lost a step: {run}" for run, right in zip(ends, good, strict=True) if ends[run] != right]
        ends = {folder.name: fingerprint(folder / "checkpoints" / "last.pt") for folder in folders}
        usual = Counter(ends.values()).most_common(1)[0][0]
        return [f"ended with other bits: {run}" for run, end in ends.items() if end != usual]

    def _broken(self, path: Path) -> list[str]:
        """Records that do not read whole."""
        run = RunDir(path)
        wrong = [f"{path}: no run.json"] if records.read_record(run.run_json, Run) is None else []
        wrong += [f"{path}: no job.json"] if records.read_record(run.job_json, Job) is None else []
        for file, kind in ((run.events, Event), (run.metrics, Metrics)):
            for line in file.read_bytes().splitlines() if file.exists() else ():
                try:
                    msgspec.json.decode(line, type=kind)
                except msgspec.MsgspecError:
                    wrong.append(f"{file}: {line[:80]!r}")
        return wrong + [f"{path}: left {name}" for name in path.glob(".*.json.*")]


def main() -> int:
    parser = argparse.ArgumentParser(description="Soak of runs on a private Slurm.")
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--kind", choices=("count", "train"), default="count")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--patience-min", type=float, default=60.0)
    options = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="soak-") as name:
        soak = Soak(Path(name), options)
        wrong = soak.go()
    what = "torchrun jobs that count" if options.kind == "count" else "trainings of yolov3-tiny on tiny data"
    print(f"## {date.today()}: {options.runs} {what}\n\n{timing.machine()}; seed {options.seed}\n")
    print(f"- {(time.monotonic() - started) / 60:.1f} min")
    print("- disturbances: " + ", ".join(f"{count} x {what}" for what, count in sorted(soak.done.items())))
    print(f"- attempts: {sum(soak.attempts)}, at most {max(soak.attempts)} for one run")
    print("- " + ("; ".join(wrong) if wrong else "every run done, no step lost, no process left, no record broken"))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
