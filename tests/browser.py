"""A browser for tests of the page: what a hand at the mouse would do."""

import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Locator, Page, sync_playwright

PATH = shutil.which("chromium") or shutil.which("google-chrome")
_PATIENCE = 120  # seconds for a server to begin


@contextmanager
def chromium() -> Iterator[Browser]:
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=PATH, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def served(images: Sequence[str], project: Path, port: int = 0) -> Iterator[str]:
    """The address of a page, by a server of its own."""
    command = [sys.executable, "-m", "shallow2deep", "ui", *images, "--project", str(project)]
    process = subprocess.Popen(
        [*command, "--no-browser", "--port", str(port)], stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stderr is not None
        line = next(line for line in process.stderr if "answers at" in line)
        url = line.split("answers at ")[1].split()[0]
        _await(url)
        yield f"{url}/page/"
    finally:
        process.terminate()
        process.wait(30)


def _await(url: str) -> None:
    end = time.monotonic() + _PATIENCE
    while True:
        try:
            urllib.request.urlopen(f"{url}/about", timeout=10).close()
            return
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.2)


def opened(browser: Browser, url: str, width: int = 1366, height: int = 768, scheme: str = "light") -> Page:
    page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)  # type: ignore[arg-type]
    page.set_default_timeout(90_000)
    page.goto(url)
    page.get_by_role("button", name="Fit").wait_for()
    return page


def draw(page: Page, *points: tuple[float, float]) -> None:
    """A stroke by the mouse through points of the canvas, from 0 to 1, and waits until it is saved."""
    box = page.locator("canvas").bounding_box()
    assert box is not None
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in points]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place, steps=8)
    page.mouse.up()


def saved(page: Page) -> None:
    page.locator('.status[data-saved="true"]').wait_for()


def maps(page: Page) -> Locator:
    """There once forest and enhanced map are shown."""
    found = page.locator('[data-enhanced]:not([data-enhanced=""])')
    found.wait_for(state="attached")
    return found
