"""What a model's weights start from: nothing, a darknet file, or a checkpoint of ours. Reads files."""

import pickle
import re
import zipfile
from pathlib import Path

import torch
from torch import Tensor, nn

from detector.config import ConfigError
from detector.errors import UserError
from detector.models import Detector
from detector.models.darknet_weights import load_darknet
from detector.models.torchvision_detectors import TorchvisionDetector
from detector.models.torchvision_weights import load_torchvision

_BACKBONE = "backbone."
_DARKNET_NAME = re.compile(r"\.weights$|\.conv\.\d+$")


def initialise(model: Detector, init: str) -> str:
    """Fill a model's weights in place as `config.Model.init` says.

    Args:
        model: freshly built. Heads stay so where the file has another number of classes.
        init: `scratch`; a darknet file, whole (`yolov3.weights`) or a first part (`darknet53.conv.74`); or a
            checkpoint (`.pt`) whose key `average`, or else `model`, holds a state dict, of a classifier the backbone's
            alone. A detector of torchvision's takes the words and files of `torchvision_weights.load_torchvision` in
            place of darknet's.

    Returns:
        One line that says what was loaded.

    Raises:
        UserError: no such file, a file of another kind, or one that does not fit the model.
    """
    if init == "scratch":
        return "random weights"
    if isinstance(model, TorchvisionDetector) and not init.endswith(".pt"):
        return load_torchvision(model, init)
    path = Path(init)
    if not (_DARKNET_NAME.search(path.name) or path.suffix == ".pt"):
        hint = "`scratch`, a darknet file (*.weights, *.conv.N) or a checkpoint (*.pt)"
        raise ConfigError("model.init", f"`{init}` is none of what it can be", hint)
    if not path.is_file():
        raise ConfigError("model.init", f"there is no file `{init}`", "is the path right, and seen from this machine?")
    return _load_checkpoint(model, path) if path.suffix == ".pt" else load_darknet(model, path)


def _load_checkpoint(model: Detector, path: Path) -> str:
    theirs, ours, heads = _read_checkpoint(path), model.state_dict(), _head_keys(model)
    if _classifies(theirs) and not _classifies(ours):
        return _load_backbone(model, theirs, path)
    if misfit := _misfit(theirs, ours, heads):
        raise UserError(f"{path} is of another model: `{misfit}` does not fit", "is `model.name` the file's?")
    fresh = {key for key in heads if theirs[key].shape != ours[key].shape}
    model.load_state_dict({key: value for key, value in theirs.items() if key not in fresh}, strict=False)
    line = f"checkpoint {path.name}: {len(ours) - len(fresh)} of {len(ours)} tensors"
    return f"{line}, heads fresh (the file has another number of classes)" if fresh else line


def _load_backbone(model: Detector, theirs: dict[str, Tensor], path: Path) -> str:
    """Take the backbone of a classifier, whose classes are others; the rest stays as it is."""
    backbone = {key: value for key, value in theirs.items() if key.startswith(_BACKBONE)}
    ours = {key: value for key, value in model.state_dict().items() if key.startswith(_BACKBONE)}
    if misfit := _misfit(backbone, ours, set()):
        problem = f"{path} is a classifier on another backbone: `{misfit}` does not fit"
        fits = "`darknet-tiny` fits `yolov3-tiny` and `yolox-darknet-tiny`, `darknet53` the other two families of ours"
        raise UserError(problem, fits)
    model.load_state_dict(backbone, strict=False)
    return f"checkpoint {path.name}: the {len(backbone)} tensors of its backbone, all others fresh"


def _classifies(state: dict[str, Tensor]) -> bool:
    return any(key.startswith("classifier.") for key in state)


def _head_keys(model: nn.Module) -> set[str]:
    """The state dict's keys of the layers with a bias, whose first dimension counts classes."""
    layers = {name: module for name, module in model.named_modules() if isinstance(module, nn.Conv2d | nn.Linear)}
    return {f"{name}.{kind}" for name, layer in layers.items() if layer.bias is not None for kind in ("weight", "bias")}


def _misfit(theirs: dict[str, Tensor], ours: dict[str, Tensor], heads: set[str]) -> str | None:
    """The first key that only one side has, or whose shape differs in more than the number of classes."""
    # Frozen normalisation counts no batches; with or without the count, the layer is the same.
    for key in sorted(key for key in theirs.keys() | ours.keys() if not key.endswith("num_batches_tracked")):
        if key not in theirs or key not in ours:
            return key
        compared = slice(1 if key in heads else 0, None)
        if theirs[key].shape[compared] != ours[key].shape[compared]:
            return key
    return None


def _read_checkpoint(path: Path) -> dict[str, Tensor]:
    problem = f"{path} is no checkpoint of this program"
    if not zipfile.is_zipfile(path):
        raise UserError(f"{problem}: not a whole zip archive, which torch.save writes", "was it cut short in copying?")
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError) as error:
        raise UserError(f"{problem}: {str(error).splitlines()[0]}") from error
    state = (saved.get("average") or saved.get("model")) if isinstance(saved, dict) else None
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise UserError(f"{problem}: no state dict under the key `model`")
    return state
