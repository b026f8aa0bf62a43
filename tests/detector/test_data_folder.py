"""Images in folders of classes, unpacked or in a tar file: the same labels, the same pixels, and bad ones named."""

import pickle
import shutil
import tarfile
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from class_folder import CLASSES, packed, write_classes
from coco_folder import write_image
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy

from detector.batch import NO_CLASS, ClassBatch
from detector.config import Augment, ConfigError, Data, Eval, Model, Optim, Train
from detector.data.class_batches import class_eval_loader, class_train_loader
from detector.data.crop import draw_crop, middle_of, part_of
from detector.data.folder import FolderIndex, read_folders
from detector.data.geometry import GREY
from detector.data.philox import SAMPLE, generator
from detector.errors import UserError
from detector.evaluation.classes import ranks_of, record
from detector.models.classifier import Classifier


@pytest.fixture(scope="module")
def classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_classes(tmp_path_factory.mktemp("classes"))


def config(root: Path, **augment: float) -> Train:
    return Train(
        task="classify",
        seed=2,
        epochs=2,
        data=Data(root=str(root), image_size=32),
        augment=Augment(**augment),  # type: ignore[arg-type]
        model=Model(name="darknet-tiny"),
        optim=Optim(batch_size=9),
        eval=Eval(batch_size=5),
    )


def test_a_folder_and_a_tar_file_of_it_are_the_same_images(classes: Path, tmp_path: Path) -> None:
    unpacked = read_folders(Data(root=str(classes)))
    in_place = read_folders(Data(root=str(packed(classes, tmp_path / "classes.tar"))))
    for one, other, count in zip(unpacked, in_place, (36, 12), strict=True):
        assert one.classes == other.classes == CLASSES
        assert one.labels.tolist() == other.labels.tolist() == sorted(one.labels.tolist())
        assert len(one) == len(other) == count
        for position in range(count):
            assert other.name(position) == f"some-name/{one.name(position)}"
            assert (one.content(position) == other.content(position)).all()


def test_labels_are_those_of_the_folder_an_image_lies_in(classes: Path) -> None:
    _, val = read_folders(Data(root=str(classes)))
    named = [val.name(position).split("/")[1] for position in range(len(val))]
    assert [val.classes[label] for label in val.labels] == named


@pytest.mark.parametrize("form", ["folder", "tar"])
def test_other_names_of_the_splits_are_found_or_configured_and_what_is_no_image_is_passed_over(
    classes: Path, tmp_path: Path, form: str
) -> None:
    root = shutil.copytree(classes, tmp_path / "root")
    (root / "val").rename(root / "valid")
    (root / "train").rename(root / "most")
    (root / "most/red/._0.jpg").write_text("what a Mac leaves behind")
    (root / "most/red/notes.txt").write_text("")
    (root / "most/top.jpg").write_text("")
    place = root if form == "folder" else packed(root, tmp_path / "classes.tar")
    train, val = read_folders(Data(root=str(place), train_images="most"))
    assert (len(train), len(val), train.classes) == (36, 12, CLASSES)


def test_an_index_is_flat_arrays(classes: Path) -> None:
    train, _ = read_folders(Data(root=str(classes)))
    assert len(pickle.dumps(train)) < len(train.names) + 32 * len(train) + 2000


@pytest.mark.parametrize("form", ["folder", "tar"])
@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ("train", r"data\.train_images: no"),
        ("val", r"data\.val_images: no"),
        ("train/red", "1 classes of the val split are not in the train split, such as red"),
    ],
)
def test_a_split_or_a_class_that_is_missing_is_named(
    classes: Path, tmp_path: Path, form: str, damage: str, said: str
) -> None:
    root = shutil.copytree(classes, tmp_path / "root")
    shutil.rmtree(root / damage)
    place = root if form == "folder" else packed(root, tmp_path / "classes.tar")
    with pytest.raises(UserError, match=said):
        read_folders(Data(root=str(place)))


