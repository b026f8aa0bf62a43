"""One optimizer step: the same whatever splits its batch, clipped where asked, averaged beside the weights."""

from pathlib import Path
from typing import Any

import pytest
import torch
from spawned import on_ranks
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from detector.batch import IMAGE, Batch
from detector.config import ConfigError, Eval, Model, Optim, Schedule, Train, load
from detector.data.sampler import share
from detector.errors import UserError
from detector.learner import Learner
from detector.losses import LossLog
from detector.models import build
from detector.processes import Ranks

IMAGES = 8
LR = 1e-3
TARGETS = torch.tensor([[image, image % 3, 20 + 2 * image, 40, 20, 30, 0] for image in range(IMAGES)]).float()


def micro_batch(part: slice) -> Batch:
    """Some images of one fixed global batch."""
    images = torch.randint(0, 256, (IMAGES, 3, 64, 64), generator=torch.Generator().manual_seed(3), dtype=torch.uint8)
    rows = TARGETS[(TARGETS[:, IMAGE] >= part.start) & (TARGETS[:, IMAGE] < part.stop)].clone()
    rows[:, IMAGE] -= part.start
    count = part.stop - part.start
    return Batch(images[part], rows, torch.arange(count), torch.ones(count, 4), torch.ones(count, 2))


def learner(
    ranks: Ranks,
    *,
    compile: bool = False,  # noqa: A002
    name: str = "yolov3-tiny",
    precision: str = "fp32",
    norm_momentum: float | None = None,
    optimizer: str = "sgd",
    **optim: Any,
) -> Learner:
    """Batch norm keeps to its running statistics: a layer that looks at its batch cannot be indifferent to splits."""
    torch.manual_seed(0)
    config = Train(
        compile=compile,
        precision=precision,
        model=Model(name=name, norm_momentum=norm_momentum),
        optim=Optim(name=optimizer, batch_size=IMAGES, lr=LR, weight_decay=0.0, **optim),
        schedule=Schedule(burn_in_steps=0),
    )
    model = build(config.model, 3, eval=Eval())
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    return Learner(model, config, ranks, steps=10)


def after_a_step(ranks: Ranks, **optim: Any) -> list[Tensor]:
    """The parameters behind one step over this rank's share."""
    pupil = learner(ranks, **optim)
    mine = share(IMAGES, ranks.rank, ranks.world)
    parts = [share(mine.stop - mine.start, part, pupil.accumulate) for part in range(pupil.accumulate)]
    pupil.step([micro_batch(slice(mine.start + part.start, mine.start + part.stop)) for part in parts], 0)
    return [parameter.detach().clone() for parameter in pupil.model.parameters()]


def step_on_a_rank(ranks: Ranks, path: str) -> None:
    ranks.join()
    found = after_a_step(ranks, micro_batch=3)
    if ranks.is_first:
        torch.save(found, path)


def test_a_step_is_the_same_whatever_splits_its_batch(tmp_path: Path) -> None:
    """8 images at once, in uneven parts of 2, 3 and 3, and on 2 ranks that take at most 3 at a time."""
    start = [parameter.detach().clone() for parameter in learner(Ranks()).model.parameters()]
    whole = after_a_step(Ranks())
    on_ranks(step_on_a_rank, str(tmp_path / "step.pt"))
    spread = torch.load(tmp_path / "step.pt", weights_only=True)

    for split in (after_a_step(Ranks(), micro_batch=3), spread):
        for before, expected, found in zip(start, whole, split, strict=True):
            torch.testing.assert_close(found - before, expected - before, rtol=1e-3, atol=1e-6)
    assert any((one != other).any() for one, other in zip(start, whole, strict=True))


def test_the_gradients_norm_is_bounded() -> None:
    before = torch.cat([each.detach().flatten() for each in learner(Ranks()).model.parameters()])
    free, bound = (
        torch.cat([each.flatten() for each in after_a_step(Ranks(), clip_norm=limit)]) - before for limit in (0.0, 0.5)
    )

    assert free.norm() > LR * 0.5
    assert bound.norm() == pytest.approx(LR * 0.5, rel=1e-3)
    assert torch.cosine_similarity(bound, free, 0) > 0.999


