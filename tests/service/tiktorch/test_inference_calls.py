"""What ilastik does with a server: it uploads a package, and has tiles predicted."""

import logging
import threading
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

grpc = pytest.importorskip("grpc", reason="the server needs grpcio, the extra serve")
from tiktorch_client import Client, message  # noqa: E402

from shallow2deep.exports.description import read_description  # noqa: E402
from shallow2deep.exports.packaged_networks import torchscript_network  # noqa: E402
from shallow2deep.inputs.models import models  # noqa: E402


@pytest.fixture
def package() -> Path:
    """One of those that come along."""
    return next(model.path for model in models() if model.name == "nuclei-2d")


def opened(client: Client, **model: Any) -> Any:
    request = message("inference.CreateModelSessionRequest", deviceIds=["cpu"], **model)
    return client("Inference", "CreateModelSession", request)


def as_tensor(values: np.ndarray, axes: tuple[str, ...]) -> Any:
    shape = [message("NamedInt", size=n, name=axis) for n, axis in zip(values.shape, axes, strict=True)]
    return message("Tensor", buffer=values.tobytes(), dtype="float32", tensorId="input", shape=shape)


def predicted(client: Client, session: Any, tensor: Any) -> Any:
    request = message("PredictRequest", modelSessionId=session, tensors=[tensor])
    (found,) = client("Inference", "Predict", request).tensors
    return found


def fails(code: str, sentence: str, call: Any) -> None:
    with pytest.raises(grpc.RpcError, match=sentence) as error:
        call()
    assert error.value.code().name == code


def test_an_uploaded_enhancer_gives_what_its_torchscript_gives(client: Client, package: Path) -> None:
    upload = client.upload(package.read_bytes())
    session = opened(client, model_uri=f"upload://{upload.id}")
    assert client("Inference", "ListDevices").devices[0].status == 1
    fails("INTERNAL", "already in use", lambda: opened(client, model_uri=f"upload://{upload.id}"))
    tile = np.random.default_rng(0).uniform(0, 1, (1, 1, 64, 48)).astype(np.float32)
    found = predicted(client, session, as_tensor(tile, ("batch", "channel", "y", "x")))
    assert [(axis.name, axis.size) for axis in found.shape] == [
        ("batch", 1), ("channel", 1), ("y", 64), ("x", 48),
    ]  # fmt: skip
    assert (found.tensorId, found.dtype) == ("output", "float32")
    with torch.inference_mode():
        expected = torchscript_network(package, read_description(package))(torch.from_numpy(tile)).numpy()
    p = np.frombuffer(found.buffer, np.float32).reshape(expected.shape)
    np.testing.assert_allclose(p, expected, atol=1e-5)
    swapped = as_tensor(np.ascontiguousarray(tile.swapaxes(2, 3)), ("batch", "channel", "x", "y"))
    assert predicted(client, session, swapped).buffer == found.buffer

    described = message("inference.CreateDatasetDescriptionRequest", modelSessionId=session.id, stddev=1)
    assert client("Inference", "CreateDatasetDescription", described).id
    wrong = as_tensor(tile[..., :13], ("batch", "channel", "y", "x"))
    fails("INTERNAL", "sizes that divide by", lambda: predicted(client, session, wrong))
    client("Inference", "CloseModelSession", session)
    assert client("Inference", "ListDevices").devices[0].status == 0
    fails("INTERNAL", "Unknown session", lambda: client("Inference", "CloseModelSession", session))
    fails("FAILED_PRECONDITION", "doesn't exist", lambda: predicted(client, session, wrong))


def test_a_package_within_a_message_and_the_log(client: Client, package: Path) -> None:
    entries = client("Inference", "GetLogs", timeout=60)
    found: list[Any] = []
    reading = threading.Thread(target=lambda: found.append(next(iter(entries))))
    reading.start()
    logging.getLogger("shallow2deep").setLevel(logging.INFO)
    blob = message("inference.Blob", content=package.read_bytes())
    while reading.is_alive():  # until the server listens
        client("Inference", "CloseModelSession", opened(client, model_blob=blob))
        reading.join(0.2)
    entries.cancel()
    assert "is open for predictions on cpu" in found[0].content
    assert found[0].level == 2
    assert found[0].timestamp > 1_700_000_000


def test_models_that_are_refused(client: Client, package: Path, tmp_path: Path) -> None:
    fails("INTERNAL", "give upload://ID", lambda: opened(client, model_uri="https://elsewhere/model.zip"))
    fails("INTERNAL", "there is no upload", lambda: opened(client, model_uri="upload://../data/plane0.h5"))
    for content in (b"", b"no zip", package.read_bytes()[:1000]):
        blob = message("inference.Blob", content=content)
        fails("INTERNAL", "no such package|not a usable package", lambda b=blob: opened(client, model_blob=b))
    evil = tmp_path / "evil.zip"
    with zipfile.ZipFile(package) as old, zipfile.ZipFile(evil, "w") as new:
        for name in old.namelist():
            new.writestr(name, old.read(name) + (b"#" if name == "architecture.py" else b""))
    blob = message("inference.Blob", content=evil.read_bytes())
    fails("INTERNAL", "sha256", lambda: opened(client, model_blob=blob))
    assert client("Inference", "ListDevices").devices[0].status == 0
