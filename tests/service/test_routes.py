"""What the routes take and give: images, strokes, models, jobs."""

import io
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
import yaml
from fastapi.testclient import TestClient
from served import COUNT, let_jobs_count
from tiny import Data

from shallow2deep.io.volumes import open_volume
from shallow2deep.service.app import create_app
from shallow2deep.service.guards import Rules
from shallow2deep.service.jobs import Jobs
from shallow2deep.service.tiles import TILE

PRETRAINED = Path(__file__).resolve().parent.parent.parent / "pretrained"


@pytest.fixture
def client(jobs: Jobs) -> TestClient:
    return TestClient(create_app(jobs, Rules()), base_url="http://127.0.0.1", raise_server_exceptions=False)


def picture(data: bytes) -> np.ndarray:
    return np.asarray(iio.imread(data, extension=".png"))


def test_files_are_sent_listed_fetched_and_removed(client: TestClient, data: Data) -> None:
    content = (data.folder / "target0_raw.png").read_bytes()
    sent = client.put("/files/mine/a.png", content=content)
    assert (sent.status_code, sent.json()["name"]) == (201, "data/mine/a.png")
    assert client.put("/files/mine/a.png", content=b"x").status_code == 409
    assert [file["name"] for file in client.get("/images").json()] == ["data/mine/a.png"]
    assert client.get("/files/mine/a.png").content == content
    assert client.delete("/files/mine/a.png").status_code == 204
    assert client.get("/files/mine/a.png").status_code == 404
    others = client.get("/images", params={"folder": str(data.folder)}).json()
    assert f"{data.folder}/target0_raw.png" in [file["name"] for file in others]


