"""The gRPC server that tiktorch's clients talk to."""

import ipaddress
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import grpc

from shallow2deep.errors import InputError
from shallow2deep.service.places import Places
from shallow2deep.service.tiktorch.answers import Answering
from shallow2deep.service.tiktorch.data_store import Uploads
from shallow2deep.service.tiktorch.inference_calls import FlightCalls, InferenceCalls
from shallow2deep.service.tiktorch.leases import Leases
from shallow2deep.service.tiktorch.protocol import data_store_pb2_grpc, inference_pb2_grpc, training_pb2_grpc
from shallow2deep.service.tiktorch.sessions import Sessions
from shallow2deep.service.tiktorch.training_calls import TrainingCalls

MAX_MESSAGE = 100 * 1024 * 1024
_THREADS = 32
_UPLOADS = ".uploads"
_OPTIONS = (
    ("grpc.max_send_message_length", MAX_MESSAGE),
    ("grpc.max_receive_message_length", MAX_MESSAGE),
    ("grpc.so_reuseport", 0),
)
_GRACE = 5.0  # seconds for calls that are under way when it ends


class TiktorchServer:
    """Serves from when it is made until `stop`, or a client's Shutdown. Trainings at work go on afterwards.

    Args:
        places: the folders that clients may use.
        address: to listen on; others than this computer's own need a token.
        port: 0 for any that is free; `port` then tells it.
        token: what clients have to give.
        patience_s: seconds without a ping after which it ends; None if none is needed.
        tls: files of a certificate and its key, PEM.
        ends: whether a client may end it.
        leases: who uses which device; if not given, sessions of this server alone.

    Raises:
        InputError: no token where one is needed, or an address that cannot be used.
    """

    def __init__(
        self,
        places: Places,
        address: str = "127.0.0.1",
        port: int = 0,
        token: str | None = None,
        patience_s: float | None = None,
        tls: tuple[Path, Path] | None = None,
        ends: bool = True,
        leases: Leases | None = None,
    ):
        if token is None and not is_loopback(address):
            raise InputError(f"{address} is open to other computers; give a token, or listen on 127.0.0.1")
        leases, folder = leases or Leases(), places.root / _UPLOADS
        uploads = Uploads(folder)
        self._server = grpc.server(
            ThreadPoolExecutor(_THREADS), interceptors=[Answering(token)], options=_OPTIONS
        )
        self._ended = threading.Event()
        training = TrainingCalls(Sessions(places, leases), leases, places)
        training_pb2_grpc.add_TrainingServicer_to_server(training, self._server)
        inference = InferenceCalls(uploads, leases, folder)
        inference_pb2_grpc.add_InferenceServicer_to_server(inference, self._server)
        flight = FlightCalls(self._ended.set if ends else None, patience_s)
        inference_pb2_grpc.add_FlightControlServicer_to_server(flight, self._server)
        data_store_pb2_grpc.add_DataStoreServicer_to_server(uploads, self._server)
        try:
            self.port = self._listen(f"{_in_brackets(address)}:{port}", tls)
        except RuntimeError:
            raise InputError(
                f"{address}:{port} cannot be listened on; give another address or port"
            ) from None

    def _listen(self, place: str, tls: tuple[Path, Path] | None) -> int:
        if tls is None:
            return int(self._server.add_insecure_port(place))
        certificate, key = (path.read_bytes() for path in tls)
        return int(self._server.add_secure_port(place, grpc.ssl_server_credentials([(key, certificate)])))

    def start(self) -> None:
        self._server.start()

    def wait(self) -> None:
        """Until a client ends the server, or no ping has come."""
        self._ended.wait()

    def stop(self) -> None:
        self._server.stop(_GRACE).wait()


def is_loopback(address: str) -> bool:
    """Whether only this computer reaches an address.

    >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("0.0.0.0")
    (True, True, False)
    """
    with suppress(ValueError):
        return ipaddress.ip_address(address).is_loopback
    return address == "localhost"


def _in_brackets(address: str) -> str:
    return f"[{address}]" if ":" in address else address
