"""torchvision's weights into its detectors, heads cut to the data's classes. Reads files of its cache or others.

Nothing is downloaded: a job on a node without a way out fails at once, with the address in its hint.
"""

import pickle
from pathlib import Path

import torch
from torch import Tensor
from torchvision.models._api import WeightsEnum

from detector.config import ConfigError
from detector.errors import UserError
from detector.models.torchvision_detectors import TorchvisionDetector

_BODY = "net.backbone.body."
_NO_CLASS = ("__background__", "N/A")


def load_torchvision(model: TorchvisionDetector, init: str) -> str:
    """Fill a detector in place.

    COCO's 91 ids, 11 of which name nothing, become the 80 contiguous labels of `detector.data.coco`; with another
    number of classes the layers that tell classes apart stay fresh.

    Args:
        model: freshly built.
        init: `torchvision` for the detector trained on COCO, `torchvision-backbone` for a ResNet-50 trained on
            ImageNet, both from torchvision's cache, or a file (`.pth`) with either.

    Returns:
        One line that says what was loaded.

    Raises:
        UserError: no such file, or one that does not fit the model.
    """
    path = _cached(model, init) if init.startswith("torchvision") else Path(init)
    theirs, ours = _read(path), model.state_dict()
    if "fc.weight" in theirs:
        theirs = {_BODY + key: value for key, value in theirs.items() if not key.startswith("fc.")}
        ours = {key: value for key, value in ours.items() if key.startswith(_BODY)}
    else:
        theirs = _of_classes({f"net.{key}": value for key, value in theirs.items()}, ours, model)
    theirs = {key: value for key, value in theirs.items() if not key.endswith("num_batches_tracked")}
    taken = {key: value for key, value in theirs.items() if key in ours and value.shape == ours[key].shape}
    expected = {key for key in ours if not key.endswith("num_batches_tracked")}
    misfits = sorted((theirs.keys() | expected) - taken.keys())
    if any(key not in theirs or key not in ours or not _tells_classes(key) for key in misfits):
        raise UserError(f"{path} is of another model: `{misfits[0]}` does not fit", "is `model.name` the file's?")
    model.load_state_dict(taken, strict=False)
    line = f"torchvision's {path.name}: {len(taken)} of {len(model.state_dict())} tensors"
    return f"{line}, class layers fresh (the file has another number of classes)" if misfits else line


def _cached(model: TorchvisionDetector, init: str) -> Path:
    known: dict[str, WeightsEnum | None] = {
        "torchvision": model.family.weights,
        "torchvision-backbone": model.family.backbone_weights,
    }
    weights = known.get(init)
    if weights is None:
        words = ", ".join(f"`{word}`" for word in known if known[word])
        raise ConfigError("model.init", f"`{init}` is none of what it can be", f"{words}, `scratch` or a file (*.pth)")
    path = Path(torch.hub.get_dir()) / "checkpoints" / Path(weights.url).name
    if not path.is_file():
        problem = f"torchvision's weights are not in its cache: there is no {path}"
        raise ConfigError("model.init", problem, f"download {weights.url} to there")
    return path


def _read(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise ConfigError("model.init", f"there is no file `{path}`", "is the path right, and seen from this machine?")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
        raise UserError(f"cannot read {path}: {str(error).splitlines()[0][:200]}", "was it cut short?") from None
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise UserError(
            f"{path} is no file of torchvision's weights", "they are one state dict, without more around it"
        )
    return state


def _of_classes(theirs: dict[str, Tensor], ours: dict[str, Tensor], model: TorchvisionDetector) -> dict[str, Tensor]:
    """Their tensors, with those rows alone that belong to a category that there is, where that makes ours."""
    names = model.family.weights.meta["categories"]
    kept = [at for at, name in enumerate(names) if name not in _NO_CLASS]
    if len(kept) != model.num_classes:
        return theirs
    kept = [0] * model.family.background + kept
    cut = {key: _rows(key, theirs[key], len(names), kept) for key in theirs if _tells_classes(key)}
    return theirs | {key: value for key, value in cut.items() if key in ours}


def _rows(key: str, value: Tensor, classes: int, kept: list[int]) -> Tensor:
    """A class layer's rows of some classes: boxes of a class lie together, scores of an anchor do."""
    rest = value.shape[1:]
    if "bbox_pred" in key:
        return value.view(classes, -1, *rest)[kept].flatten(0, 1)
    return value.view(-1, classes, *rest)[:, kept].flatten(0, 1)


def _tells_classes(key: str) -> bool:
    """Whether a tensor's first dimension counts classes, among others."""
    if "box_predictor." in key or "classification_head.cls_logits" in key:
        return True
    if "classification_head.module_list" not in key:
        return False
    # SSDlite: a depthwise block comes first, `.0.`, and the layer that tells classes apart after it.
    return not key.split("module_list.")[1].partition(".")[2].startswith("0.")
