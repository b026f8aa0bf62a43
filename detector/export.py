"""A run's best checkpoint as an ONNX file: `python -m detector.export RUN_DIR FILE`. Does I/O.

What goes in and comes out stands in `detector.models.dense` and in the file's metadata; suppression is the reader's.
Before the file stands, onnxruntime runs it on images of the run's val split, and its outputs are compared with torch's.
"""

import argparse
import importlib.util
import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec
import numpy as np
import torch
from torch import Tensor

from detector.batch import AnyBatch
from detector.config import Train
from detector.data.class_batches import ClassBatches
from detector.data.folder import read_folders
from detector.data.loader import ImageBatches
from detector.data.read import read_split
from detector.data.sampler import EvalSampler
from detector.data.scan import checked, scan_images
from detector.errors import UserError
from detector.models.dense import Dense, dense
from detector.trained import Trained, best

OPSET = 18
# The largest difference to torch that a file may have: boxes in pixels, scores as they are.
TOLERANCES = {"boxes": 0.05, "scores": 1e-4}
_PACKAGES = ("onnx", "onnxscript", "onnxruntime")
_CHECKED_IMAGES = 4
_PUT = {
    "letterbox": "the longer side resized to image_size, centred on grey 128 / 255",
    "stretch": "resized to image_size x image_size",
    "middle": "the middle square, of 7/8 of the shorter side, resized",
}


class Exported(msgspec.Struct, kw_only=True):
    """What was written; `differences` to torch are the largest over so many `images`, by output."""

    schema: int = 1
    file: str
    model: str
    opset: int
    image_size: int
    classes: tuple[str, ...]
    outputs: dict[str, tuple[int, ...]]
    images: int
    differences: dict[str, float]

    def lines(self) -> list[str]:
        """The same for people."""
        size = f"(N, 3, {self.image_size}, {self.image_size})"
        shapes = [f"{name} (N, {', '.join(map(str, shape))})" for name, shape in self.outputs.items()]
        apart = [f"{name} {value:.2g} (at most {TOLERANCES[name]:g})" for name, value in self.differences.items()]
        return [
            f"{self.file}: {self.model}, opset {self.opset}, images {size} to {' and '.join(shapes)}",
            f"largest difference to torch over {self.images} images: {', '.join(apart)}",
        ]


def main() -> int:
    """Export as the command line says; the exit code."""
    parser = argparse.ArgumentParser(prog="detector.export")
    parser.add_argument("run", type=Path)
    parser.add_argument("file", type=Path)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    try:
        done = export(options.run, options.file)
    except UserError as error:
        print(f"error: {error}\nhint: {error.hint}" if error.hint else f"error: {error}", file=sys.stderr)  # noqa: T201
        return 1
    print(msgspec.json.encode(done).decode() if options.json else "\n".join(done.lines()))  # noqa: T201
    return 0


def export(run: Path, file: Path, tolerances: Mapping[str, float] = TOLERANCES) -> Exported:
    """Write the ONNX file, or none where onnxruntime makes something else of it than torch.

    Raises:
        UserError: a package is missing, the run has no evaluated checkpoint, its detector cannot be exported, its data
            cannot be read, the file cannot be written, or its outputs differ from torch's by more than the tolerances.
    """
    _refuse_missing_packages()
    trained = best(run)
    network = dense(trained.model, trained.settings.data.image_size)
    images = _real_images(trained.settings)
    partial = file.with_name(f"{file.name}.partial")
    try:
        partial.touch()
        _write(partial, network, images, _metadata(run, trained))
        with torch.inference_mode():
            expected = dict(zip(network.outputs, network(images), strict=True))
        differences = _differences(partial, images, expected, trained.settings.data.image_size)
        _refuse_other(differences, tolerances)
        partial.replace(file)
    except OSError as error:
        raise UserError(f"cannot write {file}: {error.strerror}") from None
    finally:
        partial.unlink(missing_ok=True)
    return Exported(
        file=str(file),
        model=trained.settings.model.name,
        opset=OPSET,
        image_size=trained.settings.data.image_size,
        classes=trained.classes,
        outputs={name: tuple(value.shape[1:]) for name, value in expected.items()},
        images=len(images),
        differences=differences,
    )


