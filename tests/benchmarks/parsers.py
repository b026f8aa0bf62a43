"""How fast logs are read, in CPU time: each real log made 50 MB large, with other decimals in every copy."""

import re
import statistics
import sys
import tempfile
import time
from itertools import cycle
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "report"))

from report_logs import block, values

from detrun.readers.file import read_file

SIZE = 50 << 20
GOAL_MB_S = 50.0
_LOGS = Path(__file__).resolve().parents[3] / "shared" / "logs"
# Decimals of a measured value; those of thresholds follow `=` or `:`.
_DECIMALS = re.compile(rb"(?<![=:\d])(0\.\d)(\d+)")


def run() -> None:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "log.txt"
        _measure("nothing but evaluations", block(values(0.2)).encode(), path)
        _measure("a line of training, no evaluation", b"epoch 3 step 400 loss 1.234 lr 0.001 time 0.5 s\n", path)
        for log in sorted(_LOGS.rglob("*")) if _LOGS.is_dir() else []:
            if log.is_file() and log.suffix not in (".md", ".csv") and log.name != "expected.json":
                _measure(str(log.relative_to(_LOGS)), log.read_bytes().rstrip(b"\n") + b"\n", path)


def _measure(what: str, content: bytes, path: Path) -> None:
    _write(content, path)
    rates = []
    for _ in range(3):
        started = time.process_time()
        logs = read_file(path)
        rates.append(path.stat().st_size / 1e6 / (time.process_time() - started))
    found = sum(len(log.evaluations) for log in logs) if isinstance(logs, list) else 0
    median = statistics.median(rates)
    met = "met" if median >= GOAL_MB_S else "MISSED"
    raw = " ".join(f"{rate:.0f}" for rate in rates)
    print(f"{what:<58}{median:>5.0f} MB/s   goal {GOAL_MB_S:.0f}, {met:<8}{found:>8} evaluations   raw: {raw}")


def _write(content: bytes, path: Path) -> None:
    """Copies of a log that differ in the last decimals of what they measured."""
    turned = [bytes(48 + (digit + copy) % 10 for digit in range(10)) for copy in range(10)]
    tables = [bytes.maketrans(b"0123456789", digits) for digits in turned]
    copies = [
        _DECIMALS.sub(lambda found, table=table: found[1] + found[2].translate(table), content) for table in tables
    ]
    with path.open("wb") as file:
        for copy in cycle(copies):
            file.write(copy)
            if file.tell() >= SIZE:
                return


if __name__ == "__main__":
    run()
