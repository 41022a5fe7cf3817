"""The server as a program, as ilastik starts it; who may call it, and how large messages may be."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

grpc = pytest.importorskip("grpc", reason="the server needs grpcio, the extra serve")
from tiktorch_client import Client, message  # noqa: E402

from shallow2deep.errors import InputError  # noqa: E402
from shallow2deep.service.places import Places  # noqa: E402
from shallow2deep.service.tiktorch.grpc_server import TiktorchServer  # noqa: E402

COMMAND = [sys.executable, "-m", "shallow2deep", "tiktorch-server", "--root"]


def begun(root: Path, *flags: str) -> tuple[subprocess.Popen[str], int]:
    """The program, and the port that it tells."""
    file = root.parent / "connection.json"
    process = subprocess.Popen(
        [*COMMAND, root, "--connection-file", file, *flags],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    assert int(process.stdout.readline()) == process.pid
    while not file.exists():
        time.sleep(0.05)
    said = json.loads(file.read_text())
    assert said["addr"] == "127.0.0.1"
    return process, said["port"]


def test_the_program_ends_when_it_is_told_to(tmp_path: Path) -> None:
    process, port = begun(tmp_path / "root")
    client = Client(port)
    client("FlightControl", "Ping", timeout=30)
    other = subprocess.run([*COMMAND, tmp_path / "root"], capture_output=True, text=True, timeout=120)
    assert other.returncode == 3
    client("FlightControl", "Shutdown")
    client.close()
    assert process.wait(60) == 0
    assert "Traceback" not in process.communicate()[1]


@pytest.mark.slow
def test_the_program_ends_without_pings(tmp_path: Path) -> None:
    process, port = begun(tmp_path / "root", "--kill-timeout", "2")
    client = Client(port)
    for _ in range(6):  # longer than it would wait
        client("FlightControl", "Ping", timeout=30)
        time.sleep(0.5)
    client.close()
    assert process.wait(60) == 0
    assert "no ping came for 2 s" in process.communicate()[1]


@pytest.mark.slow
def test_the_program_ends_by_a_signal(tmp_path: Path) -> None:
    process, _ = begun(tmp_path / "root")
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 128 + signal.SIGTERM
    assert "Traceback" not in process.communicate()[1]


def test_other_computers_need_a_token(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="give a token"):
        TiktorchServer(Places(tmp_path), "0.0.0.0")
    server = TiktorchServer(Places(tmp_path), "0.0.0.0", token="word")
    server.start()
    try:
        for token in (None, "another"):
            client = Client(server.port, token)
            for service, call in (("Training", "ListDevices"), ("FlightControl", "Shutdown")):
                with pytest.raises(grpc.RpcError) as error:
                    client(service, call)
                assert error.value.code() == grpc.StatusCode.UNAUTHENTICATED
            with pytest.raises(grpc.RpcError) as error:
                client.upload(b"1")
            assert error.value.code() == grpc.StatusCode.UNAUTHENTICATED
            with pytest.raises(grpc.RpcError) as error:
                next(client("Inference", "GetLogs"))
            assert error.value.code() == grpc.StatusCode.UNAUTHENTICATED
            client.close()
        client = Client(server.port, "word")
        assert client("Training", "ListDevices").devices[0].id == "cpu"
        client.close()
    finally:
        server.stop()


def test_an_address_that_is_taken(tmp_path: Path) -> None:
    server = TiktorchServer(Places(tmp_path / "one"))
    with pytest.raises(InputError, match="cannot be listened on"):
        TiktorchServer(Places(tmp_path / "two"), port=server.port)
    server.start()
    server.stop()


def test_messages_of_up_to_100_mb(client: Client) -> None:
    """They are read, and refused for what is in them; larger ones are not read."""
    for megabytes, code in ((99, "FAILED_PRECONDITION"), (101, "RESOURCE_EXHAUSTED")):
        values = np.zeros(megabytes * 2**20, np.uint8)
        tensor = message("Tensor", buffer=values.tobytes(), dtype="uint8")
        request = message("PredictRequest", modelSessionId=message("ModelSession", id="x"), tensors=[tensor])
        with pytest.raises(grpc.RpcError) as error:
            client("Inference", "Predict", request)
        assert error.value.code().name == code
