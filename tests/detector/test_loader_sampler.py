"""What a step learns from depends on the seed and the step, not on processes, restarts or accumulation."""

from itertools import islice
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.config import Augment, ConfigError, Data, Eval, Optim, Train
from detector.data.sampler import Draw, EvalSampler, TrainSampler

BATCH = st.integers(1, 24)
WORLD = st.integers(1, 5)


def config(batch_size: int = 4, epochs: int = 3, seed: int = 0, **augment: Any) -> Train:
    return Train(
        epochs=epochs,
        seed=seed,
        data=Data(image_size=96),
        augment=Augment(**augment),
        optim=Optim(batch_size=batch_size),
        eval=Eval(batch_size=batch_size),
    )


def plain(draw: Draw) -> tuple[Any, ...]:
    return (draw.images.tolist(), draw.size, draw.epoch, draw.first)


@given(images=st.integers(1, 60), batch=BATCH, seed=st.integers(0, 2**70))
def test_an_epoch_shows_no_image_twice_and_leaves_out_less_than_a_batch(images: int, batch: int, seed: int) -> None:
    batch = min(batch, images)
    sampler = TrainSampler(images=images, config=config(batch, epochs=2, seed=seed))
    draws = list(sampler)
    assert len(draws) == len(sampler) == sampler.steps == 2 * (images // batch)
    for epoch in range(2):
        shown = np.concatenate([draw.images for draw in draws if draw.epoch == epoch])
        assert len(set(shown.tolist())) == len(shown) > images - batch
        assert set(shown.tolist()) <= set(range(images))


@given(images=st.integers(20, 60), batch=st.integers(10, 20), world=WORLD, accumulate=st.integers(1, 2))
def test_the_ranks_together_load_what_one_would_alone(images: int, batch: int, world: int, accumulate: int) -> None:
    alone = list(TrainSampler(images=images, config=config(batch)))
    ranks = [
        list(TrainSampler(images=images, config=config(batch), rank=rank, world=world, accumulate=accumulate))
        for rank in range(world)
    ]
    for step, whole in enumerate(alone):
        parts = [draw for rank in ranks for draw in rank[step * accumulate : (step + 1) * accumulate]]
        assert np.concatenate([part.images for part in parts]).tolist() == whole.images.tolist()
        places = [place for part in parts for place in range(part.first, part.first + len(part.images))]
        assert places == list(range(whole.first, whole.first + batch))
        assert {(part.size, part.epoch) for part in parts} == {(whole.size, whole.epoch)}
        assert min(len(part.images) for part in parts) >= 1


@given(start=st.integers(0, 40), accumulate=st.integers(1, 2))
def test_a_run_that_starts_anywhere_goes_on_as_the_uninterrupted_one(start: int, accumulate: int) -> None:
    shape = {"images": 23, "config": config(4, epochs=6, multi_scale=(32, 160)), "rank": 1, "world": 2}
    whole = [plain(draw) for draw in TrainSampler(**shape, accumulate=accumulate)]
    resumed = TrainSampler(**shape, accumulate=accumulate, start_step=start)
    tail = [plain(draw) for draw in resumed]
    assert tail == whole[start * accumulate :]
    assert len(resumed) == len(tail)


def test_epochs_and_seeds_differ_in_their_order() -> None:
    orders = {
        tuple(image for draw in islice(TrainSampler(images=40, config=config(seed=seed)), 30) for image in draw.images)
        for seed in (0, 1, 2**64 - 1)
    }
    assert len(orders) == 3
    draws = list(TrainSampler(images=40, config=config(40)))
    assert len({tuple(draw.images) for draw in draws}) == 3


def test_multi_scale_gives_all_ranks_one_size_for_so_many_steps() -> None:
    train = config(4, epochs=80, multi_scale=(64, 160), multi_scale_every=5)
    ranks = [
        [draw.size for draw in TrainSampler(images=20, config=train, rank=rank, world=3, accumulate=1)]
        for rank in range(3)
    ]
    assert ranks[0] == ranks[1] == ranks[2]
    blocks = np.array(ranks[0]).reshape(-1, 5)
    assert (blocks == blocks[:, :1]).all()
    assert set(blocks[:, 0].tolist()) == {64, 96, 128, 160}


def test_without_multi_scale_the_size_is_the_configured_one() -> None:
    assert {draw.size for draw in TrainSampler(images=20, config=config())} == {96}


@pytest.mark.parametrize(("batch", "world", "accumulate"), [(21, 1, 1), (3, 4, 1), (7, 4, 2)])
def test_a_batch_size_that_cannot_be_is_named(batch: int, world: int, accumulate: int) -> None:
    with pytest.raises(ConfigError) as caught:
        TrainSampler(images=20, config=config(batch), world=world, accumulate=accumulate)
    assert caught.value.key == "optim.batch_size"
    assert caught.value.hint


@given(images=st.integers(0, 60), batch=BATCH, world=WORLD)
def test_evaluation_sees_each_image_once_in_the_same_batches_for_any_world(images: int, batch: int, world: int) -> None:
    alone = [draw.images.tolist() for draw in EvalSampler(images=images, config=config(batch))]
    assert [image for one in alone for image in one] == list(range(images))
    assert all(len(one) == batch for one in alone[:-1])
    for rank in range(world):
        sampler = EvalSampler(images=images, config=config(batch), rank=rank, world=world)
        mine = [draw.images.tolist() for draw in sampler]
        assert mine == alone[rank::world]
        assert len(sampler) == len(mine)