def test_tiles_are_the_image(client: TestClient, jobs: Jobs) -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 60_000, (3, 600, 700), np.uint16)
    np.save(jobs.places.root / "data" / "stack.npy", image)
    facts = client.get("/images/facts", params={"name": "data/stack.npy"}).json()
    assert (facts["axes"], facts["shape"], facts["dtype"]) == ("zyx", [3, 600, 700], "uint16")

    def tiles(level: int) -> np.ndarray:
        step = TILE * 2**level
        rows = [
            np.concatenate(
                [
                    picture(client.get(f"/images/tiles/{level}/{y}/{x}?name=data/stack.npy&z=2").content)
                    for x in range(-(-700 // step))
                ],
                1,
            )
            for y in range(-(-600 // step))
        ]
        return np.concatenate(rows)

    assert tiles(0).shape == (600, 700)
    np.testing.assert_array_equal(tiles(1), tiles(0)[::2, ::2])
    low, high = np.percentile(image[2], (0.5, 99.5))
    expected = ((image[2] - low) / (high - low)).clip(0, 1) * 255
    assert np.abs(tiles(0) - expected).max() < 6  # the contrast is that of a sample
    small = client.get("/images/thumbnail", params={"name": "data/stack.npy", "size": 100, "z": 2})
    np.testing.assert_array_equal(picture(small.content), tiles(0)[::7, ::7])
    for query in ("z=3&", "channel=1&"):
        assert client.get(f"/images/tiles/0/0/0?{query}name=data/stack.npy").status_code == 400
    assert client.get("/images/tiles/0/3/0?name=data/stack.npy").status_code == 400
    assert client.get("/images/tiles/99/0/0?name=data/stack.npy").status_code == 400


@pytest.mark.parametrize("form", ["png", "npy"])
def test_strokes_are_kept_as_adapt_takes_them(client: TestClient, jobs: Jobs, data: Data, form: str) -> None:
    raw, path = f"{data.folder}/target0_raw.png", data.folder / "target0_strokes.png"
    strokes = iio.imread(path)
    buffer = io.BytesIO()
    np.save(buffer, strokes)
    content = path.read_bytes() if form == "png" else buffer.getvalue()
    headers = {"content-type": "image/png" if form == "png" else "application/octet-stream"}
    kept = client.put("/strokes/mine/target0.tif", params={"image": raw}, content=content, headers=headers)
    assert (kept.status_code, kept.json()["name"]) == (201, "data/mine/target0.tif")
    np.testing.assert_array_equal(open_volume(jobs.places.root / "data/mine/target0.tif").read(), strokes)
    read = client.get("/strokes/mine/target0.tif")
    np.testing.assert_array_equal(picture(read.content), strokes)
    again = client.put("/strokes/mine/target0.tif", params={"image": raw}, content=content, headers=headers)
    assert again.status_code == 201
    settings = {"target": {"raw": raw, "strokes": "data/mine/target0.tif"}, "enhancer": "nuclei-2d"}
    assert client.post("/jobs", json={"command": "adapt", "settings": settings}).status_code == 201


def _npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"no array",
        _npy(np.zeros((5, 5), np.uint8)),
        _npy(np.full((96, 96), 300)),
        _npy(np.full((96, 96), 0.5)),
        _npy(np.full((96, 96), -1)),
        _npy(np.zeros((96, 96), np.uint8))[:-100],
        _npy(np.zeros((1, 1), np.uint8)).replace(b"(1, 1)", b"(96, 96000000000)"),
    ],
)
def test_what_are_no_strokes_is_refused(client: TestClient, jobs: Jobs, data: Data, content: bytes) -> None:
    name = {"image": f"{data.folder}/target0_raw.png"}
    headers = {"content-type": "application/octet-stream"}
    refused = client.put("/strokes/a.tif", params=name, content=content, headers=headers)
    assert refused.status_code == 400, refused.text
    assert client.put("/strokes/a.png", params=name, content=content, headers=headers).status_code == 400
    assert (
        list((jobs.places.root / "data").iterdir()) == list((jobs.places.root / "incoming").iterdir()) == []
    )


def test_models_are_checked_when_they_are_sent(
    client: TestClient, jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("S2D_MODELS", str(jobs.places.root / "models"))
    package = (PRETRAINED / "nuclei-2d.zip").read_bytes()
    assert client.put("/models/mine", content=package).status_code == 201
    assert client.put("/models/mine", content=package).status_code == 409
    for damaged in (b"", b"no zip", package[:-1000], package.replace(b"rdf", b"rdx")):
        assert client.put("/models/other", content=damaged).status_code == 400
    found = {model["name"]: model for model in client.get("/models").json()}
    assert found["mine"]["kind"] == "enhancer"
    assert "nuclei-2d" in found
    assert client.get("/models/mine").content == package
    assert client.delete("/models/mine").status_code == 204
    assert client.delete("/models/nuclei-2d").status_code == 404
    assert client.get("/models/mine").status_code == 404


def test_jobs_are_started_by_settings_or_yaml_in_the_words_of_the_command_line(
    client: TestClient, jobs: Jobs, data: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_jobs_count(monkeypatch, jobs)
    made = client.post("/jobs/yaml?command=enhancer-train&name=it", content=yaml.safe_dump(COUNT))
    assert (made.status_code, made.json()["name"], made.json()["state"]) == (201, "it", "queued")
    id_ = made.json()["id"]
    assert client.post(f"/jobs/{id_}/pause").json()["state"] == "paused"
    assert client.post(f"/jobs/{id_}/abort").json()["state"] == "aborted"
    assert client.post(f"/jobs/{id_}/pause").status_code == 400
    assert client.post(f"/jobs/{id_}/set", json={"assignments": ["steps=3"]}).status_code == 400
    assert client.get(f"/jobs/{id_}/log").text == ""
    assert client.get(f"/jobs/{id_}/files").json() == []
    for name in ("%2e%2e%2fjob.json", "%2e%2e/job.json", "a%00b", "x" * 300):
        assert client.get(f"/jobs/{id_}/files/{name}").status_code == 404
    assert client.delete(f"/jobs/{id_}").json() == {"others": []}
    assert client.get(f"/jobs/{id_}").status_code == 404
    wrong = client.post("/jobs", json={"command": "enhancer-train", "settings": data.source_values(stepz=3)})
    assert wrong.status_code == 400
    assert wrong.json()["error"].startswith('the settings: unknown setting "stepz"; known here: seed, ')
    assert client.post("/jobs", json={"command": "demo", "settings": {}}).status_code == 400
    assert client.post("/jobs", content=b"{").status_code == 422
    assert client.post("/jobs/yaml?command=adapt", content="!!python/name:os.system x").status_code == 400
    missing = {"sources": [{"raw": "data/none.png", "labels": "data/none.png"}]}
    missing_data = client.post("/jobs", json={"command": "enhancer-train", "settings": missing})
    assert (missing_data.status_code, "there is no such file" in missing_data.text) == (400, True)


def test_what_is_not_foreseen_shows_no_traceback(
    client: TestClient, jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> list:
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(jobs, "all", broken)
    answer = client.get("/jobs")
    assert (answer.status_code, "secret" in answer.text) == (500, False)
    assert client.get("/nothing").json()["error"]
