"""The page: what it is made of, and what it may do."""

import hashlib
import json
import re
from importlib.resources import files
from pathlib import Path

from fastapi.testclient import TestClient

from shallow2deep.service.app import create_app
from shallow2deep.service.guards import Rules
from shallow2deep.service.jobs import Jobs
from shallow2deep.service.places import Places

STATIC = Path(str(files("shallow2deep.service") / "static"))


def test_libraries_are_those_of_their_packages() -> None:
    """`vendor.json` has sums of the files in the npm packages of the stated versions."""
    stated = json.loads((STATIC / "vendor/vendor.json").read_text())
    there = {path.name for path in (STATIC / "vendor").iterdir() if path.suffix in (".js", ".css")}
    assert there == set(stated)
    for name, about in stated.items():
        content = (STATIC / "vendor" / name).read_bytes()
        assert hashlib.sha256(content).hexdigest() == about["sha256"], name
        assert (STATIC / "vendor" / f"{about['package']}.LICENSE").is_file()


def test_nothing_is_loaded_from_elsewhere_and_no_script_is_inline() -> None:
    page = (STATIC / "index.html").read_text()
    assert not re.search(r"<script(?![^>]*src=)|\son\w+=|style=", page)
    for path in [*STATIC.glob("*.html"), *STATIC.glob("*.css"), *STATIC.glob("js/*.js")]:
        assert not re.search(r"https?://(?!www\.w3\.org)", path.read_text()), path


def test_every_module_of_the_page_is_there() -> None:
    for path in STATIC.glob("js/*.js"):
        for name in re.findall(r"from \"(.+?)\"", path.read_text()):
            assert (path.parent / name).is_file(), f"{path.name}: {name}"


def test_the_page_needs_no_token_but_its_data_do(tmp_path: Path) -> None:
    client = TestClient(create_app(Jobs(Places(tmp_path)), Rules(token="a-token-of-many-letters")))
    page = client.get("/")
    assert page.status_code == 200 and page.url.path == "/page/"
    assert page.headers["content-security-policy"].startswith("default-src 'self';")
    assert client.get("/page/js/main.js").headers["content-type"].startswith("text/javascript")
    assert client.get("/page/../about").status_code == client.get("/jobs").status_code == 401
    assert client.get("/page/%2e%2e/%2e%2e/app.py").status_code in (401, 404)


def test_without_images_there_is_nothing_to_paint_on(tmp_path: Path) -> None:
    client = TestClient(create_app(Jobs(Places(tmp_path)), Rules(hosts=("testserver",))))
    assert client.get("/painting").status_code == 404
    assert client.get("/schema/adapt").json()["properties"]["held_out"]["default"] == 0.25
