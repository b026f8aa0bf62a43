"""Watching runs: redrawn in place on a terminal, one line for each change elsewhere."""

import time
from collections.abc import Callable

from detector.records import headline
from detrun.render import status as screen
from detrun.render import words
from detrun.render.grid import aligned, on_terminal
from jobs.overview import RunStatus, Status
from jobs.state import ENDED

_URGENT = ("running", "stalled", "requeued", "pending", "planned")


def follow(look: Callable[[], Status], every_s: float, *, show_all: bool) -> Status:
    """Look until all runs have ended, and return the last look."""
    return _redraw(look, every_s, show_all=show_all) if on_terminal() else _print_changes(look, every_s)


def _redraw(look: Callable[[], Status], every_s: float, *, show_all: bool) -> Status:
    """The line below the table stays empty: the `^C` that a terminal shows must not wrap and shift the last drawing."""
    from rich.console import Console, Group
    from rich.live import Live
    from rich.text import Text

    console = Console()
    known = look()
    with Live(console=console, auto_refresh=False, vertical_overflow="crop") as live:
        table = Text()
        try:
            while True:
                table = Text.from_ansi(_screen(known, console.width, console.height, show_all=show_all))
                live.update(Group(table, ""), refresh=True)
                if _over(known):
                    return known
                time.sleep(every_s)
                known = look()
        finally:
            live.update(table)


def _screen(known: Status, width: int, height: int, *, show_all: bool) -> str:
    """As many runs as the terminal is high, newest first; where that is too few, those that are on nodes."""
    room = len(known.runs) if show_all else max(3, height - 4)
    kept = {run.id for run in sorted(known.runs, key=_urgency)[:room]}
    shown = [run for run in known.runs if run.id in kept]
    return f"{aligned(screen.table(shown), width)}\n{screen.footer(known, len(shown))}"


def _urgency(run: RunStatus) -> int:
    return _URGENT.index(run.state) if run.state in _URGENT else len(_URGENT)


def _print_changes(look: Callable[[], Status], every_s: float) -> Status:
    told: dict[str, tuple[object, ...]] = {}
    while True:
        known = look()
        for run in known.runs:
            news = (run.state, run.epoch, run.attempts, headline(run.metrics or {}))
            if told.get(run.id) != news:
                told[run.id] = news
                print(_line(run), flush=True)  # noqa: T201
        if _over(known):
            return known
        time.sleep(every_s)


def _line(run: RunStatus) -> str:
    parts = [words.iso(time.time()), run.id, run.state]
    if run.epoch is not None:
        parts += [f"epoch {run.epoch}/{run.epochs}", f"loss {words.number(run.loss)}"]
    if run.metrics:
        parts.append(f"{'top1' if 'top1' in run.metrics else 'AP'} {words.metric(headline(run.metrics))}")
    return "\t".join(parts + ([run.reason] if run.reason else []))


def _over(known: Status) -> bool:
    return all(run.state in ENDED or run.state == "planned" for run in known.runs)
