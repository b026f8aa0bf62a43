"""Run benchmarks by name: `make bench`, or `make bench ONLY=commands`. Prints ratios or budgets with raw figures."""

import importlib
import sys
from datetime import date

import timing

BENCHMARKS = (
    "commands",
    "parsers",
    "page",
    "evaluation",
    "overhead",
    "loader",
    "gpu",
    "accuracy",
    "pretraining",
    "peers",
)


def main(names: list[str]) -> int:
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        print(f"error: no benchmark `{unknown[0]}`\nhint: there are {', '.join(BENCHMARKS)}", file=sys.stderr)
        return 2
    print(f"{date.today()}: {timing.machine()}")
    for name in names or BENCHMARKS:
        print(f"\n{name}")
        importlib.import_module(name).run()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
