"""The cells of a comparison's columns: text without layout, with what is best and what is noise. Pure."""

from collections.abc import Sequence
from pathlib import PurePath

import msgspec

from detrun.comparison import Arm, Comparison, Interval, Run, Value
from detrun.comparison.verdict import WITHIN
from detrun.readers.number import ABSENT
from detrun.render.words import NOTHING, metric, number, sparkline

DECIMALS = 3
_FINE_DECIMALS = 4
_CURVE_POINTS = 10


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """Text, and whether it is the best of its column, or a difference within seed noise."""

    text: str = NOTHING
    best: bool = False
    noise: bool = False


def metric_cells(name: str, comparison: Comparison) -> list[Cell]:
    """A metric of each arm, AP with its standard deviation over seeds. The best of the ranked arms is marked."""
    texts = [_mean(arm, name) for arm in comparison.every_arm]
    ranked = [float(text) for arm, text in zip(comparison.arms, texts, strict=False) if _is_value(arm, name)]
    top = max(ranked, default=None) if len(set(ranked)) > 1 else None
    best = [
        place < len(comparison.arms) and top is not None and _number(text) == top for place, text in enumerate(texts)
    ]
    spreads = [_spread(arm, name) for arm in comparison.every_arm]
    return [Cell(text=text + spread, best=is_best) for text, spread, is_best in zip(texts, spreads, best, strict=True)]


def delta_cell(arm: Arm, comparison: Comparison) -> Cell:
    """The difference in AP, or top-1, with its interval."""
    if arm.is_baseline:
        return Cell(text="baseline")
    interval = arm.intervals.get(comparison.headline)
    text = signed(arm.deltas.get(comparison.headline)) or NOTHING
    return Cell(text=f"{text} {bounds(interval)}" if interval else text, noise=WITHIN in arm.verdict)


def other_cell(arm: Arm, comparison: Comparison) -> Cell:
    """AP, or top-1, of the epoch that was not selected: the best beside the last, or the last beside the best."""
    run = arm.runs[0]
    other = run.last if comparison.selected_by == "best" else run.best
    if len(arm.runs) > 1 or other is None or other is run.selected or comparison.headline not in other.metrics:
        return Cell(text="")
    where = "" if other.epoch is None else f" @{other.epoch}"
    return Cell(text=metric(other.metrics[comparison.headline], DECIMALS) + where)


def curve_cell(arm: Arm, _: Comparison) -> Cell:
    """AP, or top-1, over the evaluations."""
    known = [value for value in arm.curve if value != ABSENT]
    step = max(1.0, (len(known) - 1) / (_CURVE_POINTS - 1))
    picked = [known[round(place * step)] for place in range(min(len(known), _CURVE_POINTS))]
    return Cell(text=sparkline(picked))


def value_cells(values: Sequence[Value]) -> list[Cell]:
    """Config values and the like, as short as they can be told apart."""
    names = [PurePath(value).name if isinstance(value, str) and "/" in value else value for value in values]
    shown = names if len(set(map(repr, names))) == len(set(map(repr, values))) else values
    return [Cell(text=_plain(value)) for value in shown]


def cost_cell(value: Value) -> Cell:
    """GPU-hours, images per second and the like, to three digits."""
    return Cell(text=number(value if isinstance(value, (int, float)) else None))


def signed(value: float | None, decimals: int = DECIMALS) -> str:
    """A difference with its sign; `""` where it is not known."""
    if value is None:
        return ""
    text = metric(abs(value), decimals)
    return f"-{text}" if value < 0 and float(text) > 0 else f"+{text}"


def bounds(interval: Interval) -> str:
    """The two ends of a confidence interval."""
    return f"[{signed(interval.lower)} {signed(interval.upper)}]"


def run_state(run: Run) -> str:
    """The state of a run, with how far it came."""
    epoch, epochs = run.selected.epoch if run.selected else None, run.config.get("epochs")
    return f"{run.state} {epoch}/{epochs}" if run.ours and run.state != "done" and epochs else run.state


def _mean(arm: Arm, name: str) -> str:
    value = arm.metrics.get(name)
    return metric(value, _decimals(arm, name)) if value is not None else NOTHING


def _spread(arm: Arm, name: str) -> str:
    return f" ±{metric(arm.sd[name], _decimals(arm, name))}" if name in ("AP", "top1") and name in arm.sd else ""


def _decimals(arm: Arm, name: str) -> int:
    """Three, four where the spread over seeds would vanish, and never more than the log has."""
    held = [run.selected.decimals for run in arm.runs if run.selected and run.selected.decimals is not None]
    hidden = name in ("AP", "top1") and 0.0 < arm.sd.get(name, 1.0) < 0.5 * 10**-DECIMALS
    wanted = _FINE_DECIMALS if hidden else DECIMALS
    return min([wanted, *held])


def _is_value(arm: Arm, name: str) -> bool:
    return arm.metrics.get(name, ABSENT) != ABSENT


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _plain(value: Value) -> str:
    if value is None or value == "":
        return NOTHING
    return f"{value:.6g}" if isinstance(value, float) else str(value)
