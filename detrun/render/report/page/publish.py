"""Keeps a page fresh in a folder until every run has ended. Writes `index.html`, which is whole, and `data.json`.

A browser that has the page from a server asks for the data alone; one that has it as a file loads it anew. Both are
replaced as whole files, and only where something has changed.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from detector.errors import UserError
from detrun.comparison import Comparison
from detrun.render.report import page
from detrun.render.report.whole_file import replace
from jobs.state import ENDED

# The page's content for a comparison; its second argument is how often the page looks for news, None for never again.
Content = Callable[[Comparison, float | None], dict[str, Any]]


def publish(folder: Path, compare: Callable[[], Comparison], content: Content, every_s: float) -> Comparison:
    """Look, write, and wait until all runs have ended; returns the last comparison.

    An interrupt leaves a page that no longer looks for news.

    Raises:
        UserError: the folder cannot be written.
    """
    told: dict[str, Any] = {}
    comparison = compare()
    try:
        while not over(comparison):
            news = content(comparison, every_s)
            if _without_time(news) != _without_time(told):
                _write(folder, news)
                told = news
            time.sleep(every_s)
            comparison = compare()
    except KeyboardInterrupt:
        if told:
            _write(folder, {**told, "live": None})
        raise
    _write(folder, content(comparison, None))
    return comparison


def over(comparison: Comparison) -> bool:
    """Whether no run of a comparison goes on by itself."""
    return all(run.state in ENDED or run.state == "planned" for run in comparison.runs)


def _without_time(content: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in content.items() if key != "made_at"}


def _write(folder: Path, content: dict[str, Any]) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        replace(folder / "data.json", page.encoded(content))
        replace(folder / "index.html", page.render(content))
    except OSError as error:
        raise UserError(f"cannot write to {folder}: {error.strerror}", "--publish names a folder of its own") from None
