"""Steps whose numbers are inf or NaN: left out and counted in mixed precision, the end of a run in fp32 or for long."""

from pathlib import Path
from typing import Any

import pytest
import torch
from spawned import on_ranks
from torch import Tensor
from torchrun import checkpoint, prepare

from detector.batch import Batch
from detector.checkpoint import on_host
from detector.config import Eval, Model, Optim, Schedule, Train
from detector.control import Control
from detector.errors import UserError
from detector.learner import Learner
from detector.loop import Trainer
from detector.losses import LossLog
from detector.mixed_precision import MixedPrecision
from detector.models import build
from detector.processes import Ranks
from detector.train import _train, read_config

TARGETS = torch.tensor([[image, image % 3, 20 + 2 * image, 40, 20, 30, 0] for image in range(4)]).float()
NO_COLOUR = torch.full((4, 3), torch.nan)


def batch(number: int, colours: Tensor | None = None) -> Batch:
    random = torch.Generator().manual_seed(number)
    images = torch.randint(0, 256, (4, 3, 64, 64), generator=random, dtype=torch.uint8)
    return Batch(images, TARGETS, torch.arange(4), torch.ones(4, 4), torch.ones(4, 2), colours=colours)


def learner(precision: str, **optim: Any) -> Learner:
    torch.manual_seed(0)
    config = Train(
        precision=precision,
        model=Model(name="yolov3-tiny"),
        optim=Optim(batch_size=4, **optim),
        schedule=Schedule(burn_in_steps=0),
    )
    pupil = Learner(build(config.model, 3, eval=Eval()), config, Ranks(), steps=10)
    pupil.model.train()
    return pupil


def scaling_learner() -> Learner:
    """With the scaler of fp16, though it computes in float32: convolutions in fp16 take minutes on a CPU."""
    pupil = learner("fp32", ema=0.9, clip_norm=10.0)
    pupil.precision = MixedPrecision(pupil.model, "fp16", torch.device("cpu"))
    pupil.precision.enabled = False
    pupil.precision.scaler = torch.amp.GradScaler("cpu", init_scale=2.0, growth_interval=2)
    return pupil


def parameters(pupil: Learner) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in pupil.model.parameters()]


def test_a_broken_step_of_bf16_changes_neither_weights_nor_statistics_and_is_counted() -> None:
    pupil = learner("bf16", ema=0.9)
    pupil.step([batch(0)], 0)
    before = {key: value.clone() for key, value in pupil.model.state_dict().items()}

    parts, _ = pupil.step([batch(1, NO_COLOUR)], 1)

    assert parts.isnan().any()
    for key, value in pupil.model.state_dict().items():
        assert key.endswith("num_batches_tracked") or torch.equal(value, before[key]), key
    assert (pupil.state()["skipped"], int(pupil.precision.in_a_row)) == (1, 1)
    assert all(value.isfinite().all() for value in pupil.evaluated.state_dict().values())
    pupil.step([batch(2)], 2)
    assert (pupil.state()["skipped"], int(pupil.precision.in_a_row)) == (1, 0)
    assert pupil.broken() is None
    assert not torch.equal(
        pupil.model.state_dict()["backbone.convs.0.norm.running_mean"], before["backbone.convs.0.norm.running_mean"]
    )


def test_gradients_that_overflow_fp16_are_left_out_and_counted() -> None:
    pupil = scaling_learner()
    start = parameters(pupil)
    pupil.step([batch(0)], 0)
    before = parameters(pupil)
    assert pupil.state()["skipped"] == 0
    assert not torch.equal(before[0], start[0])
    pupil.precision.scaler.update(3e38)
    pupil.step([batch(1)], 1)

    assert pupil.state()["skipped"] == 1
    assert all(torch.equal(one, other) for one, other in zip(before, parameters(pupil), strict=True))


def test_a_scaler_goes_on_where_its_checkpoint_was() -> None:
    """Its scale, its way to the next growth and the count come back: step by step the bits of the undisturbed run."""
    calm = scaling_learner()
    for step in range(3):
        calm.step([batch(step)], step)
    calm.precision.scaler.update(3e38)
    calm.step([batch(3)], 3)
    calm.precision.scaler.update(2.0)
    calm.step([batch(4)], 4)
    resumed = scaling_learner()
    resumed.restore(on_host(calm.state()))

    for step in range(5, 8):
        scales = []
        for pupil in (calm, resumed):
            pupil.step([batch(step)], step)
            scales.append(pupil.precision.scaler.get_scale())
        assert scales[0] == scales[1]
    assert resumed.precision.scaler.get_scale() > 2.0
    assert calm.state()["skipped"] == resumed.state()["skipped"] == 1
    assert all(torch.equal(one, other) for one, other in zip(parameters(calm), parameters(resumed), strict=True))


