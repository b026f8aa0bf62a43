"""What a model starts from: files that fit, files that fit in part, and files that do not."""

from pathlib import Path

import numpy as np
import pytest
import torch

from detector.config import ConfigError, Eval, Model
from detector.errors import UserError
from detector.models import Detector, build
from detector.models.darknet_weights import darknet_layers, read_darknet
from detector.models.weights import initialise

TINY_CONVS = 13


def detector(num_classes: int = 3, seed: int = 0, name: str = "yolov3-tiny") -> Detector:
    """A model whose every number is random, those of the normalisation too."""
    torch.manual_seed(seed)
    model = build(Model(name=name), num_classes, eval=Eval())
    with torch.no_grad():
        for value in model.state_dict().values():
            if value.is_floating_point() and value.ndim == 1:
                value.uniform_(0.5, 1.5)
    return model


def write_darknet(path: Path, model: Detector, convs: int = TINY_CONVS, header: bytes | None = None) -> Path:
    """The first convolutions of a model as a darknet file."""
    tensors = [tensor for layer in darknet_layers(model)[:convs] for tensor in layer.tensors()]
    numbers = torch.cat([tensor.detach().flatten() for tensor in tensors]).numpy()
    path.write_bytes((header or np.array([0, 2, 0, 7, 0], "<i4").tobytes()) + numbers.tobytes())
    return path


def same_convs(first: Detector, second: Detector) -> list[bool]:
    """For each convolution in the order of the file, whether the models agree on all of its numbers."""
    return [
        all(a.shape == b.shape and torch.equal(a, b) for a, b in zip(one.tensors(), other.tensors(), strict=True))
        for one, other in zip(darknet_layers(first), darknet_layers(second), strict=True)
    ]


def heads(model: Detector) -> list[int]:
    return [index for index, layer in enumerate(darknet_layers(model)) if layer.norm is None]


def test_scratch_changes_nothing() -> None:
    model = detector()
    assert initialise(model, "scratch") == "random weights"
    assert all(same_convs(model, detector()))


def test_a_whole_file_of_as_many_classes_fills_everything(tmp_path: Path) -> None:
    source, model = detector(seed=1), detector()
    line = initialise(model, str(write_darknet(tmp_path / "own.weights", source)))
    assert line == "darknet weights own.weights: 13 of 13 convs, 7 images seen"
    assert all(same_convs(source, model))


@pytest.mark.parametrize("convs", [1, 5, 7, 9, 10, 12])
def test_any_first_part_of_a_file_fills_its_convolutions_alone(tmp_path: Path, convs: int) -> None:
    source, model, fresh = detector(seed=1), detector(), detector()
    line = initialise(model, str(write_darknet(tmp_path / "yolov3-tiny.conv.15", source, convs)))
    assert line == f"darknet weights yolov3-tiny.conv.15: {convs} of 13 convs, 7 images seen, the others fresh"
    assert same_convs(source, model) == [index < convs for index in range(TINY_CONVS)]
    assert same_convs(fresh, model) == [index >= convs for index in range(TINY_CONVS)]


def test_darknet53_conv_74_is_the_backbone_of_yolov3(tmp_path: Path) -> None:
    source = detector(seed=1, name="yolov3")
    path = write_darknet(tmp_path / "darknet53.conv.74", source, 52)
    model = detector(name="yolov3")
    line = initialise(model, str(path))
    assert path.stat().st_size == 162_482_580
    assert line == "darknet weights darknet53.conv.74: 52 of 75 convs, 7 images seen, the others fresh"
    assert same_convs(source, model) == [True] * 52 + [False] * 23


@pytest.mark.parametrize(("there", "here"), [(80, 3), (3, 80), (1, 2)])
def test_a_whole_file_of_other_classes_fills_all_but_the_heads(tmp_path: Path, there: int, here: int) -> None:
    source, model, fresh = detector(there, seed=1), detector(here), detector(here)
    line = initialise(model, str(write_darknet(tmp_path / "other.weights", source)))
    assert line == (
        "darknet weights other.weights: 11 of 13 convs, 7 images seen, "
        f"heads fresh ({there} classes in the file, {here} here)"
    )
    assert same_convs(source, model) == [index not in heads(model) for index in range(TINY_CONVS)]
    assert [index for index, same in enumerate(same_convs(fresh, model)) if same] == heads(model)


def test_darknets_own_file_of_80_classes_starts_a_model_of_three(shared: Path) -> None:
    path = shared / "data/weights/yolov3-tiny.weights"
    model, whole = detector(3), detector(80)
    assert initialise(whole, str(path)).endswith("13 of 13 convs, 32,013,312 images seen")
    line = initialise(model, str(path))
    assert line.endswith("11 of 13 convs, 32,013,312 images seen, heads fresh (80 classes in the file, 3 here)")
    assert same_convs(whole, model) == [index not in heads(model) for index in range(TINY_CONVS)]


