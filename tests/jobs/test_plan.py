from pathlib import Path
from typing import Any

import msgspec
import pytest

from detector import config
from detector.config import ConfigError
from jobs import plan as planning
from jobs import recipe
from jobs.errors import RecipeError, ResourceError
from jobs.plan import Plan
from jobs.resources import Resources

DIGITS = recipe.load("digits")


def planned(*sets: str, chosen: recipe.Recipe = DIGITS, **changes: Any) -> Plan:
    settings: dict[str, Any] = {
        "seeds": None,
        "executor": "local",
        "resources": chosen.resources,
        "cwd": Path("/work"),
        "owner": lambda _: None,
        "best_of": lambda word: (f"/runs/{word}/checkpoints/best.pt", word),
    }
    return planning.plan(chosen, sets=sets, **(settings | changes))


@pytest.mark.parametrize("name", recipe.shipped())
def test_every_shipped_recipe_resolves_on_its_own_gpus(name: str) -> None:
    chosen = recipe.load(name)

    made = planned(chosen=chosen, executor="slurm")

    assert chosen.description
    assert made.runs
    assert all(config.load(run.config) for run in made.runs)


def test_the_recipes_of_the_contract_are_there() -> None:
    needed = {"digits", "yolov3-coco", "yolov3-tiny-coco", "yolov3-bccd", "yolov3-tiny-bccd"}
    needed |= {"fasterrcnn-coco", "retinanet-coco", "fcos-coco", "ssdlite-coco"}
    assert needed <= set(recipe.shipped())


def test_the_founding_experiment_is_one_recipe_with_two_runs() -> None:
    made = planned(chosen=recipe.load("yolov3-coco"), executor="slurm")

    assert made.varied == ("model.init",)
    assert [run.overrides["model.init"] for run in made.runs] == ["scratch", "darknet53.conv.74"]
    assert made.resources.world_size == 4


def test_the_same_request_has_the_same_ids_and_another_seed_has_not() -> None:
    first, second, other = planned("epochs=12"), planned("epochs=12"), planned("epochs=12", "seed=1")

    assert first.runs[0].id == second.runs[0].id != other.runs[0].id
    assert first.runs[0].id.startswith("digits-")
    assert len(first.runs[0].id) == len("digits-") + 6


def test_seeds_multiply_a_sweep() -> None:
    made = planned("optim.lr=1e-3,3e-4", seeds=3)

    assert len(made.runs) == 6
    assert {run.config["seed"] for run in made.runs} == {0, 1, 2}
    assert made.varied == ("optim.lr", "seed")


def test_a_sweep_keeps_its_name_when_values_come_and_go() -> None:
    small, large, other = planned("seed=1,2"), planned("seed=1,2,3"), planned("seed=1,2", "optim.lr=1e-4")

    assert small.sweep == large.sweep != other.sweep
    assert {run.id for run in small.runs} < {run.id for run in large.runs}
    assert planned().sweep is None


def test_ids_that_collide_grow_until_they_differ() -> None:
    plain = planned().runs[0]

    taken = planned(owner=lambda run: "another config" if run == plain.id else None).runs[0]
    mine = planned(owner=lambda _: plain.digest).runs[0]

    assert taken.id.startswith(plain.id)
    assert len(taken.id) == len(plain.id) + 1
    assert mine.id == plain.id


def test_relative_paths_are_anchored_where_the_user_stands() -> None:
    made = planned("data.root=data/coco", "model.init=w/yolo.weights")

    assert made.runs[0].config["data"]["root"] == "/work/data/coco"
    assert made.runs[0].config["model"]["init"] == "/work/w/yolo.weights"
    assert planned().runs[0].config["data"]["root"] == "builtin:digits"


@pytest.mark.parametrize(
    ("sets", "key", "hint"),
    [
        ("optim.lrr=1", "optim.lrr", "`optim.lr`"),
        ("lr=1", "lr", "`optim.lr`"),
        ("precision=O1", "precision", "`fp16`"),
        ("model.name=yolov4", "model.name", "`yolov3`"),
        ("optim=3", "optim", "`optim.name`"),
    ],
)
def test_a_bad_key_or_value_names_its_path_and_the_fix(sets: str, key: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        planned(sets)
    assert caught.value.key == key
    assert hint in caught.value.hint


def test_a_batch_that_does_not_divide_among_processes_is_refused() -> None:
    with pytest.raises(ConfigError, match="16 images do not divide among 3 processes"):
        planned("optim.batch_size=16", resources=Resources(procs=3))


def test_several_nodes_need_slurm() -> None:
    with pytest.raises(ResourceError, match="--nodes 2 needs Slurm"):
        planned(resources=Resources(nodes=2))


def test_a_run_can_start_from_the_best_weights_of_another() -> None:
    made = planned("model.init=scratch,@earlier")

    assert [run.after for run in made.runs] == [(), ("earlier",)]
    assert made.runs[1].config["model"]["init"] == "/runs/earlier/checkpoints/best.pt"


def test_the_hash_is_over_the_resolved_config() -> None:
    run = planned().runs[0]

    assert planning.digest(run.config) == run.digest
    assert run.digest.startswith(run.id.removeprefix("digits-"))
    assert msgspec.json.decode(msgspec.json.encode(run.config)) == run.config


def write(folder: Path, text: str) -> str:
    path = folder / "mine.toml"
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[train\n", "is no TOML"),
        ("[trian]\n", "unknown table `trian`"),
        ('description = "x"\n', "needs either"),
        ('[train]\n[sweep]\n"optim.lr" = 3\n', "has no list of values"),
        ("[train]\n[sweep]\noptim.lr = [3]\n", "sweep over `optim"),
        ("command = 'train.py'\n", "is not a list of strings"),
        ("[train]\n[resources]\ntime = 'soon'\n", "is not a time limit"),
    ],
)
def test_a_broken_recipe_file_is_named_with_what_is_wrong(tmp_path: Path, text: str, problem: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises((RecipeError, ResourceError), match=problem):
        recipe.load(path)


def test_an_unknown_recipe_suggests_the_nearest() -> None:
    with pytest.raises(RecipeError) as caught:
        recipe.load("yolov3-bcd")
    assert "`yolov3-bccd`" in caught.value.hint


FOREIGN = """
command = ["train.py", "--lr", "{optim.lr}", "--out", "{run_dir}"]
[params.optim]
lr = 0.1
momentum = 0.9
"""


def test_another_trainer_is_swept_over_its_own_keys(tmp_path: Path) -> None:
    chosen = recipe.load(write(tmp_path, FOREIGN))

    made = planned("optim.lr=1,2", chosen=chosen)

    assert [run.config["params"]["optim"]["lr"] for run in made.runs] == [1, 2]
    assert made.runs[0].config["command"] == ["train.py", "--lr", "{optim.lr}", "--out", "{run_dir}"]
    with pytest.raises(ConfigError) as caught:
        planned("optim.lrr=1", chosen=chosen)
    assert "`optim.lr`" in caught.value.hint


def test_a_placeholder_that_nothing_fills_is_an_error(tmp_path: Path) -> None:
    chosen = recipe.load(write(tmp_path, 'command = ["train.py", "{epochs}"]\n'))
    with pytest.raises(ConfigError, match="nothing sets it"):
        planned(chosen=chosen)
    assert planned("epochs=3", chosen=chosen).runs
