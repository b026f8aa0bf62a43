"""The report as one HTML file that opens offline: page, style, script, chart library and data in one text.

The script and the style are files of their own beside this one. uPlot (https://github.com/leeoniya/uPlot, MIT) draws
the curves; it comes inside the package `youplot`, of which nothing is imported.
"""

import base64
import hashlib
import html
import re
from functools import lru_cache
from importlib import resources, util
from pathlib import Path
from typing import Any

import msgspec

from detector.errors import UserError

_SCRIPTS = (
    *("element", "state", "style", "sortable", "ranking", "chart", "curves", "pair"),
    *("classes", "precision", "errors", "configuration", "images", "theme", "refresh", "main"),
)
_LICENSE = "/* uPlot, https://github.com/leeoniya/uPlot, MIT License, Copyright (c) Leon Sorokin */\n"
_PLACE = re.compile(r"\{\{(\w+)\}\}")


def render(content: dict[str, Any]) -> str:
    """The page for some content, as `detrun.render.report.page.content.content` makes it.

    Everything is allowed by its hash alone: no other script or style runs, and nothing is loaded. A page that is
    refreshed may ask the server that it came from for its data.

    Raises:
        UserError: the package with the chart library is not whole.
    """
    script, style = _script(), _style()
    parts = {
        "policy": _policy(script, style, live=content["live"] is not None),
        "title": html.escape(content["title"]),
        "style": style,
        "data": in_script(encoded(content)),
        "script": script,
    }
    return _PLACE.sub(lambda place: parts[place[1]], _file("page.html"))


def encoded(content: dict[str, Any]) -> str:
    """The content as JSON; text that is no Unicode, such as half a surrogate pair in a file's name, is replaced."""
    try:
        return msgspec.json.encode(content).decode()
    except UnicodeEncodeError:
        return msgspec.json.encode(_valid(content)).decode()


def in_script(text: str) -> str:
    """JSON that cannot end the `script` element that it stands in."""
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def chart_library() -> tuple[str, str]:
    """uPlot's script and its style.

    Raises:
        UserError: the package that it comes in is not installed.
    """
    found = util.find_spec("youplot")
    folder = Path(found.origin).parent / "vendor" if found and found.origin else Path()
    try:
        return tuple((folder / f"uplot.{end}").read_text(encoding="utf-8") for end in ("iife.min.js", "min.css"))  # type: ignore[return-value]
    except OSError as error:
        raise UserError(f"the chart library is missing: {error}", "`pip install youplot` brings it back") from None


@lru_cache(maxsize=1)
def _script() -> str:
    own = "\n".join(_file(f"{name}.js") for name in _SCRIPTS)
    return f'{_LICENSE}{chart_library()[0]}\n(() => {{\n"use strict";\n{own}}})();\n'


@lru_cache(maxsize=1)
def _style() -> str:
    return f"{chart_library()[1]}\n{_file('page.css')}"


def _policy(script: str, style: str, *, live: bool) -> str:
    """Content Security Policy, https://www.w3.org/TR/CSP3/."""
    hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (script, style)]
    rules = [
        "default-src 'none'",
        f"script-src 'sha256-{hashes[0]}'",
        f"style-src 'sha256-{hashes[1]}'",
        "img-src data:",
        "connect-src 'self'" if live else "connect-src 'none'",
        "base-uri 'none'",
        "form-action 'none'",
    ]
    return "; ".join(rules)


def _file(name: str) -> str:
    return resources.files(__name__).joinpath(name).read_text(encoding="utf-8")


def _valid(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {_valid(key): _valid(each) for key, each in value.items()}
    return [_valid(each) for each in value] if isinstance(value, (list, tuple)) else value