def test_a_weight_that_is_no_number_is_named() -> None:
    pupil = learner("fp32")
    assert pupil.broken() is None
    with torch.no_grad():
        pupil.model.get_parameter("backbone.convs.2.conv.weight")[0, 0, 0, 0] = torch.nan
    assert pupil.broken() == "backbone.convs.2.conv.weight"


def trainer(run: Path, data: Path, **settings: Any) -> Trainer:
    run = prepare(run, data, data__workers=0, eval__every=100, checkpoint__every_min=1e-9, **settings)
    return Trainer(run, read_config(run / "config.json"), Ranks(), Control(0, 0))


# Nothing at first, and then far too much.
RUNAWAY = {"optim__lr": 1e30, "schedule__burn_in_steps": 8, "schedule__burn_in_power": 90.0}


@pytest.mark.usefixtures("_signals")
def test_a_loss_that_is_no_number_ends_a_run_in_fp32_and_the_last_good_checkpoint_stands(
    tmp_path: Path, tiny: Path
) -> None:
    said = r"loss is (nan|inf) at step (\d): part `(box|objectness|class)`, rank 0, images \[\d+(, \d+){5}\]"
    with pytest.raises(UserError, match=said) as caught:
        trainer(tmp_path / "run", tiny, **RUNAWAY).go()
    assert "lower optim.lr" in caught.value.hint
    state = checkpoint(tmp_path / "run")
    assert 0 < state["step"] < 8
    assert all(value.isfinite().all() for value in state["model"].values())


@pytest.mark.usefixtures("_signals")
def test_weights_that_break_in_a_step_of_finite_loss_are_not_saved(tmp_path: Path, tiny: Path) -> None:
    shot = {"optim__name": "sgd", "optim__lr": 3e38, "schedule__burn_in_steps": 0}
    with pytest.raises(UserError, match=r"weights are inf or NaN at step 1, such as `\w+[.\w]+`"):
        trainer(tmp_path / "run", tiny, **shot).go()
    assert not (tmp_path / "run" / "checkpoints").exists()


@pytest.mark.usefixtures("_signals")
def test_mixed_precision_leaves_out_a_few_steps_but_not_for_ever(tmp_path: Path, tiny: Path) -> None:
    with pytest.raises(UserError, match=r"loss is .+ at step \d+: part `.*; 20 steps up to \d+ were left out in a row"):
        trainer(tmp_path / "run", tiny, precision="bf16", epochs=10, **RUNAWAY).go()
    state = checkpoint(tmp_path / "run")
    assert state["skipped"] == 19
    assert all(value.isfinite().all() for value in state["model"].values())


@pytest.mark.usefixtures("_signals")
def test_a_gpu_without_memory_is_told_with_what_needs_less(
    tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the words that torch has for it on a GPU, which this machine may lack."""

    def go(_: Trainer) -> str:
        raise torch.OutOfMemoryError(
            "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.11 GiB of which 1.20 GiB "
            "is free. Process 1 has 77.90 GiB memory in use."
        )

    monkeypatch.setattr(Trainer, "go", go)
    with pytest.raises(
        UserError, match=r"^CUDA out of memory\. Tried to allocate 2\.00 GiB\. .* 1\.20 GiB is free$"
    ) as caught:
        _train(prepare(tmp_path / "run", tiny), Control(0, 0))
    assert "--set optim.micro_batch=N" in caught.value.hint


def read_on_a_rank(ranks: Ranks, folder: str) -> None:
    ranks.join()
    log = LossLog(ranks)
    rank, broken = ranks.rank, {(1, 5): torch.inf, (0, 6): torch.nan}
    for step in (4, 5, 6):
        parts = torch.tensor([step, 2.0 * rank])
        parts[rank] = broken.get((rank, step), float(parts[rank]))
        log.add(step, parts, ("box", "class"), [torch.tensor([10 * step + rank])])
    torch.save((log.first_broken(), log.read(), log.first_broken()), Path(folder) / f"{rank}.pt")


def test_ranks_name_the_first_broken_loss_of_all_and_average_the_finite_ones(tmp_path: Path) -> None:
    on_ranks(read_on_a_rank, str(tmp_path))
    for rank in (0, 1):
        broken, means, later = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        assert broken == "loss is inf at step 5: part `class`, rank 1, images [51]"
        # Steps 4 and 5 of rank 0, 4 and 6 of rank 1.
        assert means == pytest.approx({"box": 4.75, "class": 1.0})
        assert later is None


def test_where_no_loss_is_finite_there_is_no_mean() -> None:
    log = LossLog(Ranks())
    log.add(1, torch.tensor([torch.nan, 1.0]), ("box", "class"), [torch.tensor([3])])
    assert log.read() == {}
