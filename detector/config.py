"""The configuration of one training run: typed, frozen, free of torch and of I/O.

In: a nested mapping (a recipe's `[train]` table with overrides applied, or a run's `config.json`).
Out: a `Train` value, or a `ConfigError` that names the key, what is wrong and the nearest good key.
"""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta

from detector.errors import UserError

SCHEMA = 1

Fraction = Annotated[float, Meta(ge=0.0, le=1.0)]
Positive = Annotated[int, Meta(ge=1)]
NonNegative = Annotated[int, Meta(ge=0)]
Rate = Annotated[float, Meta(ge=0.0)]
Share = Annotated[float, Meta(gt=0.0, le=1.0)]
Decay = Annotated[float, Meta(ge=0.0, lt=1.0)]
Zoom = Annotated[float, Meta(ge=0.1, le=4.0)]
Size = Annotated[int, Meta(ge=32, multiple_of=32)]

CLASSIFIERS = ("darknet53", "darknet-tiny")
ANCHOR_FREE = ("yolox-darknet53", "yolox-darknet-tiny")
TORCHVISION = ("fasterrcnn", "retinanet", "fcos", "ssd", "ssdlite")
# What `model.init` can be beside a file.
INITS = ("scratch", "torchvision", "torchvision-backbone")

# Below, the last of SSD's maps has no pixel.
_SMALLEST_SSD = 288

# Levels of NVIDIA's apex, which older detector scripts still name.
_APEX_LEVELS = {"O0": "fp32", "O1": "fp16", "O2": "fp16", "O3": "fp16"}


class ConfigError(UserError):
    """A configuration that cannot be used. `key` is the dotted path of the offending key."""

    def __init__(self, key: str, problem: str, hint: str = "") -> None:
        super().__init__(f"{key}: {problem}" if key else problem, hint)
        self.key = key


