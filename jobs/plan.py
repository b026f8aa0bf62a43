"""Recipe + overrides -> `Plan`: what a submission would do, as a pure value.

No I/O: the working directory, the clock, the code's state and the owners of run ids come in as arguments.
"""

import hashlib
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

from detector import config
from detector.config import ConfigError, nearest
from jobs import overrides
from jobs.errors import ResourceError
from jobs.overrides import Override
from jobs.recipe import Recipe
from jobs.resources import Resources

Executor = Literal["slurm", "local"]
PLACEHOLDER = re.compile(r"\{([\w.]+)\}")


class PlannedRun(msgspec.Struct, frozen=True, kw_only=True):
    """One run of a plan. `config` is what `config.json` will hold, whole; `after` are the runs that it builds on."""

    id: str
    digest: str
    config: dict[str, Any]
    overrides: Override
    after: tuple[str, ...] = ()


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """A submission before it happens. `varied` are the keys that differ between its runs."""

    recipe: str
    executor: Executor
    resources: Resources
    runs: tuple[PlannedRun, ...]
    varied: tuple[str, ...]
    sweep: str | None

    @property
    def gpu_hours(self) -> float:
        """GPU-hours if every run uses its whole time limit once."""
        needs = self.resources
        return len(self.runs) * needs.nodes * needs.gpus * needs.time_min / 60


def plan(
    recipe: Recipe,
    *,
    sets: Sequence[str],
    seeds: int | None,
    executor: Executor,
    resources: Resources,
    cwd: Path,
    owner: Callable[[str], str | None],
    best_of: Callable[[str], tuple[str, str]],
) -> Plan:
    """Resolve a recipe into runs.

    Args:
        recipe: as loaded.
        sets: `key=value[,value]` overrides in the order given; a later one replaces an earlier one.
        seeds: number of seeds, counted up from the configured one; `None` leaves `seed` alone.
        executor: who will run it.
        resources: of each run, command-line options applied.
        cwd: what relative paths in the config are relative to.
        owner: the digest of the config that a run id already belongs to, `None` where it is free.
        best_of: the best checkpoint of a run that `model.init=@RUN` names, and the run's id.

    Raises:
        ConfigError: an unknown key, a wrong value, or numbers that do not fit together.
        ResourceError: resources that this executor cannot give.
    """
    if executor == "local" and resources.nodes > 1:
        raise ResourceError(f"--nodes {resources.nodes} needs Slurm", "on this machine use --procs N or --gpus N")
    axes = dict(recipe.sweep) | dict(overrides.parse(text) for text in sets)
    if seeds is not None:
        axes["seed"] = _seeds(axes, recipe, seeds)
    variants = overrides.grid(axes)
    resolved = [_resolve(recipe, variant, resources, cwd, best_of) for variant in variants]
    runs = _named(_slug(recipe.name), variants, resolved, owner)
    varied = tuple(key for key in axes if len({repr(run.overrides[key]) for run in runs}) > 1)
    return Plan(
        recipe=recipe.name,
        executor=executor,
        resources=resources,
        runs=runs,
        varied=varied,
        sweep=_sweep_id(recipe, axes, varied) if varied else None,
    )


def digest(table: Any) -> str:
    """SHA-256 over canonical JSON."""
    return hashlib.sha256(msgspec.json.encode(table, order="sorted")).hexdigest()


def _seeds(axes: dict[str, list[Any]], recipe: Recipe, count: int) -> list[int]:
    if count < 1:
        raise ConfigError("", f"--seeds {count} leaves nothing to run", "give 1 or more")
    first = axes.get("seed", [recipe.train.get("seed", 0)])
    if len(first) > 1 or not isinstance(first[0], int):
        raise ConfigError("seed", "is set to several values beside --seeds", "use one of the two")
    return [first[0] + offset for offset in range(count)]


def _resolve(
    recipe: Recipe, variant: Override, needs: Resources, cwd: Path, best_of: Callable[[str], tuple[str, str]]
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """A variant's whole config, and the runs that it builds on."""
    if recipe.command is not None:
        return _foreign(recipe, variant), ()
    train = config.load(overrides.apply(recipe.train, variant))
    if train.optim.batch_size % needs.world_size:
        raise ConfigError(
            "optim.batch_size",
            f"{train.optim.batch_size} images do not divide among {needs.world_size} processes",
            f"use a multiple of {needs.world_size}, or another number of nodes, GPUs or processes",
        )
    table = config.dump(train)
    table["data"]["root"] = _absolute(train.data.root, cwd, ("builtin:",))
    if train.model.init.startswith("@"):
        table["model"]["init"], earlier = best_of(train.model.init[1:])
        return table, (earlier,)
    table["model"]["init"] = _absolute(train.model.init, cwd, ("scratch",))
    return table, ()


def _foreign(recipe: Recipe, variant: Override) -> dict[str, Any]:
    """The config of another trainer: its parameters, and the command that they fill."""
    assert recipe.command is not None
    used = {key for part in recipe.command for key in PLACEHOLDER.findall(part)} - {"run_dir"}
    good = sorted(used | set(_leaves(recipe.params)) | {"seed"})
    for key in variant:
        if key not in good:
            raise ConfigError(key, f"unknown key of {recipe.path.name}", nearest(key, good))
    params = overrides.apply(recipe.params, variant)
    missing = [key for key in sorted(used) if overrides.lookup(params, key) is None]
    if missing:
        raise ConfigError(missing[0], f"{recipe.path.name} uses it and nothing sets it", f"--set {missing[0]}=VALUE")
    return {"command": list(recipe.command), "params": params}


def _leaves(table: dict[str, Any], prefix: str = "") -> list[str]:
    keys: list[str] = []
    for name, value in table.items():
        keys += _leaves(value, f"{prefix}{name}.") if isinstance(value, dict) else [prefix + name]
    return keys


def _absolute(path: str, cwd: Path, kept: tuple[str, ...]) -> str:
    if not path or path.startswith(kept):
        return path
    return str((cwd / Path(path).expanduser()).absolute())


def _named(
    recipe: str,
    variants: list[Override],
    resolved: list[tuple[dict[str, Any], tuple[str, ...]]],
    owner: Callable[[str], str | None],
) -> tuple[PlannedRun, ...]:
    """Give each config the shortest id from six digits up that no other config has."""
    taken: dict[str, str] = {}
    runs = []
    for variant, (table, after) in zip(variants, resolved, strict=True):
        full = digest(table)
        for length in range(6, 65):
            name = f"{recipe}-{full[:length]}"
            if (taken.get(name) or owner(name) or full) == full:
                break
        if name not in taken:
            taken[name] = full
            runs.append(PlannedRun(id=name, digest=full, config=table, overrides=variant, after=after))
    return tuple(runs)


def _sweep_id(recipe: Recipe, axes: dict[str, list[Any]], varied: tuple[str, ...]) -> str:
    """The same for any values of the same keys, so that a sweep can grow and shrink."""
    fixed = {key: values for key, values in axes.items() if key not in varied}
    return f"{_slug(recipe.name)}-sweep-{digest([recipe.name, fixed, sorted(varied)])[:6]}"


def _slug(name: str) -> str:
    return re.sub(r"[^\w.-]+", "-", name).strip("-.") or "recipe"
