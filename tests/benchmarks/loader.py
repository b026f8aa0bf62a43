"""What feeds a GPU: images per second that one loader process makes on one core, augmented, on their way to a GPU.

JPEGs of 640 x 480 for the input of YOLOv3 at 416, decoded each time and from the cache; and with everything that the
anchor-free recipe does at 640. Needs no GPU; says how many such cores the target of the benchmark `gpu` needs.
"""

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import cv2
import training
from gpu import TARGET_IMAGES_S

from detector.data.loader import ImageBatches
from detector.data.pictures import largest_side, reductions
from detector.data.read import read_split
from detector.data.room import in_memory
from detector.data.sampler import TrainSampler
from detector.data.store import ImageStore, slots

IMAGES, BATCH, ROUNDS = 256, 64, 5


def run() -> None:
    cv2.setNumThreads(0)  # as in a loader process
    with tempfile.TemporaryDirectory() as name:
        data = training.write_data(Path(name) / "data", IMAGES)
        everything: dict[str, Any] = {"augment__scale": [0.5, 1.5], "augment__mosaic": 1.0, "augment__mixup": 0.5}
        for cached in (False, True):
            _measure(data, cached=cached, data__image_size=416)
        _measure(data, cached=False, data__image_size=640, **everything)


def _measure(data: Path, *, cached: bool, **settings: Any) -> None:
    train = training.settings(data, optim__batch_size=BATCH, **settings)
    index = read_split(train.data, "train").index
    store = None
    if cached:
        places = slots(index.sizes, reductions(index.sizes, largest_side(train, train=True), stretched=False))
        store = ImageStore(in_memory("benchmark", places.size), places)
    batches = ImageBatches(index, train, train=True, gpu=True, store=store)
    draws = iter(TrainSampler(images=len(index), config=train))
    rates = []
    for _ in range(ROUNDS + 1):
        started = time.process_time()
        for _ in range(IMAGES // BATCH):
            batches[next(draws)]
        rates.append(IMAGES / (time.process_time() - started))
    # The first round fills the cache.
    rate = statistics.median(rates[1:])
    raw = " ".join(f"{each:.0f}" for each in rates[1:])
    what = ", ".join(f"{key.split('__')[1]} {value}" for key, value in settings.items())
    print(f"{what}, {'cached' if cached else 'decoded'}: {rate:.0f} images/s a core, raw {raw}")
    print(f"  {TARGET_IMAGES_S} images/s need {TARGET_IMAGES_S / rate:.1f} cores")
