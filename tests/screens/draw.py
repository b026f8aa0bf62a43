"""Draws the README's picture of the terminal: real commands on real runs, on a pseudo-terminal.

python tests/screens/draw.py      # trains twice on the digits, a few minutes each
"""

import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import sync_playwright
from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

PICTURE = Path(__file__).with_name("terminal.svg")
PAGE = Path(__file__).with_name("page.png")
DETRUN = Path(sys.executable).parent / "detrun"
COLUMNS = 118
DARK, LIGHT = (30, 32, 40), (214, 218, 228)
RED, GREEN, YELLOW = (240, 113, 120), (152, 195, 121), (229, 192, 123)
BLUE, MAGENTA, CYAN = (97, 175, 239), (198, 120, 221), (86, 182, 194)
THEME = TerminalTheme(DARK, LIGHT, [DARK, RED, GREEN, YELLOW, BLUE, MAGENTA, CYAN, LIGHT])


def main() -> None:
    """Submit two runs, look at them when the first has an AP, and report them when both are done."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        os.chdir(folder)
        environment = os.environ | {
            "DETRUN_STATE": f"{folder}/state",
            "COLUMNS": str(COLUMNS),
            "TERM": "xterm-256color",
        }
        screens = [_run("detrun submit digits --set optim.lr=2e-3,1e-3 --on local", environment)]
        while '"AP":' not in _output([DETRUN, "status", "--json"], environment):
            time.sleep(5)
        screens.append(_run("detrun status", environment))
        subprocess.run([DETRUN, "status", "--watch"], env=environment, check=True, stdout=subprocess.DEVNULL)
        screens.append(_run("detrun report digits", environment))
        _draw("\n".join(screens))
        _output([DETRUN, "report", "digits", "--per-class", "--out", f"{folder}/page.html"], environment)
        _photograph(f"file://{folder}/page.html")


def _run(line: str, environment: dict[str, str]) -> str:
    """What a terminal shows of a command, prompt included."""
    on_a_terminal = ["script", "--quiet", "--return", "--command", line, "/dev/null"]
    text = _output(on_a_terminal, environment | {"PATH": f"{DETRUN.parent}:{environment['PATH']}"})
    return f"\x1b[1;32m$\x1b[0m \x1b[1m{line}\x1b[0m\n{text.replace(chr(13), '')}"


def _output(command: list[str | Path], environment: dict[str, str]) -> str:
    done = subprocess.run(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, check=True
    )
    return done.stdout


def _draw(text: str) -> None:
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    console.print(Text.from_ansi(text), soft_wrap=True)
    drawn = console.export_svg(title="detrun", theme=THEME)
    # A picture asks no server for a font.
    PICTURE.write_text(re.sub(r"@font-face \{.*?\}", "", drawn, flags=re.DOTALL), encoding="utf-8")


def _photograph(address: str) -> None:
    with sync_playwright() as playwright:
        executable, flags = shutil.which("chromium"), ["--no-sandbox", "--disable-gpu"]
        browser = playwright.chromium.launch(executable_path=executable, args=flags)
        page = browser.new_page(viewport={"width": 1280, "height": 1400})
        page.goto(address)
        page.screenshot(path=PAGE)
        browser.close()


if __name__ == "__main__":
    main()
