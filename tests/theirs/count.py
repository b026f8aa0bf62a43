"""The least that torchrun can start: ranks that count, save where they are, and go on from there. Imports no torch.

Its value after the last step tells whether a step was lost or made twice. `--obedience none` ignores every signal, as
most scripts do; `--hold` waits at a step for a file `go`; `--fail` raises `--words` at a step on the last rank.
"""

import argparse
import json
import os
import signal
import sys
import time
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--seconds", type=float, default=0.05)
    parser.add_argument("--save-every", type=int, default=10)
    parser.add_argument("--obedience", choices=("usr1", "none"), default="usr1")
    parser.add_argument("--hold", type=int, default=-1)
    parser.add_argument("--fail", type=int, default=-1)
    parser.add_argument("--words", default="cannot count on")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    stop = []
    if args.obedience == "usr1":
        signal.signal(signal.SIGUSR1, lambda *_: stop.append(True))
    rank, world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    checkpoint = args.out / f"count_{rank}.json"
    step, value = json.loads(checkpoint.read_text()) if checkpoint.exists() else (0, args.seed)
    print(f"counting from step {step} on GPU {os.environ.get('CUDA_VISIBLE_DEVICES')}", flush=True)
    while step < args.steps:
        if step == args.fail and rank == world - 1:
            raise ValueError(args.words)
        while step == args.hold and not stop and not (args.out / "go").exists():
            time.sleep(0.05)
        time.sleep(args.seconds)
        step += 1
        value = (31 * value + step) % 1_000_003
        if step % args.save_every == 0 or step == args.steps or stop:
            partial = checkpoint.with_suffix(".partial")
            partial.write_text(json.dumps((step, value)))
            partial.replace(checkpoint)
            print(f"saved step {step}", flush=True)
        if stop:
            sys.exit(1)


if __name__ == "__main__":
    main()