def _refuse_missing_packages() -> None:
    missing = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        problem = f"exporting needs {' and '.join(missing)}, not installed here"
        raise UserError(problem, "install the extra `export`: pip install 'detrun[export]'")


def _real_images(settings: Train) -> Tensor:
    """The first images of the val split as the network sees them, (B, 3, S, S) float32 in [0, 1]."""
    try:
        batch = _first_batch(settings)
    except UserError as error:
        hint = "DETRUN_DATA_ROOT=/path names a copy of the run's data"
        raise UserError(f"the file is checked on the run's val split, and {error}", hint) from None
    return batch.images.float() / 255


def _first_batch(settings: Train) -> AnyBatch:
    few = msgspec.structs.replace(settings, eval=msgspec.structs.replace(settings.eval, batch_size=_CHECKED_IMAGES))
    if settings.task == "classify":
        _, val = read_folders(settings.data)
        return ClassBatches(val, few, train=False)[next(iter(EvalSampler(images=len(val), config=few)))]
    annotated = read_split(settings.data, "val")
    index, _ = checked(annotated.index, annotated.report, [scan_images(annotated.index)])
    return ImageBatches(index, few, train=False)[next(iter(EvalSampler(images=len(index), config=few)))]


def _metadata(run: Path, trained: Trained) -> dict[str, str]:
    data = trained.settings.data
    put = "middle" if trained.settings.task == "classify" else data.fit
    return {
        "classes": msgspec.json.encode(trained.classes).decode(),
        "image_size": str(data.image_size),
        "images": f"RGB, float32 in [0, 1]; {_PUT[put]}",
        "boxes": "x1, y1, x2, y2 in input pixels, before suppression",
        "scores": "per class, in the order of `classes`",
        "model": trained.settings.model.name,
        "run": run.name,
        "step": str(trained.step),
    }


def _write(path: Path, network: Dense, images: Tensor, metadata: Mapping[str, str]) -> None:
    # An example of one image would be taken for a batch that is always one.
    example = images[:1].expand(2, -1, -1, -1).contiguous()
    program = torch.onnx.export(
        network,
        (example,),
        dynamo=True,
        opset_version=OPSET,
        input_names=["images"],
        output_names=list(network.outputs),
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        verbose=False,
    )
    assert program is not None
    program.model.metadata_props.update(metadata)
    program.save(path, external_data=False)


def _differences(path: Path, images: Tensor, expected: Mapping[str, Tensor], size: int) -> dict[str, float]:
    """The largest by output, over the images as one batch and the first of them alone.

    A coordinate far outside the image counts by as many times less as it is outside: float32 has no more digits.
    """
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    largest = dict.fromkeys(expected, 0.0)
    for part in (slice(None), slice(1)):
        found = session.run(list(expected), {"images": images[part].numpy()})
        for (name, whole), values in zip(expected.items(), found, strict=True):
            wanted = whole[part].numpy()
            scale = np.maximum(1, np.abs(wanted) / size)
            largest[name] = max(largest[name], float((np.abs(values - wanted) / scale).max()))
    return largest


def _refuse_other(differences: Mapping[str, float], tolerances: Mapping[str, float]) -> None:
    """NaN is refused too."""
    apart = [f"{name} by {value:.2g}" for name, value in differences.items() if not value <= tolerances[name]]
    if apart:
        limits = ", ".join(f"{name} {tolerances[name]:g}" for name in differences)
        raise UserError(f"onnxruntime and torch differ: {', '.join(apart)}; no file written", f"at most {limits}")


if __name__ == "__main__":
    sys.exit(main())