def test_the_average_follows_beside_the_weights_and_comes_back_with_them() -> None:
    pupil, batch = learner(Ranks(), ema=0.5), micro_batch(slice(0, IMAGES))
    raw, expected = pupil.model.state_dict(), {key: value.clone() for key, value in pupil.model.state_dict().items()}
    for step in range(3):
        pupil.step([batch], step)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = {key: decay * value + (1 - decay) * raw[key] for key, value in expected.items()}
    state = pupil.state()

    assert pupil.evaluated is not pupil.model
    for key, value in state["average"].items():
        torch.testing.assert_close(value, expected[key].to(value.dtype), rtol=1e-4, atol=1e-6)
        assert torch.equal(state["model"][key], raw[key])
    assert any((value != raw[key]).any() for key, value in state["average"].items())
    other = learner(Ranks(), ema=0.5)
    other.restore(state)
    assert all(torch.equal(value, state["average"][key]) for key, value in other.evaluated.state_dict().items())


def test_without_a_decay_the_weights_themselves_are_evaluated() -> None:
    pupil = learner(Ranks())
    assert pupil.evaluated is pupil.model
    assert "average" not in pupil.state()


def test_compiled_steps_learn_the_same_and_their_checkpoints_are_those_of_any_other() -> None:
    plain, pupil = learner(Ranks(), ema=0.5), learner(Ranks(), compile=True, ema=0.5)
    for step, boxes in enumerate((8, 5, 3)):
        batch = micro_batch(slice(0, IMAGES))
        batch = batch._replace(targets=batch.targets[:boxes])
        expected, found = plain.step([batch], step), pupil.step([batch], step)
        torch.testing.assert_close(found[0], expected[0], rtol=1e-4, atol=1e-6)
        assert found[1] == expected[1]
    # Another number of boxes is no reason to compile again.
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1
    theirs, ours = plain.state(), pupil.state()
    for part in ("model", "average"):
        assert ours[part].keys() == theirs[part].keys()
    plain.restore(ours)
    pupil.restore(theirs)
    assert all(torch.equal(value, ours["model"][key]) for key, value in plain.model.state_dict().items())


def test_compiling_without_a_compiler_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(UserError, match=r"compile: torch needs a C\+\+ compiler on cpu and finds none"):
        learner(Ranks(), compile=True)
    with pytest.raises(ConfigError, match="torchvision's fcos has other shapes for every image"):
        load({"compile": True, "model": {"name": "fcos"}})


class Waits(TorchDispatchMode):
    """Counts what makes the host wait for a GPU: a number that is read, and shapes that depend on values."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = function.overloadpacket.__name__
        by_mask = name in ("index", "index_put", "index_put_") and any(
            index is not None and index.dtype == torch.bool for index in args[1]
        )
        if by_mask or name in ("_local_scalar_dense", "nonzero", "masked_select", "unique2", "_unique2", "equal"):
            self.seen.append(name)
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("name", ["yolov3-tiny", "yolox-darknet-tiny"])
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_no_step_waits_for_the_device(name: str, precision: str, optimizer: str) -> None:
    """Forward, assignment, loss, backward, clipping, optimizer and average: all of it is queued on a GPU at once."""
    everything: dict[str, Any] = {"ema": 0.5, "clip_norm": 10.0, "micro_batch": 4}
    pupil = learner(Ranks(), name=name, precision=precision, **everything, optimizer=optimizer)
    halves = [micro_batch(slice(0, 4)), micro_batch(slice(4, 8))]
    log = LossLog(Ranks())
    with Waits() as waits:
        parts, names = pupil.step(halves, 0)
        log.add(1, parts, names, [half.image_ids for half in halves])
    assert waits.seen == []
    with waits:
        log.read()
    assert waits.seen, "reading the log waits, and is counted"


@pytest.mark.parametrize(("asked", "weight"), [(None, 0.01), (0.25, 0.25)])
def test_a_batch_enters_the_statistics_with_the_weight_asked_for(asked: float | None, weight: float) -> None:
    pupil, batch = learner(Ranks(), norm_momentum=asked), micro_batch(slice(0, IMAGES))
    convolution, norm = pupil.model.backbone.convs[0].conv, pupil.model.backbone.convs[0].norm.train()
    with torch.inference_mode():
        means = convolution(pupil.images(batch)).mean((0, 2, 3))
    pupil.step([batch], 0)
    torch.testing.assert_close(norm.running_mean, weight * means, rtol=1e-4, atol=1e-6)


def test_normalising_across_processes_is_refused_where_torch_cannot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UserError, match=r"model\.sync_norm"):
        Ranks().with_shared_norms(nn.BatchNorm2d(2))