class _Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of every section: immutable, keyword-only, strict about names."""


class Data(_Section, frozen=True, kw_only=True):
    """What to train and evaluate on: a folder in COCO, VOC or YOLO layout, or one folder per class.

    `root` is a folder, or `builtin:digits` for the data set that detrun composes itself; a `.tar` too where images are
    classified. `format` is recognised by what lies in the root. The paths of each split are relative to it, and found
    where they are empty; `detector.data.layout` says where. An image that cannot be read is replaced by a grey one;
    more than `max_bad_images` of them end the run. `fit` puts an image on the square input as darknet does,
    `letterbox` on grey, or by `stretch`. `workers` are loader processes per rank, -1 for what suits the machine.
    `cache` keeps decoded images for all ranks of a node, in its memory or in a file in `cache_dir`, a disk of its own
    by default.
    """

    root: str = ""
    format: Literal["auto", "coco", "voc", "yolo"] = "auto"
    train_annotations: str = ""
    train_images: str = ""
    val_annotations: str = ""
    val_images: str = ""
    image_size: Size = 416
    fit: Literal["letterbox", "stretch"] = "letterbox"
    workers: Annotated[int, Meta(ge=-1)] = -1
    max_bad_images: NonNegative = 20
    cache: Literal["none", "ram", "disk"] = "none"
    cache_dir: str = ""


class Model(_Section, frozen=True, kw_only=True):
    """Which detector, and what its weights start from.

    `yolox-*` are the same backbones under decoupled, anchor-free heads, assigned by SimOTA, with a CIoU loss;
    `head_width` are the channels of these heads, null 256 on DarkNet-53 and 64 on the tiny backbone.
    `darknet53` and `darknet-tiny` are the backbones alone, to classify. `fasterrcnn`, `retinanet` and `fcos` are
    torchvision's on ResNet-50 with FPN, `ssd` its on VGG-16, `ssdlite` its on MobileNetV3; their `init` is also
    `torchvision` (trained on COCO), `torchvision-backbone` (a ResNet-50 trained on ImageNet), both from torchvision's
    cache, or a file of torchvision's (`.pth`).
    `init` is `scratch`, a darknet `.weights` file (whole, or a backbone part such as
    `darknet53.conv.74`), or a checkpoint of ours (`.pt`). `anchors` (width, height in input pixels)
    and `masks` (anchor indices per scale, coarsest scale first) default to darknet's. `label_smoothing` takes class
    targets that far from 0 and 1, `sync_norm` normalises over the images of all GPUs. `norm_momentum` is the weight of
    one batch in the statistics by which evaluation normalises; null is the model's own, and darknet's .01 lags behind
    the weights in a run of only some hundred steps.
    """

    name: Literal[
        "yolov3",
        "yolov3-tiny",
        "yolox-darknet53",
        "yolox-darknet-tiny",
        "darknet53",
        "darknet-tiny",
        "fasterrcnn",
        "retinanet",
        "fcos",
        "ssd",
        "ssdlite",
    ] = "yolov3"
    init: str = "scratch"
    anchors: tuple[tuple[float, float], ...] | None = None
    masks: tuple[tuple[int, ...], ...] | None = None
    ignore_iou: Fraction = 0.7
    label_smoothing: Fraction = 0.0
    sync_norm: bool = False
    norm_momentum: Share | None = None
    head_width: Positive | None = None


class Augment(_Section, frozen=True, kw_only=True):
    """Darknet's augmentations, and the later ones that are off by default.

    `multi_scale` is (smallest, largest) input size, in steps of 32. `scale` is the range of an image's size relative
    to the input: below 1 it leaves grey around, above 1 a random part is seen. `mosaic` and `mixup` are the
    probabilities that an input shows four images, or another one through it; both end `close_epochs` before the run
    does. `crop_area` is the range of the share of an image that a classifier is shown.
    """

    flip: Fraction = 0.5
    jitter: Annotated[float, Meta(ge=0.0, lt=1.0)] = 0.3
    hue: Annotated[float, Meta(ge=0.0, le=0.5)] = 0.1
    saturation: Annotated[float, Meta(ge=1.0)] = 1.5
    exposure: Annotated[float, Meta(ge=1.0)] = 1.5
    multi_scale: tuple[Size, Size] | None = None
    multi_scale_every: Positive = 10
    scale: tuple[Zoom, Zoom] = (1.0, 1.0)
    mosaic: Fraction = 0.0
    mixup: Fraction = 0.0
    close_epochs: NonNegative = 0
    crop_area: tuple[Share, Share] = (0.08, 1.0)

    def __post_init__(self) -> None:
        for name in ("multi_scale", "scale", "crop_area"):
            limits = getattr(self, name)
            if limits and limits[0] > limits[1]:
                raise ValueError(f"{name} is (smallest, largest), got {limits}")


class Optim(_Section, frozen=True, kw_only=True):
    """Optimizer. `batch_size` counts images per optimizer step over all processes.

    `micro_batch` is how many of them a process takes at once, 0 for all of its share; the gradients of several such
    parts are added up. `clip_norm` bounds the norm of the gradient, 0 for no bound. `ema` is the decay of a moving
    average of the weights, which is then what is evaluated; 0 keeps none.
    """

    name: Literal["sgd", "adamw"] = "sgd"
    lr: Annotated[float, Meta(gt=0.0)] = 1e-3
    momentum: Fraction = 0.9
    weight_decay: Rate = 5e-4
    batch_size: Positive = 64
    micro_batch: NonNegative = 0
    clip_norm: Rate = 0.0
    ema: Decay = 0.0


class Schedule(_Section, frozen=True, kw_only=True):
    """Learning rate over the run: burn-in, then `step`, `cosine` or `constant`.

    During burn-in the rate is `lr * (step / burn_in_steps) ** burn_in_power`. `decay_at` are
    fractions of the whole run at which `step` multiplies the rate by `decay_factor`; `cosine` ends
    at `lr * final_ratio`.
    """

    name: Literal["step", "cosine", "constant"] = "step"
    burn_in_steps: NonNegative = 1000
    burn_in_power: Annotated[float, Meta(gt=0.0)] = 4.0
    decay_at: tuple[Fraction, ...] = (0.8, 0.9)
    decay_factor: Fraction = 0.1
    final_ratio: Fraction = 0.01


class Eval(_Section, frozen=True, kw_only=True):
    """Evaluation on the val split: every `every` epochs and after the last one."""

    every: Positive = 1
    engine: Literal["hotcoco", "pycocotools"] = "hotcoco"
    batch_size: Positive = 16
    score_threshold: Fraction = 0.005
    nms_iou: Fraction = 0.45
    max_detections: Positive = 100


class Checkpoint(_Section, frozen=True, kw_only=True):
    """`last.pt` is written after every epoch and every `every_min` minutes."""

    every_min: Annotated[float, Meta(gt=0.0)] = 10.0


class Train(_Section, frozen=True, kw_only=True):
    """One training run, whole. `log_every` is in optimizer steps; 0 `epochs` evaluate `model.init` as it is.

    `compile` has torch compile the forward and the backward pass, which takes a minute or more at the start, and again
    for each input size of `augment.multi_scale`. `task` is to find objects, or to tell the class of whole images, which
    pretrains a detector's backbone.
    """

    task: Literal["detect", "classify"] = "detect"
    epochs: NonNegative = 30
    seed: NonNegative = 0
    precision: Literal["fp32", "fp16", "bf16"] = "fp32"
    compile: bool = False
    log_every: Positive = 20
    data: Data = Data()
    model: Model = Model()
    augment: Augment = Augment()
    optim: Optim = Optim()
    schedule: Schedule = Schedule()
    eval: Eval = Eval()
    checkpoint: Checkpoint = Checkpoint()


@cache
def keys() -> tuple[str, ...]:
    """Every settable key, dotted, in the order of definition."""
    return tuple(_keys(Train, ""))


def _keys(section: type[msgspec.Struct], prefix: str) -> Iterator[str]:
    for name, hint in get_type_hints(section).items():
        if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
            yield from _keys(hint, f"{prefix}{name}.")
        else:
            yield prefix + name


def nearest(word: str, good: Sequence[str]) -> str:
    """A hint that names the good word closest to a bad one, `""` where none is close."""
    close = difflib.get_close_matches(word, good, n=1, cutoff=0.5)
    if not close:
        tail = word.rsplit(".", 1)[-1]
        close = [key for key in good if key.rsplit(".", 1)[-1] == tail]
    return f"did you mean `{close[0]}`?" if close else ""


def load(table: Mapping[str, Any]) -> Train:
    """Check a nested mapping and turn it into a `Train`.

    Raises:
        ConfigError: an unknown key, a wrong type, or a value out of range.
    """
    _refuse_unknown(table, keys(), "")
    try:
        train = msgspec.convert(table, Train)
    except msgspec.ValidationError as error:
        raise _explained(error, table) from None
    _refuse_other_task(train)
    _refuse_misfits(train)
    return train


def dump(train: Train) -> dict[str, Any]:
    """The whole configuration as plain JSON types, ready for `config.json`."""
    plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(train))
    return plain


def _refuse_unknown(table: Mapping[str, Any], good: Sequence[str], prefix: str) -> None:
    sections = {key[: len(prefix)] + key[len(prefix) :].split(".", 1)[0] for key in good}
    for name, value in table.items():
        path = f"{prefix}{name}"
        if path in good:
            continue
        if path not in sections:
            raise ConfigError(path, "unknown key", nearest(path, good))
        if not isinstance(value, Mapping):
            raise ConfigError(path, "is a section, not a value", f"set one of its keys, such as `{_first(path, good)}`")
        _refuse_unknown(value, [key for key in good if key.startswith(f"{path}.")], f"{path}.")


def _refuse_other_task(train: Train) -> None:
    if train.task == "classify" and train.data.cache != "none":
        raise ConfigError("data.cache", "images to classify are decoded each time", "leave it at `none`")
    if (train.model.name in CLASSIFIERS) == (train.task == "classify"):
        return
    names = " or ".join(f"`{name}`" for name in CLASSIFIERS)
    if train.task == "classify":
        raise ConfigError("model.name", f"`{train.model.name}` is no classifier", f"task=classify takes {names}")
    raise ConfigError("model.name", f"`{train.model.name}` is a classifier", f"{names} go with task=classify")


def _refuse_misfits(train: Train) -> None:
    """What some models cannot do."""
    if train.compile and train.model.name in TORCHVISION:
        problem = f"torchvision's {train.model.name} has other shapes for every image"
        raise ConfigError("compile", problem, "leave it at false")
    if train.model.label_smoothing and train.model.name in TORCHVISION:
        raise ConfigError("model.label_smoothing", f"torchvision's {train.model.name} has none", "leave it at 0")
    if train.model.head_width and train.model.name not in ANCHOR_FREE:
        names = " and ".join(f"`{name}`" for name in ANCHOR_FREE)
        raise ConfigError("model.head_width", f"{train.model.name} has one width", f"{names} take one")
    sizes = {"data.image_size": train.data.image_size, "augment.multi_scale": (train.augment.multi_scale or (416,))[0]}
    for key, size in sizes.items():
        if train.model.name == "ssd" and size < _SMALLEST_SSD:
            raise ConfigError(key, f"{size} is too small for ssd", f"at least {_SMALLEST_SSD}, or `model.name=ssdlite`")


def _first(section: str, good: Sequence[str]) -> str:
    return next(key for key in good if key.startswith(f"{section}."))


def _explained(error: msgspec.ValidationError, table: Mapping[str, Any]) -> ConfigError:
    problem, _, where = str(error).partition(" - at `$")
    key = where.rstrip("`").removeprefix(".")
    problem = problem[0].lower() + problem[1:]
    return ConfigError(key, problem, _choices(key, table))


def _choices(key: str, table: Mapping[str, Any]) -> str:
    """The values that a key takes, where it takes only a few."""
    hint: Any = Train
    value: Any = table
    for name in key.split("."):
        hint = get_type_hints(hint).get(name)
        value = value.get(name) if isinstance(value, Mapping) else None
        if not (isinstance(hint, type) and issubclass(hint, msgspec.Struct)):
            break
    if get_origin(hint) is not Literal:
        return ""
    if key == "precision" and value in _APEX_LEVELS:
        return f"apex's {value} is `{_APEX_LEVELS[value]}` here"
    return "one of " + ", ".join(f"`{choice}`" for choice in get_args(hint))