def test_what_is_neither_a_folder_nor_a_plain_tar_file_is_refused(classes: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"data\.root: no folder or tar file `/nowhere`"):
        read_folders(Data(root="/nowhere"))
    with pytest.raises(UserError, match="not a plain tar file") as caught:
        read_folders(Data(root=str(packed(classes, tmp_path / "classes.tar.gz", "w:gz"))))
    assert "compress" in caught.value.hint
    with tarfile.open(tmp_path / "empty.tar", "w"):
        pass
    with pytest.raises(UserError, match=r"no `train/CLASS/NAME\.jpg`"):
        read_folders(Data(root=str(tmp_path / "empty.tar")))
    (tmp_path / "bare" / "train").mkdir(parents=True)
    (tmp_path / "bare" / "val").mkdir()
    with pytest.raises(UserError, match="its train split has no images in folders of classes"):
        read_folders(Data(root=str(tmp_path / "bare")))


@given(
    width=st.integers(1, 500),
    height=st.integers(1, 500),
    seed=st.integers(0, 1000),
    area=st.tuples(st.floats(0.05, 1), st.floats(0.05, 1)).map(sorted),
)
def test_a_crop_lies_in_its_image_and_has_the_area_and_aspect_asked_for(
    width: int, height: int, seed: int, area: list[float]
) -> None:
    crop = draw_crop(Augment(crop_area=(area[0], area[1])), generator(seed, SAMPLE))
    part = part_of(crop, width, height)
    assert 0 <= part.left < part.right <= width
    assert 0 <= part.top < part.bottom <= height
    fits = [shape for shape in crop.shapes if (width * height * shape[0]) ** 0.5 * 1.16 < min(width, height) - 1]
    if fits and min(width, height) > 40 and crop.shapes[0] in fits:
        assert area[0] - 0.1 <= part.width * part.height / (width * height) <= area[1] + 0.1
        assert 0.7 <= part.width / part.height <= 1.4
    middle = middle_of(width, height)
    assert middle.width == middle.height == max(round(min(width, height) * 0.875), 1)
    assert abs(middle.left + middle.right - width) <= 1
    assert abs(middle.top + middle.bottom - height) <= 1


def test_evaluation_shows_the_middle_of_an_image(tmp_path: Path) -> None:
    for split in ("train", "val"):
        (tmp_path / split / "a").mkdir(parents=True)
        write_image(tmp_path / split / "a" / "1.png", 64, 48)
    _, val = read_folders(Data(root=str(tmp_path)))
    (batch,) = class_eval_loader(val, config(tmp_path), rank=0, world=1, workers=0, gpu=False)
    pixels = cv2.cvtColor(cv2.imread(str(tmp_path / "val/a/1.png")), cv2.COLOR_BGR2RGB)
    expected = cv2.resize(pixels[3:45, 11:53], (32, 32))
    assert (batch.images[0].numpy() == expected.transpose(2, 0, 1)).all()


def made(index: FolderIndex, train: Train, *, workers: int = 0, rank: int = 0, world: int = 1) -> list[ClassBatch]:
    return list(class_train_loader(index, train, rank=rank, world=world, start_step=3, workers=workers, gpu=False))


def test_workers_ranks_and_a_tar_file_make_the_same_bits(classes: Path, tmp_path: Path) -> None:
    train = config(classes)
    index, _ = read_folders(train.data)
    in_tar, _ = read_folders(Data(root=str(packed(classes, tmp_path / "classes.tar"))))
    alone = made(index, train)
    assert len(alone) == 5
    for other in (made(index, train, workers=2), made(in_tar, train, workers=1)):
        assert all(torch.equal(one.images, same.images) for one, same in zip(alone, other, strict=True))
        assert all(torch.equal(one.targets, same.targets) for one, same in zip(alone, other, strict=True))
    parts = [made(index, train, rank=rank, world=2) for rank in range(2)]
    for one, first, second in zip(alone, *parts, strict=True):
        assert torch.equal(one.images, torch.cat([first.images, second.images]))
        assert torch.equal(one.targets, torch.cat([first.targets, second.targets]))
    assert not torch.equal(alone[0].images, alone[-1].images)