def test_headers_before_version_0_2_count_images_in_32_bits(tmp_path: Path) -> None:
    source, model = detector(seed=1), detector()
    old = np.array([0, 1, 0, 4_000], "<i4").tobytes()
    assert "4,000 images seen" in initialise(model, str(write_darknet(tmp_path / "old.weights", source, header=old)))
    assert all(same_convs(source, model))
    new = np.array([0, 2, 5], "<i4").tobytes() + np.array([5_000_000_000], "<i8").tobytes()
    assert read_darknet(write_darknet(tmp_path / "new.weights", source, header=new)).images_seen == 5_000_000_000


@pytest.mark.parametrize("lost", [4, 400_000, -4])
def test_a_file_too_short_or_too_long_is_refused_with_both_counts(tmp_path: Path, lost: int) -> None:
    path = write_darknet(tmp_path / "cut.weights", detector(seed=1))
    data = path.read_bytes()
    path.write_bytes(data[:-lost] if lost > 0 else data + bytes(-lost))
    model = detector()
    with pytest.raises(UserError) as caught:
        initialise(model, str(path))
    takes = (len(data) - 20) // 4
    assert str(path) in str(caught.value)
    assert f"{takes:,}" in str(caught.value)
    assert f"{takes - lost // 4:,}" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.hint
    assert all(same_convs(model, detector()))


@pytest.mark.parametrize(
    "data", [b"", b"short", b"<!DOCTYPE html><html><head><title>404 Not Found</title>", bytes(20) + b"abc"]
)
def test_what_is_no_darknet_file_is_refused_by_name(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "page.weights"
    path.write_bytes(data)
    with pytest.raises(UserError, match=r"page\.weights is no darknet weights file") as caught:
        initialise(detector(), str(path))
    assert caught.value.hint


def test_a_header_without_numbers_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "empty.weights"
    path.write_bytes(np.array([0, 2, 0, 7, 0], "<i4").tobytes())
    with pytest.raises(UserError, match="holds 0 numbers"):
        initialise(detector(), str(path))


@pytest.mark.parametrize("init", ["resnet50.pth", "yolov3.cfg", "Scratch", "/"])
def test_other_kinds_of_files_are_refused_with_those_that_go(init: str) -> None:
    with pytest.raises(ConfigError) as caught:
        initialise(detector(), init)
    assert caught.value.key == "model.init"
    assert "*.weights" in caught.value.hint


@pytest.mark.parametrize("init", ["nowhere/yolov3.weights", "nowhere/best.pt"])
def test_a_missing_file_is_named(init: str) -> None:
    with pytest.raises(ConfigError, match=init):
        initialise(detector(), init)


def save(path: Path, payload: object) -> Path:
    torch.save(payload, path)
    return path


def test_a_checkpoint_fills_everything(tmp_path: Path) -> None:
    source, model = detector(seed=1), detector()
    path = save(tmp_path / "best.pt", {"model": source.state_dict(), "step": 5})
    assert initialise(model, str(path)) == "checkpoint best.pt: 70 of 70 tensors"
    for key, value in model.state_dict().items():
        assert torch.equal(value, source.state_dict()[key])


def test_a_checkpoint_of_other_classes_fills_all_but_the_heads(tmp_path: Path) -> None:
    source, model, fresh = detector(80, seed=1), detector(), detector()
    path = save(tmp_path / "best.pt", {"model": source.state_dict()})
    line = initialise(model, str(path))
    assert line == "checkpoint best.pt: 66 of 70 tensors, heads fresh (the file has another number of classes)"
    assert same_convs(source, model) == [index not in heads(model) for index in range(TINY_CONVS)]
    assert [index for index, same in enumerate(same_convs(fresh, model)) if same] == heads(model)


def test_a_checkpoint_of_another_network_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    path = save(tmp_path / "best.pt", {"model": detector(name="yolov3").state_dict()})
    model = detector()
    with pytest.raises(UserError, match=r"best\.pt is of another model"):
        initialise(model, str(path))
    assert all(same_convs(model, detector()))


def test_a_checkpoint_of_other_widths_is_refused(tmp_path: Path) -> None:
    state = detector().state_dict()
    state["scales.0.head.predict.weight"] = torch.zeros(24, 7, 1, 1)
    with pytest.raises(UserError, match=r"scales\.0\.head\.predict\.weight"):
        initialise(detector(), str(save(tmp_path / "best.pt", {"model": state})))


@pytest.mark.parametrize("payload", [{"weights": {}}, [1, 2], {"model": {"a": 1}}, {"model": 3}])
def test_a_file_of_torch_without_our_state_dict_is_refused(tmp_path: Path, payload: object) -> None:
    with pytest.raises(UserError, match=r"best\.pt is no checkpoint of this program"):
        initialise(detector(), str(save(tmp_path / "best.pt", payload)))


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_a_torn_checkpoint_is_refused(tmp_path: Path, share: float) -> None:
    path = save(tmp_path / "best.pt", {"model": {"a": torch.zeros(100_000)}})
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(UserError, match=r"best\.pt is no checkpoint of this program"):
        initialise(detector(), str(path))


def test_a_checkpoint_with_code_inside_is_not_run(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[object, ...]]:
            return Path.touch, (tmp_path / "sprung",)

    with pytest.raises(UserError, match=r"best\.pt is no checkpoint of this program"):
        initialise(detector(), str(save(tmp_path / "best.pt", {"model": Trap()})))
    assert not (tmp_path / "sprung").exists()
