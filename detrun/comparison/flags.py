"""Why the numbers of some runs may not be comparable, and what all of them share. No I/O."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import PurePath

from detrun.comparison import Comparison, Run, Selection
from detrun.readers.draft import SCALED
from detrun.readers.number import ABSENT
from detrun.readers.ultralytics import OWN_AP

STATE = "state: "
NOT_RANKED = "not ranked: "
_NAMES_SHOWN = 5
_NAMES_COUNTED = 2
_FULL = "full"


def comparability(runs: Sequence[Run]) -> tuple[str, ...]:
    """One line for each condition that differs between runs with an evaluation, as `kind: words`."""
    runs = [run for run in runs if run.selected]
    flags = [_differing(kind, runs, value) for kind, value in _CONDITIONS.items()]
    flags.append(_unstated("ground truth", runs, _ground_truth))
    flags += _told_twice(runs)
    flags.append(_minority("engine", runs, _has_own_ap, "AP as ultralytics computes it"))
    flags.append(_minority("scale", runs, _scaled, "x100 in the log, converted"))
    return tuple(flag for flag in flags if flag)


def unranked(runs: Sequence[Run]) -> tuple[str, ...]:
    """The runs that are not ranked, by why."""
    reasons: dict[str, list[str]] = {}
    for run in runs:
        if run.state != "done":
            why = next((flag.removeprefix(STATE) for flag in run.flags if flag.startswith(STATE)), run.state)
            reasons.setdefault(why, []).append(run.name)
        elif not run.selected:
            reasons.setdefault(f"no {run.iou_type} evaluation", []).append(run.name)
    return tuple(f"{NOT_RANKED}{_listed(names)} ({reason})" for reason, names in reasons.items())


def setting(runs: Sequence[Run]) -> tuple[str, ...]:
    """What the evaluations of all runs share, in a few words each."""
    known = [
        _shared(runs, lambda run: PurePath(str(run.config.get("data.root") or "")).name.removeprefix("builtin:")),
        _shared(runs, lambda run: f"{run.setting.ground_truth.images} images" if run.setting else None),
        _shared(runs, lambda run: f"maxDets {limit}" if (limit := _max_detections(run)) else None),
        _shared(runs, _input_size),
        _shared(runs, _engine),
    ]
    return tuple(word for word in known if word)


def notes(comparison: Comparison) -> tuple[str, ...]:
    """How the numbers are to be read."""
    runs = [run for arm in comparison.every_arm for run in arm.runs]
    found = [_selection_note(runs, comparison.selected_by)]
    found += [f"Δ to {comparison.baseline}"] if comparison.baseline else []
    groups = [arm for arm in comparison.every_arm if len(arm.runs) > 1]
    if groups:
        found.append(f"± sample SD, n = {', '.join(map(str, sorted({len(arm.runs) for arm in groups})))} seeds")
        found += [f"{arm.name} = mean of {_listed([run.name for run in arm.runs])}" for arm in groups]
    if len(comparison.arms) == 2 and (words := "".join(arm.verdict for arm in comparison.arms)):
        found.append(f"Δ AP {words}")
    if any(arm.intervals for arm in comparison.arms):
        found.append("[95% CI]: paired bootstrap over images")
    return tuple(found)


def _selection_note(runs: Sequence[Run], by: Selection) -> str:
    if all(len(run.evaluations) == 1 for run in runs):
        return "one evaluation each"
    if by == "best":
        return "best epoch, chosen on the val set itself and so optimistic"
    differ = any(run.best is not run.last for run in runs)
    return "last epoch (the best is chosen on the val set itself and so optimistic)" if differ else "last epoch"


def _ground_truth(run: Run) -> str | None:
    return run.setting.ground_truth.sha256[:7] if run.setting else None


def _max_detections(run: Run) -> str | None:
    if run.setting:
        return str(run.setting.max_detections)
    return run.selected.max_detections if run.selected else None


def _engine(run: Run) -> str | None:
    return f"{run.setting.engine.name} {run.setting.engine.version}" if run.setting else None


def _input_size(run: Run) -> str | None:
    return f"{run.setting.image_size} px" if run.setting else None


def _images(run: Run) -> str | None:
    return str(run.setting.ground_truth.images) if run.setting else None


def _decimals(run: Run) -> str | None:
    if not run.selected:
        return None
    return _FULL if run.selected.decimals is None else str(run.selected.decimals)


def _has_own_ap(run: Run) -> bool:
    return OWN_AP in run.flags


def _scaled(run: Run) -> bool:
    return SCALED in run.flags


_CONDITIONS: dict[str, Callable[[Run], str | None]] = {
    "ground truth": _ground_truth,
    "images": _images,
    "maxDets": _max_detections,
    "engine": _engine,
    "IoU type": lambda run: run.iou_type,
    "input size": _input_size,
    "decimals": _decimals,
}


def _differing(kind: str, runs: Sequence[Run], value: Callable[[Run], str | None]) -> str:
    """`kind: one (3 runs), another (a, b)` where runs differ; `""` where they do not."""
    held: dict[str, list[str]] = {}
    for run in runs:
        known = value(run)
        if known is not None:
            held.setdefault(known, []).append(run.name)
    if len(held) < 2:
        return ""
    return f"{kind}: " + ", ".join(f"{known} ({_counted(names)})" for known, names in held.items())


def _told_twice(runs: Sequence[Run]) -> list[str]:
    """Logs of one folder that tell the same evaluations, such as a `.log` and its `.json`."""
    tellings: dict[object, list[str]] = {}
    for run in runs:
        if not run.ours:
            curve = tuple(round(each.metrics.get("AP", ABSENT), 3) for each in run.evaluations)
            tellings.setdefault((PurePath(run.source).parent, curve), []).append(run.name)
    return [f"same results: {_listed(names)}" for names in tellings.values() if len(names) > 1]


def _unstated(kind: str, runs: Sequence[Run], value: Callable[[Run], str | None]) -> str:
    """Where some runs say and others do not."""
    silent = [run.name for run in runs if value(run) is None]
    return f"{kind}: not stated ({_counted(silent)})" if 0 < len(silent) < len(runs) else ""


def _minority(kind: str, runs: Sequence[Run], holds: Callable[[Run], bool], words: str) -> str:
    names = [run.name for run in runs if holds(run)]
    return f"{kind}: {words} ({_counted(names)})" if 0 < len(names) < len(runs) else ""


def _shared(runs: Iterable[Run], value: Callable[[Run], str | None]) -> str | None:
    values = {value(run) for run in runs}
    return values.pop() if len(values) == 1 else None


def _counted(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= _NAMES_COUNTED else f"{len(names)} runs"


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_NAMES_SHOWN])
    return shown if len(names) <= _NAMES_SHOWN else f"{shown} and {len(names) - _NAMES_SHOWN} more"
