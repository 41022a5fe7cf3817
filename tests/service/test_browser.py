"""The page in a browser: painted on by the mouse, seen on disk."""

import shutil
import socket
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from shallow2deep.io.volumes import open_volume

browser_module = pytest.importorskip("browser", reason="needs playwright")
if browser_module.PATH is None:
    pytest.skip("needs chromium", allow_module_level=True)
if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

from browser import chromium, draw, maps, opened, saved, served  # noqa: E402

DEMO = Path(str(files("shallow2deep") / "demo/target"))
GROUND = ((0.6, 0.2), (0.7, 0.22))
NUCLEUS = ((0.268, 0.16), (0.275, 0.18))


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("painted")
    shutil.copy(DEMO / "80632d6be60c_raw.png", folder / "a_raw.png")
    shutil.copy(DEMO / "f728de042672_raw.png", folder / "b_raw.png")
    return folder


@pytest.fixture(scope="module")
def port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def strokes(folder: Path) -> np.ndarray:
    path = folder / "project/strokes/a_strokes.zarr"
    return open_volume(path).read() if path.exists() else np.zeros((512, 640), np.uint8)


def canvas_of(page: "Page") -> bytes:
    """Without the brush."""
    page.mouse.move(2, 2)
    page.wait_for_timeout(200)
    return page.locator("canvas").screenshot()


def test_painted_seen_undone_and_there_again(browser: "Browser", folder: Path, port: int) -> None:
    """One way through: the file, both maps, undo, a server that goes away, and a window that comes back."""
    images = [str(folder)]
    with served(images, folder / "project", port) as url:
        page = opened(browser, url)
        problems: list[str] = []
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.keyboard.press("1")
        draw(page, *GROUND)
        page.keyboard.press("2")
        draw(page, *NUCLEUS)
        saved(page)
        counts = np.bincount(strokes(folder).ravel(), minlength=3)
        assert counts[1] > 200 and counts[2] > 50
        maps(page)
        page.get_by_label("none").check()
        plain = canvas_of(page)
        page.get_by_label("enhanced").check()
        enhanced = canvas_of(page)
        page.get_by_label("forest").check()
        assert len({plain, enhanced, canvas_of(page)}) == 3
        assert page.get_by_role("button", name="Go to place 1").is_visible()

        page.keyboard.press("Control+z")
        saved(page)
        assert np.bincount(strokes(folder).ravel(), minlength=3).tolist() == [
            *(counts[:1] + counts[2]),
            counts[1],
            0,
        ]
        page.keyboard.press("Control+y")
        saved(page)
        before = strokes(folder)
        assert np.bincount(before.ravel(), minlength=3).tolist() == counts.tolist()

    draw(page, (0.5, 0.8), (0.6, 0.8))  # nobody answers
    page.get_by_text("1 stroke waits in this window").wait_for()
    assert (strokes(folder) == before).all()
    with served(images, folder / "project", port) as url:
        saved(page)
        after = strokes(folder)
        assert (after != before).sum() > 200
        other = opened(browser, url)
        other.keyboard.press("e")
        draw(other, (0.5, 0.8), (0.6, 0.8))
        saved(other)
        np.testing.assert_array_equal(strokes(folder), before)
        page.get_by_label("none").check()
        other.get_by_label("none").check()
        page.wait_for_timeout(1000)
        for window in (page, other):
            window.get_by_label("show on the image").uncheck()
        assert canvas_of(page) == canvas_of(other)  # both see what the other one did
        assert not problems
