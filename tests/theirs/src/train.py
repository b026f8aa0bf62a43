"""A training script in the manner of torchvision's references, with pycocotools' summary; nothing of detrun in it."""

import argparse
import json
import signal
import sys
import time
from pathlib import Path

import torch
import torch.distributed as dist
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--output-dir", type=Path, required=True)
    parser.add_argument("--lr", type=float, default=0.1)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.0)
    args = parser.parse_args()
    stop = []
    signal.signal(signal.SIGTERM, lambda *_: stop.append(True))
    dist.init_process_group("gloo")
    model = torch.nn.Linear(4, 4, bias=False)
    torch.nn.init.eye_(model.weight)
    model = torch.nn.parallel.DistributedDataParallel(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=args.lr)
    checkpoint = args.output_dir / "checkpoint.pth"
    start = 0
    if checkpoint.exists():
        state = torch.load(checkpoint)
        model.load_state_dict(state["model"])
        start = state["step"]
        print(f"resumed at step {start}", flush=True)
    for step in range(start, args.epochs * args.steps):
        epoch = step // args.steps
        boxes = torch.rand(8, 4, generator=torch.Generator().manual_seed(step))
        loss = (model(boxes) - boxes * 1.1).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        time.sleep(args.seconds)
        if dist.get_rank() == 0:
            place = step % args.steps
            print(f"Epoch: [{epoch}]  [{place}/{args.steps}]  lr: {args.lr:.6f}  loss: {loss.item():.4f}", flush=True)
        stopping = torch.tensor(float(bool(stop)))
        dist.all_reduce(stopping)
        if stopping or (step + 1) % args.steps == 0:
            if dist.get_rank() == 0:
                torch.save({"model": model.state_dict(), "step": step + 1}, checkpoint)
            dist.barrier()
        if stopping:
            sys.exit(143)
        if (step + 1) % args.steps == 0 and dist.get_rank() == 0:
            evaluate(model.module, args.data / "annotations" / "instances_val.json")
    dist.destroy_process_group()


@torch.no_grad()
def evaluate(model: torch.nn.Module, path: Path) -> None:
    """Detections are the true boxes as the model maps them."""
    truth = COCO(str(path))
    found = [
        {"image_id": each["image_id"], "category_id": each["category_id"], "score": 0.9}
        | {"bbox": (model(torch.tensor(each["bbox"]).float())).tolist()}
        for each in json.loads(path.read_text())["annotations"]
    ]
    evaluator = COCOeval(truth, truth.loadRes(found), "bbox")
    evaluator.evaluate()
    evaluator.accumulate()
    print("IoU metric: bbox")
    evaluator.summarize()
    sys.stdout.flush()


if __name__ == "__main__":
    main()
