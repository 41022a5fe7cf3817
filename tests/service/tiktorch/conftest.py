"""A server of tiktorch's services, and a client with messages of its own."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from unet_yaml import write_planes, write_volumes

from shallow2deep.service.places import Places


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root, with images."""
    places = Places(tmp_path_factory.mktemp("root"))
    write_planes(places.root / "data")
    write_volumes(places.root / "data")
    return places.root


@pytest.fixture(scope="module")
def client(root: Path) -> Iterator[Any]:
    """Of a server of that root."""
    pytest.importorskip("grpc", reason="the server needs grpcio, the extra serve")
    from tiktorch_client import Client

    from shallow2deep.service.tiktorch.grpc_server import TiktorchServer

    server = TiktorchServer(Places(root))
    server.start()
    found = Client(server.port)
    yield found
    found.close()
    server.stop()
