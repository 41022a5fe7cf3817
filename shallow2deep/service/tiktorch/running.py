"""The gRPC server as a program of its own, started as tiktorch's is."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

from shallow2deep.errors import InputError
from shallow2deep.io.atomic import one_writer, write_text
from shallow2deep.service.places import MODELS, Places


def serve(
    root: Path,
    address: str,
    port: int,
    connection_file: Path | None,
    patience_s: float | None,
    readable: Sequence[Path] = (),
    token: str | None = None,
) -> None:
    """Serves until a client ends it, no ping comes, or it is stopped by a signal.

    Prints the number of the process first, as tiktorch does.

    Args:
        root: see `Places`.
        connection_file: gets `{"addr": …, "port": …}`.
        readable: further folders that clients may read.
        token: that clients have to show.

    Raises:
        InputError: grpcio is missing, or an address that cannot be used; RunBusyError: another server uses
            the root.
    """
    root = root.expanduser()
    with one_writer(root, "server"):
        try:
            from shallow2deep.service.tiktorch.grpc_server import TiktorchServer
        except ModuleNotFoundError as error:
            raise InputError(
                f"{error.name} is missing, which this server needs; pip install 'shallow2deep[serve]'"
            ) from None
        from shallow2deep.inputs.models import OWN_FOLDERS

        places = Places(root, readable)
        os.environ[OWN_FOLDERS] = str(places.root / MODELS)
        server = TiktorchServer(places, address, port, token, patience_s)
        print(os.getpid(), flush=True)  # noqa: T201 - what starts it reads this
        if connection_file:
            write_text(connection_file, json.dumps({"addr": address, "port": server.port}))
        server.start()
        try:
            server.wait()
        finally:
            server.stop()