@pytest.mark.parametrize("form", ["folder", "tar"])
def test_an_image_that_cannot_be_read_is_grey_of_no_class_and_named(classes: Path, tmp_path: Path, form: str) -> None:
    root = shutil.copytree(classes, tmp_path / "root")
    cut = root / "val/green/2.jpg"
    cut.write_bytes(cut.read_bytes()[:300])
    place = root if form == "folder" else packed(root, tmp_path / "classes.tar")
    train = config(place)
    _, val = read_folders(train.data)
    batches = list(class_eval_loader(val, train, rank=0, world=1, workers=0, gpu=False))
    (name,) = [name for batch in batches for name in batch.bad]
    assert name.endswith("val/green/2.jpg")
    targets, images = (torch.cat([batch[field] for batch in batches]) for field in (1, 0))
    (bad,) = torch.nonzero(targets == NO_CLASS).flatten().tolist()
    assert (images[bad] == GREY).all()
    assert val.name(bad) == name


@given(st.integers(0, 2**32 - 1))
def test_ranks_agree_with_a_slow_reference(seed: int) -> None:
    random = np.random.default_rng(seed)
    logits = random.integers(0, 4, (6, 7)).astype(np.float32)
    logits[random.random((6, 7)) < 0.05] = np.nan
    targets = random.integers(0, 7, 6)
    targets[random.random(6) < 0.2] = NO_CLASS
    ids = torch.arange(6) + 10
    batch = ClassBatch(torch.empty(6, 3, 1, 1), torch.from_numpy(targets), ids)
    found = ranks_of(torch.from_numpy(logits), batch)
    assert found[:, 0].tolist() == ids.tolist()
    for row, target, rank in zip(logits, targets, found[:, 1], strict=True):
        if target == NO_CLASS or np.isnan(row[target]):
            assert rank == 7
        else:
            assert rank == sum(other >= row[target] for place, other in enumerate(row) if place != target)


def test_a_record_has_shares_of_all_images_and_of_each_class(classes: Path) -> None:
    train = config(classes)
    _, val = read_folders(train.data)
    ranks = np.array([0, 0, 1, 5, 0, 2, 2, 4, 6, 6, 6, 6])
    found = np.stack([np.arange(12), ranks], axis=1)
    made = record([found[5:], found[:5]], val, train, epoch=2, step=8, started=0.0)
    assert made.metrics == {"top1": 3 / 12, "top5": 7 / 12}
    assert [(each.name, each.metrics["top1"], each.metrics["top5"]) for each in made.per_class] == [
        ("blue", 0.5, 0.75),
        ("green", 0.25, 1.0),
        ("red", 0.0, 0.0),
    ]
    assert (made.iou_type, made.ground_truth.images, made.ground_truth.categories) == ("class", 12, 3)


def test_the_classifier_is_darknets() -> None:
    model = Classifier(Model(name="darknet53"), 1000)
    assert sum(parameter.numel() for parameter in model.parameters()) == 41_609_928


def test_the_loss_is_a_sum_over_the_batch_in_which_images_of_no_class_count_as_0() -> None:
    torch.manual_seed(0)
    model = Classifier(Model(name="darknet-tiny"), 3)
    images = torch.rand(4, 3, 32, 32)
    labels = torch.tensor([0, 2, NO_CLASS, 1])
    losses = model(images, labels)
    with torch.no_grad():
        logits = model.classifier(model.backbone(images)[-1].mean((2, 3)))
    known = labels != NO_CLASS
    assert torch.allclose(losses["class"], cross_entropy(logits[known], labels[known]) * 3 / 4)
    assert set(losses) == {"class"}
    model.eval()
    assert model(images).shape == (4, 3)
