"""The page from the first stroke to the maps, by the mouse in a real browser, on the demo's images.

    python pipelines/painting.py [--out folder]

Paints six strokes, watches forest and enhanced map change, starts the run, pauses and resumes it, waits for
the report, compares it with a second run, and downloads the maps. Pictures go into the folder. Needs
chromium, and `pip install 'shallow2deep[ui]' playwright`.
"""

import argparse
import io
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

GROUND = [((0.60, 0.20), (0.70, 0.22)), ((0.30, 0.52), (0.33, 0.60)), ((0.05, 0.80), (0.10, 0.82))]
NUCLEI = [((0.262, 0.14), (0.272, 0.16)), ((0.115, 0.43), (0.128, 0.375)), ((0.72, 0.70), (0.735, 0.69))]
SIZES = {"laptop": (1366, 768, "light"), "desktop": (1920, 1080, "dark")}
_PATIENCE = 20 * 60_000  # ms for a run


@contextmanager
def served(images: Path, project: Path) -> Iterator[str]:
    command = [sys.executable, "-m", "shallow2deep", "ui", f"{images}/*_raw.png", "--project", str(project)]
    process = subprocess.Popen([*command, "--no-browser"], stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        line = next(line for line in process.stderr if "answers at" in line)
        yield line.split("answers at ")[1].split()[0] + "/page/"
    finally:
        process.terminate()
        process.wait(60)


def draw(page: Page, points: tuple[tuple[float, float], ...]) -> None:
    """A stroke through points of the image, which is as wide as it is high times 1.25."""
    box = page.locator("canvas").bounding_box()
    assert box is not None
    height = 0.96 * min(box["height"], box["width"] / 1.25)
    left, top = box["x"] + (box["width"] - 1.25 * height) / 2, box["y"] + (box["height"] - height) / 2
    places = [(left + x * 1.25 * height, top + y * height) for x, y in points]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place, steps=8)
    page.mouse.up()
    page.locator('.status[data-saved="true"]').wait_for()


def paint(page: Page) -> None:
    for key, strokes in (("1", GROUND), ("2", NUCLEI)):
        page.keyboard.press(key)
        for points in strokes:
            draw(page, points)
    page.get_by_text("enhancing …").wait_for(state="detached")
    page.locator('[data-enhanced]:not([data-enhanced=""])').wait_for(state="attached")


def picture(page: Page, path: Path) -> None:
    page.wait_for_timeout(700)
    image = Image.open(io.BytesIO(page.screenshot()))
    image.convert("RGB").save(path, quality=80, optimize=True)
    print(path)


def start(page: Page, name: str, **choices: bool) -> None:
    page.get_by_role("button", name="New run").click()
    page.get_by_role("textbox", name="Name").fill(name)
    for label in [label for label, wanted in choices.items() if wanted]:
        page.get_by_role("checkbox", name=label).check()
    page.get_by_role("button", name="Start", exact=True).click()


def run(page: Page, out: Path) -> None:
    page.get_by_role("button", name="Runs").click()
    start(page, "six strokes")
    state = page.locator(".about .state")
    state.get_by_text("running").wait_for()
    page.get_by_role("button", name="Pause").click()
    state.get_by_text("paused").wait_for()
    page.get_by_role("button", name="Resume").click()
    state.get_by_text("finished").wait_for(timeout=_PATIENCE)
    page.get_by_text("Download maps").wait_for()
    picture(page, out / "painting-run.jpg")
    with page.expect_download() as coming:
        page.get_by_role("button", name="Download maps").click()
    with zipfile.ZipFile(coming.value.path()) as packed:
        print("downloaded:", ", ".join(packed.namelist()[:3]), "…")
    start(page, "with objects", objects=True)
    page.get_by_role("button", name="with objects").wait_for()
    state.get_by_text("finished").wait_for(timeout=_PATIENCE)
    for name in ("six strokes", "with objects"):
        page.get_by_role("checkbox", name=f"Compare {name}").check()
    page.get_by_text("Settings that differ").wait_for()
    picture(page, out / "painting-compare.jpg")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("docs/images"))
    parser.add_argument("--without-run", action="store_true", help="paint only")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    browser_path = shutil.which("chromium") or shutil.which("google-chrome")
    images = Path(str(files("shallow2deep") / "demo/target"))
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=browser_path, args=["--no-sandbox"])
        with served(images, Path(folder)) as url:
            for name, (width, height, scheme) in SIZES.items():
                page = browser.new_page(
                    viewport={"width": width, "height": height},
                    color_scheme=scheme,  # type: ignore[arg-type]
                )
                page.set_default_timeout(180_000)
                page.goto(url)
                page.get_by_role("button", name="Fit").wait_for()
                if name == "laptop":
                    paint(page)
                page.locator('[data-enhanced]:not([data-enhanced=""])').wait_for(state="attached")
                picture(page, arguments.out / f"painting-{name}.jpg")
            if not arguments.without_run:
                run(page, arguments.out)
        browser.close()


if __name__ == "__main__":
    main()
