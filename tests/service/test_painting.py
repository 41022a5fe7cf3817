"""A project that is painted on, by its routes."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
import pytest
import tifffile
from fastapi.testclient import TestClient

from shallow2deep.errors import InputError
from shallow2deep.inputs.target import open_target
from shallow2deep.io.volumes import open_volume
from shallow2deep.service.app import create_app
from shallow2deep.service.guards import Rules
from shallow2deep.service.jobs import Jobs
from shallow2deep.service.live import Live
from shallow2deep.service.painting import Painting, project_folder
from shallow2deep.service.places import Places
from shallow2deep.settings import AdaptConfig, levels_of, resolved

RULES = Rules(hosts=("testserver",))


@pytest.fixture
def images(tmp_path: Path) -> Path:
    return made(tmp_path / "images")


def made(folder: Path) -> Path:
    folder.mkdir()
    generator = np.random.default_rng(0)
    for name in ("a", "b"):
        iio.imwrite(folder / f"{name}.png", generator.integers(0, 200, (90, 120), np.uint8))
    return folder


def served(images: Path, rules: Rules = RULES) -> TestClient:
    """As after a start of the server."""
    root = project_folder([str(images)])
    painting = Painting([str(images)], root)
    return TestClient(create_app(Jobs(Places(root, [images])), rules, Live(painting)))


@pytest.fixture
def client(images: Path) -> TestClient:
    return served(images)


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> TestClient:
    """For requests that are refused."""
    return served(made(tmp_path_factory.mktemp("project") / "images"))


def paint(client: TestClient, spans: list[tuple[int, int, int, int]], **more: Any) -> Any:
    response = client.post("/painting/strokes", json={"client": "one", "image": 0, "spans": spans, **more})
    assert response.status_code == 200, response.text
    return response.json()


def test_strokes_are_files_that_adapt_takes(client: TestClient, images: Path) -> None:
    paint(client, [(5, 10, 20, 1)])
    paint(client, [(6, 10, 20, 2)], image=1)
    project = images / "shallow2deep"
    found = open_volume(project / "strokes/a_strokes.zarr").read()
    assert found.dtype == np.uint8 and found.sum() == found[5, 10:20].sum() == 10
    config = resolved(AdaptConfig, levels_of("adapt", project / "settings.yaml", (), {}))
    target = open_target(config)
    counts = [plane.drawn.strokes[plane.number].counts for plane in target.planes]
    assert counts == [{1: 10}, {2: 10}]


def test_what_undoes_a_stroke_restores_the_bytes(client: TestClient, images: Path) -> None:
    paint(client, [(5, 10, 20, 1)])
    path = images / "shallow2deep/strokes/a_strokes.zarr"
    before = open_volume(path).fingerprint()
    undo = paint(client, [(5, 15, 40, 2), (7, 0, 3, 2)])["before"]
    assert open_volume(path).fingerprint() != before
    redo = paint(client, undo)["before"]
    assert open_volume(path).fingerprint() == before
    paint(client, redo)
    assert open_volume(path).read()[5, 15:40].tolist() == [2] * 25


def test_two_windows_do_not_overwrite_each_other(client: TestClient, images: Path) -> None:
    """Each pixel has what was painted on it last, and each window hears of both."""
    paint(client, [(5, 0, 60, 1), (9, 0, 10, 1)])
    body = {"client": "other", "image": 0, "spans": [(5, 30, 90, 2)]}
    assert client.post("/painting/strokes", json=body).status_code == 200
    found = open_volume(images / "shallow2deep/strokes/a_strokes.zarr").read()
    assert found[5, :100].tolist() == [1] * 30 + [2] * 60 + [0] * 10 and found[9, 0] == 1
    tile = np.frombuffer(client.get("/painting/images/0/strokes/0/0/0").content, np.uint8).reshape(256, 256)
    np.testing.assert_array_equal(tile[:90, :120], found)


def test_other_windows_hear_of_strokes_that_they_missed(images: Path) -> None:
    painting = Painting([str(images)], images / "project")
    painting.paint(0, 0, [(1, 0, 5, 1)], "one")
    painting.paint(0, 0, [(2, 0, 5, 1)], "two")
    changes = painting.changes(1)
    assert changes is not None
    assert [(change.client, change.spans) for change in changes] == [("two", [(2, 0, 5, 1)])]
    for _ in range(1001):
        painting.paint(0, 0, [(2, 0, 5, 1)], "two")
    assert painting.changes(1) is None  # too long ago: the window reads all again


def test_a_stroke_that_comes_twice_counts_once(client: TestClient) -> None:
    """Its window sends it again where no answer came; what undoes it stays the same."""
    first = paint(client, [(5, 10, 20, 1)], id="one 7")
    assert paint(client, [(5, 10, 20, 1)], id="one 7") == first
    assert first["before"] == [[5, 10, 20, 0]]


def test_nothing_is_lost_when_the_server_starts_again(client: TestClient, images: Path) -> None:
    paint(client, [(5, 10, 20, 1)])
    client.patch("/painting", json={"classes": ["ground", "disc", "rod"], "colours": ["#000001"] * 3})
    before = client.get("/painting").json()
    after = served(images).get("/painting").json()
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"epoch", "revision"} and after["images"][0]["painted"] == [10, 0, 0]
    assert after["classes"] == ["ground", "disc", "rod"] and after["colours"] == ["#000001"] * 3


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "why"),
    [
        ("post", "/painting/strokes", {"spans": [[95, 0, 5, 1]]}, 400, "paint within it"),
        ("post", "/painting/strokes", {"spans": [[5, 0, 5, 3]]}, 400, "there are 2 classes"),
        ("post", "/painting/strokes", {"spans": [[5, 0, 5, 1]], "image": 2}, 404, "there are 2"),
        ("post", "/painting/strokes", {"spans": [[5, 0, 5, 1]], "z": 1}, 400, "paint within it"),
        ("post", "/painting/strokes", {"spans": [[5, -1, 5, 1]]}, 422, "greater than or equal"),
        ("post", "/painting/strokes", {"spans": "all"}, 422, "list"),
        ("patch", "/painting", {"classes": ["one"]}, 422, "at least 2"),
        ("patch", "/painting", {"classes": ["same", "same"]}, 400, "once only"),
        ("patch", "/painting", {"enhancer": "/etc"}, 400, "choose one of those"),
        ("patch", "/painting", {"colours": ["red"]}, 422, "pattern"),
        ("post", "/painting/live/forest", {"y": [0, 91], "x": [0, 9]}, 400, "of 90 and 120"),
        ("post", "/painting/live/forest", {"y": [0, 9], "x": [0, 9]}, 400, "nothing is painted yet"),
        ("post", "/painting/runs", {}, 400, "nothing is painted yet"),
        ("get", "/painting/images/0/tiles/0/1/0?low=0&high=9", None, 400, "outside"),
        ("get", "/painting/images/0/tiles/13/0/0?low=0&high=9", None, 400, "level"),
        ("get", "/painting/images/0/range?z=1", None, 400, "plane 1"),
        ("get", "/jobs/0000000000000000/archive/..", None, 404, ""),
    ],
)
def test_bad_requests_are_refused_in_a_sentence(
    untouched: TestClient, method: str, path: str, body: dict[str, Any] | None, status: int, why: str
) -> None:
    defaults: dict[str, Any] = {}
    if path == "/painting/strokes" or "live" in path:
        defaults = {"client": "one", "image": 0, "turn": 1}
    response = untouched.request(method, path, json=None if body is None else defaults | body)
    assert response.status_code == status and why in response.text, response.text


def test_more_than_a_stroke_is_not_taken_at_once(untouched: TestClient) -> None:
    body = b'{"client": "one", "image": 0, "spans": [' + b"[5,0,5,1]," * 300_000
    assert untouched.post("/painting/strokes", content=body).status_code == 413


def test_images_that_strokes_cannot_tell_apart_are_refused(images: Path) -> None:
    shutil.copy(images / "a.png", images / "a_raw.png")
    with pytest.raises(InputError, match="by name"):
        Painting([str(images)], images / "project")


def test_volumes_times_and_channels(tmp_path: Path) -> None:
    """Each time point has strokes of its own, planes and channels those of their image."""
    values = np.random.default_rng(0).integers(0, 4000, (2, 5, 3, 64, 80), np.uint16)
    tifffile.imwrite(tmp_path / "s.tif", values, imagej=True, metadata={"axes": "TZCYX"})
    painting = Painting([str(tmp_path / "s.tif")], tmp_path / "project")
    jobs = Jobs(Places(tmp_path / "project", [tmp_path]))
    client = TestClient(create_app(jobs, RULES, Live(painting)))
    shown = client.get("/painting").json()["images"]
    assert [(one["depth"], one["channels"]) for one in shown] == [(5, ["0", "1", "2"])] * 2
    assert shown[0]["series"] == shown[1]["series"]
    paint(client, [(5, 0, 60, 1)], image=1, z=4)
    assert (
        open_volume(tmp_path / "project/strokes/s_t1_strokes.zarr").read().nonzero()[0].tolist() == [4] * 60
    )
    query = "z=2&channel=1&low=1000&high=3000"
    tile = iio.imread(client.get(f"/painting/images/1/tiles/0/0/0?{query}").content)
    expected = ((values[1, 2, 1].astype(np.float32) - 1000) / 2000).clip(0, 1) * 255
    assert abs(tile - expected).max() <= 0.5
    found = client.get("/painting/images/1/range?z=2&channel=1").json()
    assert found["least"] == values[1, 2, 1].min() and found["most"] == values[1, 2, 1].max()


def test_a_run_has_strokes_of_its_own(client: TestClient, images: Path) -> None:
    """Painting goes on while it works."""
    paint(client, [(5, 10, 20, 1), (9, 10, 20, 2)])
    response = client.post("/painting/runs", json={"name": "first", "settings": {"held_out": 0.5}})
    assert response.status_code == 201, response.text
    id_ = response.json()["id"]
    job = images / "shallow2deep/jobs" / id_
    config = resolved(AdaptConfig, levels_of("adapt", job / "settings.yaml", (), {}))
    assert config.held_out == 0.5 and config.enhancer == "nuclei-2d"
    paint(client, [(5, 0, 120, 2)])
    assert open_target(config).planes[0].drawn.strokes[0].counts == {1: 10, 2: 10}
    summary = client.get(f"/jobs/{id_}/summary").json()
    assert summary["settings"]["held_out"] == 0.5 and summary["choice"] is None
    wrong = client.post("/painting/runs", json={"settings": {"held_out": 2}})
    assert wrong.status_code == 400 and "held_out" in wrong.text
    elsewhere = client.post("/painting/runs", json={"settings": {"target": {"raw": "/etc/hosts"}}})
    assert elsewhere.status_code == 400 and "not in a folder" in elsewhere.text
    assert len(list((images / "shallow2deep/data").iterdir())) == 1  # refused ones leave no copy


@pytest.fixture
def large(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "large.tif"
    image = tifffile.memmap(path, shape=(20_000, 20_000), dtype=np.uint8)
    image[9_000:11_000, 9_000:11_000] = np.random.default_rng(0).integers(0, 99, (2000, 2000), np.uint8)
    image.flush()
    del image
    yield path
    path.unlink()


def test_a_large_image_is_read_in_parts(large: Path, tmp_path: Path) -> None:
    from shallow2deep.io.volumes import Volume

    read: list[int] = []
    kept = Volume.read

    def counting(volume: Volume, window: Any = None) -> np.ndarray:
        found = kept(volume, window)
        read.append(found.size)
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Volume, "read", counting)
        painting = Painting([str(large)], tmp_path / "project")
        client = TestClient(create_app(Jobs(Places(tmp_path / "project", [tmp_path])), RULES, Live(painting)))
        contrast = client.get("/painting/images/0/range").json()
        for y in (38, 39, 40):
            for x in (38, 39, 40):
                tile = f"/painting/images/0/tiles/0/{y}/{x}?low={contrast['low']}&high={contrast['high']}"
                assert client.get(tile).status_code == 200
        paint(client, [(10_000, 9_900, 10_000, 1), (10_100, 9_900, 10_000, 2)])
        view = {"client": "one", "turn": 1, "image": 0, "y": [9800, 10200], "x": [9800, 10200]}
        assert client.post("/painting/live/forest", json=view).status_code == 200
    assert sum(read) < 5_000_000  # of 400
