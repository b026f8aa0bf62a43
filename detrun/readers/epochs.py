"""Which epoch a place in a log belongs to: the nearest line before it that names one.

Only `pycocotools`-like blocks need it; most other forms name their epoch themselves. Knows the lines of
torchvision and DETR (`Epoch: [3]`), mmdetection (`Epoch [3][50/7330]`), YOLOX (`epoch: 5/300`), MLPerf
(`"epoch_num": 33`, `train_epoch: 32`), Lightning (`Epoch 3: 100%`) and this project's own.
"""

import re

_KEYWORD = b"poch"
_TRIES = 32
_BEFORE, _AFTER = 24, 48
_NAMED = re.compile(
    rb"(?:(?<![\w-])|(?<=train_)|(?<=eval_))"
    rb"(?<!best )(?<!max )(?<!total )(?<!num )(?<!last )(?<!warmup )"
    rb"epoch(?:_num)?(?:\s?\((?:train|val|test)\))?['\"]?\s*[:=#]?\s*\[?\s*(?P<epoch>\d{1,9})(?!\d|\.\d*[1-9]|[eE%])",
    re.IGNORECASE,
)


class EpochTrail:
    """The last epoch named so far, advanced through the chunks of a log as places in it are asked for."""

    def __init__(self) -> None:
        self._epoch: int | None = None
        self._seen = 0

    def before(self, chunk: bytes, position: int) -> int | None:
        """The epoch at a position of the current chunk; positions may only grow."""
        end = position
        for _ in range(_TRIES):
            hit = chunk.rfind(_KEYWORD, self._seen, end)
            if hit < 0:
                break
            found = _named(chunk, hit)
            if found is not None:
                self._epoch = found
                break
            end = hit
        self._seen = max(self._seen, position)
        return self._epoch

    def leave(self, chunk: bytes, position: int) -> None:
        """The chunk is done up to a position; the next one starts there, at its own position 0."""
        self.before(chunk, position)
        self._seen = 0


def _named(chunk: bytes, hit: int) -> int | None:
    """The epoch that the word at `hit` names, if it names one."""
    start = max(0, hit - _BEFORE)
    window = chunk[start : hit + _AFTER].split(b"\n")
    offset = hit - start
    for line in window:
        if offset <= len(line):
            found = _NAMED.match(line, offset - 1)
            return int(found["epoch"]) if found else None
        offset -= len(line) + 1
    return None
