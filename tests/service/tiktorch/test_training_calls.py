"""Whole trainings by a client of tiktorch, and everything that it is refused."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
import yaml
from unet_yaml import training_2d, training_3d

grpc = pytest.importorskip("grpc", reason="the server needs grpcio, the extra serve")
from tiktorch_client import Client, message  # noqa: E402

from shallow2deep.inference.network_maps import predict_raw  # noqa: E402
from shallow2deep.networks.model import load_model  # noqa: E402
from shallow2deep.runs.worker import worker_at  # noqa: E402
from shallow2deep.service.places import Places  # noqa: E402
from shallow2deep.service.tiktorch.grpc_server import TiktorchServer  # noqa: E402

IDLE, RUNNING, PAUSED, FAILED, FINISHED = range(5)
AXES = ("batch", "channel", "z", "y", "x")


def made(client: Client, values: dict[str, Any] | str) -> Any:
    text = values if isinstance(values, str) else yaml.safe_dump(values)
    return client("Training", "Init", message("training.TrainingConfig", yaml_content=text))


@contextmanager
def session(client: Client, values: dict[str, Any]) -> Iterator[Any]:
    found = made(client, values)
    try:
        yield found
    finally:
        client.train("CloseTrainerSession", found)


def state(client: Client, session: Any) -> int:
    return int(client.train("GetStatus", session).state)


def tensor(values: np.ndarray, axes: tuple[str, ...] = AXES) -> Any:
    shape = [message("NamedInt", size=n, name=axis) for n, axis in zip(values.shape, axes, strict=True)]
    return message("Tensor", buffer=values.tobytes(), dtype=values.dtype.name, tensorId="input", shape=shape)


def predicted(client: Client, session: Any, *tensors: Any) -> np.ndarray:
    request = message("PredictRequest", modelSessionId=session, tensors=tensors)
    (found,) = client("Training", "Predict", request).tensors
    assert (found.dtype, found.tensorId) == ("float32", "output")
    assert [axis.name for axis in found.shape] == list(AXES)
    return np.frombuffer(found.buffer, np.float32).reshape([axis.size for axis in found.shape])


def written(client: Client, call: str, session: Any, path: object) -> None:
    kind = {"Save": "training.SaveRequest", "Export": "training.ExportRequest"}[call]
    client("Training", call, message(kind, modelSessionId=session, filePath=str(path)), 300)


def refusal(call: Callable[[], Any]) -> tuple[Any, str]:
    """The status code and the sentence that a call ends with."""
    with pytest.raises(grpc.RpcError) as error:
        call()
    return error.value.code(), error.value.details()


def fails(sentence: str, call: Callable[[], Any]) -> None:
    code, said = refusal(call)
    assert code == grpc.StatusCode.INTERNAL
    assert sentence in said


def is_unknown(session: str, call: Callable[[], Any]) -> None:
    expected = (grpc.StatusCode.FAILED_PRECONDITION, f"model-session with id {session} doesn't exist")
    assert refusal(call) == expected


def test_a_2d_training_from_its_beginning_to_its_package(client: Client, root: Path) -> None:
    core = pytest.importorskip("bioimageio.core", reason="packages are tested by it, the extra export")
    image = np.random.default_rng(0).uniform(0, 255, (1, 1, 1, 40, 56)).astype(np.float32)
    with session(client, training_2d()) as it:
        assert state(client, it) == IDLE
        fails(
            "Invalid state transition: TrainerState.IDLE -> TrainerState.PAUSED. Valids are "
            "{<TrainerState.RUNNING: 1>}",
            lambda: client.train("Pause", it),
        )
        fails("TrainerState.IDLE -> TrainerState.RUNNING. Valids", lambda: client.train("Resume", it))
        assert next(iter(client.train("GetBestModelIdx", it))).id == "0"
        before = predicted(client, it, tensor(image))

        client.train("Start", it)
        updates = client.train("StreamUpdates", it)
        first = [next(updates) for _ in range(8)]
        assert [one.logs.iteration for one in first] == [1, 2, 3, 3, 4, 5, 6, 6]
        assert [one.logs.mode for one in first] == [0, 0, 0, 1, 0, 0, 0, 1]
        assert first[3].best_model_idx == 1
        assert all(one.logs.loss > 0 for one in first)
        updates.cancel()
        assert int(next(iter(client.train("GetBestModelIdx", it))).id) >= 1
        assert state(client, it) == RUNNING
        fails("TrainerState.RUNNING -> TrainerState.RUNNING", lambda: client.train("Start", it))

        written(client, "Save", it, "models/running")
        assert state(client, it) == RUNNING
        client.train("Pause", it)
        assert state(client, it) == PAUSED
        fails("TrainerState.PAUSED -> TrainerState.PAUSED", lambda: client.train("Pause", it))

        p = predicted(client, it, tensor(image))
        assert p.shape == image.shape
        assert 0 <= p.min() < p.max() <= 1
        assert np.abs(p - before).max() > 1e-3
        turned = np.ascontiguousarray(image.transpose(4, 2, 0, 3, 1))
        other = tensor(turned, ("x", "z", "b", "y", "c"))
        np.testing.assert_array_equal(predicted(client, it, other), p)

        logs = client.train("GetLogs", it).logs
        steps = [one.iteration for one in logs if one.mode == 0]
        assert steps == list(range(1, len(steps) + 1))
        assert logs[:8] == [one.logs for one in first]

        written(client, "Save", it, root / "models" / "paused.pth")
        weights = torch.load(root / "models" / "paused.pth", weights_only=True)
        assert weights.keys() == torch.load(root / "models" / "running.pth", weights_only=True).keys()
        written(client, "Export", it, "models/paused")
        assert state(client, it) == PAUSED
        summary = core.test_model(root / "models" / "paused.zip", weight_format="torchscript")
        assert summary.status == "passed"
        description = core.load_model_description(root / "models" / "paused.zip")
        assert description.authors[0].name == "not stated"

        client.train("Resume", it)
        assert state(client, it) == RUNNING
        psutil.Process(worker_at(root / "sessions" / it.id / "run").pid).kill()
        while state(client, it) == RUNNING:
            time.sleep(0.1)
        assert state(client, it) == FAILED
        assert len(list(client.train("StreamUpdates", it))) >= len(logs)
    fails("Unknown session", lambda: client.train("CloseTrainerSession", it))
    is_unknown(it.id, lambda: client.train("GetStatus", it))
    assert (root / "sessions" / it.id / "run" / "labelled_net").is_dir()  # nothing is lost


def test_a_3d_training_ends_and_gives_its_best_network(client: Client, root: Path) -> None:
    values = training_3d()
    with session(client, values) as it:
        client.train("Start", it)
        lines = [one.logs for one in client.train("StreamUpdates", it)]
        assert state(client, it) == FINISHED
        assert [one.iteration for one in lines if one.mode == 0] == [1, 2, 3, 4, 5, 6]
        assert list(client.train("GetLogs", it).logs) == lines
        fails("TrainerState.FINISHED -> TrainerState.RUNNING", lambda: client.train("Resume", it))
        raw = np.random.default_rng(0).uniform(0, 255, (2, 1, 9, 21, 30)).astype(np.float32)
        p = predicted(client, it, tensor(raw))
        network, spec = load_model(root / "sessions" / it.id / "run" / "labelled_net")
        np.testing.assert_array_equal(p[1], predict_raw(network, spec, raw[1, 0]))
        written(client, "Save", it, "models/volume.pth")
        saved = torch.load(root / "models" / "volume.pth", weights_only=True)
        assert all(torch.equal(saved[name], tensor) for name, tensor in network.state_dict().items())
        scores = [one.eval_score for one in lines if one.mode == 1]
        assert spec.record["training"]["best_score"] == pytest.approx(max(scores), abs=1e-6)


def test_a_training_outlives_its_server_and_is_found_by_the_next(root: Path) -> None:
    server = TiktorchServer(Places(root))
    server.start()
    client = Client(server.port)
    it = made(client, training_2d())
    client.train("Start", it)
    client.close()
    server.stop()
    server = TiktorchServer(Places(root))
    server.start()
    client = Client(server.port)
    try:
        assert [device.status for device in client("Training", "ListDevices").devices][:1] == [1]
        assert state(client, it) == RUNNING
    finally:
        client.train("CloseTrainerSession", it)
        assert worker_at(root / "sessions" / it.id / "run") is None
        client.close()
        server.stop()


def test_a_device_belongs_to_one_session(client: Client) -> None:
    first = made(client, training_2d())
    assert client("Training", "ListDevices").devices[0].status == 1
    fails("Device cpu is already in use", lambda: made(client, training_2d()))
    client.train("CloseTrainerSession", first)
    fails("Device cuda:77 doesn't exist", lambda: made(client, training_2d() | {"device": "cuda:77"}))
    assert client("Training", "ListDevices").devices[0].status == 0


def test_what_a_session_is_refused(client: Client, root: Path) -> None:
    with session(client, training_2d()) as it:
        image = np.zeros((1, 1, 1, 8, 8), np.float32)
        good = tensor(image)
        wrong = {
            "0 tensors came": [],
            "2 tensors came": [good, good],
            "of axes": [tensor(image, ("batch", "channel", "t", "y", "x"))],
            "NaN": [tensor(image + np.nan)],
            "2 channels came": [tensor(np.zeros((1, 2, 1, 8, 8), np.float32))],
            "3 planes came": [tensor(np.zeros((1, 1, 3, 8, 8), np.float32))],
            "of type 'object'": [message("Tensor", dtype="object", buffer=b"12345678", shape=good.shape)],
            "bytes came": [message("Tensor", dtype="float32", buffer=b"1234", shape=good.shape)],
        }
        for sentence, tensors in wrong.items():
            fails(sentence, lambda tensors=tensors: predicted(client, it, *tensors))
        for place in ("/tmp/out", "../out", "jobs/out", f"sessions/{it.id}/session", "models/.hidden", "."):
            for call in ("Save", "Export"):
                fails("no place for a file", lambda c=call, p=place: written(client, c, it, p))
        (root / "data" / "link").symlink_to("/tmp")
        fails("no place for a file", lambda: written(client, "Save", it, "data/link/out"))
        fails("none of weights", lambda: written(client, "Save", it, "data/plane0.h5"))
    for id_ in ("", "0" * 32, "../data", it.id):
        unknown = message("ModelSession", id=id_)
        for call in ("Start", "Pause", "Resume", "GetStatus", "GetLogs"):
            is_unknown(id_, lambda u=unknown, c=call: client.train(c, u))
        for call in ("StreamUpdates", "GetBestModelIdx"):
            is_unknown(id_, lambda u=unknown, c=call: next(client.train(c, u)))
        is_unknown(id_, lambda u=unknown: predicted(client, u, good))
        is_unknown(id_, lambda u=unknown: written(client, "Save", u, "models/x"))
        is_unknown(id_, lambda u=unknown: written(client, "Export", u, "models/x"))


@pytest.mark.parametrize(
    ("sentence", "values"),
    {
        "cannot be read as YAML": "a: [",
        "a mapping of settings was expected": "- 1",
        "neither model and loaders as pytorch-3dunet's, nor a command": "device: cpu",
        'the setting "model" is missing': "loaders: {}",
        "not in a folder": training_2d()
        | {"loaders": {**training_2d()["loaders"], "raw_internal_path": "x"}},
        "holds Python": {
            "command": "train",
            "sources": [{"raw": "data/plane0.h5:raw", "labels": "data/plane0.h5:label"}],
            "labelled_net": {"network": {"file": "data/evil.py:Net"}},
        },
    }.items(),
)
def test_yaml_that_is_refused(client: Client, sentence: str, values: Any) -> None:
    if sentence == "not in a folder":
        values["loaders"]["train"]["file_paths"] = ["/etc/passwd"]
    fails(sentence, lambda: made(client, values))
    assert client("Training", "ListDevices").devices[0].status == 0


def test_settings_of_our_own(client: Client, root: Path) -> None:
    values = {
        "command": "train",
        "device": "cpu",
        "sources": [
            {"raw": f"data/volume{n}.h5:raw", "labels": f"data/volume{n}.h5:label"} for n in range(2)
        ],
        "labelled_net": {"network": {"features": 4, "depth": 1, "stem": 1}, "patch": [16, 16]},
    }
    with session(client, values) as it:
        assert state(client, it) == IDLE
        assert predicted(client, it, tensor(np.ones((1, 1, 1, 9, 9), np.uint8))).shape == (1, 1, 1, 9, 9)


@pytest.mark.slow
def test_the_client_in_the_documents_runs(client: Client, root: Path) -> None:
    text = (Path(__file__).parents[3] / "docs" / "tiktorch.md").read_text(encoding="utf-8")
    code = text.partition("<!-- client -->\n```python\n")[2].partition("```")[0]
    found = {"port": client.port, "text": yaml.safe_dump(training_2d(max_num_iterations=6))}
    exec(compile(code, "docs/tiktorch.md", "exec"), found)
    assert (root / "models" / "cells.zip").is_file()
    assert len(found["answer"].buffer) == 4 * 64 * 64
