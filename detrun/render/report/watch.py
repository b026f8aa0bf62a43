"""A report redrawn in place on a terminal; elsewhere printed anew where it has changed."""

import time
from collections.abc import Callable

from detrun.render.grid import on_terminal


def follow(look: Callable[[], str], every_s: float) -> None:
    """Show what `look` gives until interrupted."""
    if not on_terminal():
        _print_changes(look, every_s)
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    with Live(console=Console(), auto_refresh=False, vertical_overflow="visible") as live:
        while True:
            live.update(Text.from_ansi(look()), refresh=True)
            time.sleep(every_s)


def _print_changes(look: Callable[[], str], every_s: float) -> None:
    told = ""
    while True:
        text = look()
        if text != told:
            print(text, flush=True)  # noqa: T201
            told = text
        time.sleep(every_s)
