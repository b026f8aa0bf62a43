"""How long the page of 50 runs with 300 epochs takes to open in headless Chromium: until its curves are drawn."""

import shutil
import sys
import tempfile
import time
from pathlib import Path

import timing

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "report"))

from playwright.sync_api import sync_playwright
from report_page import large

BUDGET_S = 2.0


def run() -> None:
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        path = Path(name) / "page.html"
        path.write_text(large(runs=50, epochs=300), encoding="utf-8")
        flags = ["--no-sandbox", "--disable-gpu"]
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=flags)
        times = []
        for _ in range(5):
            page = browser.new_page()
            started = time.perf_counter()
            page.goto(path.as_uri())
            page.locator("#curves canvas").first.wait_for()
            times.append(time.perf_counter() - started)
            page.close()
        browser.close()
        size_mib = path.stat().st_size / 2**20
    print(timing.row(f"page of 50 runs x 300 epochs, {size_mib:.1f} MiB", times, BUDGET_S))
