"""The page that tells about an adaptation."""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest


def test_report_and_disagreement(whole: Path) -> None:
    page = (whole / "report.html").read_text()
    for word in (
        "CC0 for tests",
        "segmentor-both",
        "Where to paint next",
        "Learning curves",
        "data:image/png;base64,",
    ):
        assert word in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "<script" not in page
    lines = (whole / "prediction" / "where_to_paint.csv").read_text().splitlines()
    assert lines[0] == "image,z,y,x,disagreement,seen"
    assert (whole / "prediction" / "disagreement_target0_raw.png").is_file()
    assert (whole / "panels.png").is_file()


@pytest.mark.parametrize("width", [1920, 1280])
def test_report_opens_in_a_browser(whole: Path, tmp_path: Path, width: int) -> None:
    """Nothing is cut off at the right, all pictures are there, and nothing is fetched."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("needs chromium")
    page = (whole / "report.html").read_text()
    probe = """<script>addEventListener("load", () => { document.title = JSON.stringify({
        wide: document.documentElement.scrollWidth, inner: innerWidth,
        pictures: [...document.images].map(i => i.naturalWidth),
        rows: document.querySelectorAll("#scores tbody tr").length,
        chosen: document.querySelectorAll("#scores tr.chosen").length,
        fetched: performance.getEntriesByType("resource").filter(e => !e.name.startsWith("data:")).length
        }) })</script></body>"""
    (tmp_path / "probe.html").write_text(page.replace("</body>", probe))
    common = [browser, "--headless", "--no-sandbox", "--disable-gpu", f"--window-size={width},1000"]
    dom = subprocess.run(
        [*common, "--dump-dom", (tmp_path / "probe.html").as_uri()],
        capture_output=True, text=True, timeout=300, check=True,
    ).stdout  # fmt: skip
    found = json.loads(html.unescape(re.search("<title>(.*?)</title>", dom, re.S).group(1)))
    assert found["wide"] <= found["inner"]
    assert len(found["pictures"]) == 3
    assert min(found["pictures"]) > 90
    assert found["rows"] >= 9
    assert found["chosen"] == 1
    assert found["fetched"] == 0
