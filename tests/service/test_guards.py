"""Who may ask, from which pages, and how much may be sent."""

import http.client
import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest
from fastapi.testclient import TestClient
from served import answering
from starlette.responses import PlainTextResponse

from shallow2deep.service.app import create_app
from shallow2deep.service.guards import MAX_PLAIN, Guard, Rules
from shallow2deep.service.jobs import Jobs

OWN = {"host": "127.0.0.1:8765"}
TOKEN = "a-token-that-is-long-enough"


def client(**rules: object) -> TestClient:
    """Something behind the guard that is always well."""
    guarded = Guard(PlainTextResponse("well"), Rules(**rules))  # type: ignore[arg-type]
    return TestClient(guarded, base_url="http://127.0.0.1:8765")


@pytest.mark.parametrize("host", ["127.0.0.1:8765", "localhost", "[::1]:8765"])
def test_this_computer_may_ask_without_a_token(host: str) -> None:
    assert client().get("/jobs", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example"},  # as after DNS rebinding
        {"host": "127.0.0.1.evil.example:8765"},
        {"host": "[:::"},
        OWN | {"origin": "https://evil.example"},
        OWN | {"origin": "null"},
        OWN | {"origin": "http://127.0.0.1:3000"},  # another program's page
        OWN | {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"},
    ],
)
def test_other_pages_are_refused(headers: dict[str, str]) -> None:
    for path in ("/jobs", "/docs", "/nothing"):
        refused = client().get(path, headers=headers)
        assert (refused.status_code, refused.json()["kind"]) == (403, "DeniedError")
    assert client().delete("/jobs/1", headers=headers).status_code == 403


def test_own_and_allowed_pages_may_ask(jobs: Jobs) -> None:
    assert client().get("/jobs", headers=OWN | {"origin": "http://127.0.0.1:8765"}).status_code == 200
    page = {"origin": "https://lab.example"}
    rules = Rules(origins=("https://lab.example",))
    allowing = TestClient(create_app(jobs, rules), base_url="http://127.0.0.1:8765")
    answer = allowing.get("/jobs", headers=OWN | page)
    assert answer.headers["access-control-allow-origin"] == "https://lab.example"
    asked = page | {"access-control-request-method": "DELETE"}
    assert allowing.options("/jobs/1", headers=OWN | asked).status_code == 200
    assert allowing.get("/jobs", headers={"host": "lab.example"}).status_code == 200  # behind a proxy


@pytest.mark.parametrize(
    "shown", [None, "", "Bearer ", "Bearer wrong", "Bearer é", TOKEN + "x", "Basic " + TOKEN]
)
def test_the_token_is_asked_for(shown: str | None) -> None:
    headers = {} if shown is None else {"authorization": shown.encode("latin-1")}
    refused = client(token=TOKEN).get("/jobs", headers=headers)
    assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
    assert TOKEN not in refused.text
    allowed = client(token=TOKEN).get(
        "/jobs", headers={"authorization": f"Bearer {TOKEN}", "host": "gpu.example"}
    )
    assert allowed.status_code == 200


@pytest.fixture
def address(jobs: Jobs) -> Iterator[tuple[str, int]]:
    with answering(jobs, Rules(max_upload=2**20)) as url:
        parts = urlsplit(url)
        yield str(parts.hostname), int(parts.port or 0)


@pytest.mark.parametrize("path", ["/files/big.tif", "/models/big", "/strokes/big.tif?image=x"])
def test_what_is_too_large_is_refused_by_its_stated_length(address: tuple[str, int], path: str) -> None:
    """Before anything of it was sent."""
    connection = http.client.HTTPConnection(*address, timeout=20)
    connection.putrequest("PUT", path)
    connection.putheader("Content-Length", str(2**30))
    connection.endheaders()
    answer = connection.getresponse()
    assert (answer.status, b"TooLargeError" in answer.read()) == (413, True)
    connection.close()


def test_what_is_too_large_is_refused_as_it_comes(address: tuple[str, int], jobs: Jobs) -> None:
    """Without a stated length; nothing of it stays in memory or on the disk."""
    before = psutil.Process(os.getpid()).memory_info().rss
    connection = http.client.HTTPConnection(*address, timeout=20)
    connection.putrequest("PUT", "/files/big.tif")
    connection.putheader("Transfer-Encoding", "chunked")
    connection.endheaders()
    piece, sent = b"100000\r\n" + b"x" * 2**20 + b"\r\n", 0
    with pytest.raises(OSError):  # the server hangs up
        while sent < 1024:
            connection.send(piece)
            sent += 1
    assert sent < 100
    connection.close()
    assert psutil.Process(os.getpid()).memory_info().rss - before < 100 * 2**20
    left = [path for name in ("incoming", "data") for path in (jobs.places.root / name).iterdir()]
    assert left == []


def test_what_is_no_upload_is_small() -> None:
    for method, path in (("POST", "/jobs"), ("POST", "/predict"), ("PUT", "/jobs"), ("POST", "/files/x.png")):
        refused = client().request(method, path, content=b" " * (MAX_PLAIN + 1))
        assert refused.status_code == 413
    refused = client().post("/jobs", headers={"content-length": "-1"})
    assert refused.status_code == 413


def test_names_are_confined(jobs: Jobs, tmp_path: Path) -> None:
    (tmp_path / "secret.png").touch()
    (jobs.places.root / "data" / "link.png").symlink_to(tmp_path / "secret.png")
    asking = TestClient(create_app(jobs, Rules()), base_url="http://127.0.0.1:8765")
    for name in (
        "..%2Fsecret.png",
        "%2e%2e/%2e%2e/secret.png",
        "a%00b.png",
        ".hidden.png",
        "link.png",
        "x" * 300,
    ):
        for method, content in (("GET", None), ("DELETE", None), ("PUT", b"x")):
            answer = asking.request(method, f"/files/{name}", content=content)
            assert answer.status_code in (400, 404, 409), (name, method)
            assert answer.json()["error"]
    for name in (
        "../secret.png",
        f"{tmp_path}/secret.png",
        "data/link.png",
        "file:///etc/passwd",
        "~/x.png",
        "a\0b",
    ):
        answer = asking.get("/images/facts", params={"name": name})
        assert (answer.status_code, "not in a folder" in answer.json()["error"]) == (400, True), name
    assert sorted(path.name for path in tmp_path.iterdir()) == ["root", "secret.png"]
    assert (tmp_path / "secret.png").exists()
