"""The services of the package `inference`: networks of bioimage.io, applied to tiles."""

import logging
import queue
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import numpy as np
import torch
from torch import nn

from shallow2deep.errors import InputError
from shallow2deep.exports.description import Description, read_description
from shallow2deep.exports.packages import load_package
from shallow2deep.networks.model import ModelSpec
from shallow2deep.service.tiktorch.answers import UnknownSessionError
from shallow2deep.service.tiktorch.data_store import Uploads
from shallow2deep.service.tiktorch.leases import Leases
from shallow2deep.service.tiktorch.protocol import inference_pb2 as messages
from shallow2deep.service.tiktorch.protocol import inference_pb2_grpc as services
from shallow2deep.service.tiktorch.protocol import utils_pb2 as shared
from shallow2deep.service.tiktorch.tensors import array_of, tensor_of

log = logging.getLogger(__name__)
_UPLOAD = "upload://"
_POLL = 0.5  # seconds
_KEPT = 1000  # log entries that a slow client has not taken yet


@dataclass(frozen=True)
class _Model:
    """A network that was opened for a client.

    Attributes:
        description: of its package.
    """

    network: nn.Module
    spec: ModelSpec
    description: Description
    device: str
    lock: threading.Lock

    def predict(self, tensor: shared.Tensor) -> shared.Tensor:
        """The network's probabilities for a whole tile, with its border."""
        given, made = self.description.inputs[0], self.description.outputs[0]
        values = array_of(tensor, given.axis_names).astype(np.float32)
        space = values.shape[2:]
        steps: tuple[int, ...] = tuple(self.network.step)  # type: ignore[arg-type]
        if values.shape[1] != self.spec.in_channels or any(n % s for n, s in zip(space, steps, strict=True)):
            raise InputError(
                f"a tile of shape {values.shape} came; give {self.spec.in_channels} channels, and sizes that "
                f"divide by {steps}"
            )
        if self.spec.normalisation is not None:
            mean, deviation = self.spec.normalisation
            values = (values - np.float32(mean)) / np.float32(deviation)
        with self.lock, torch.inference_mode():
            p = torch.sigmoid(self.network(torch.from_numpy(values).to(self.device))).float().cpu().numpy()
        return tensor_of(made.id, p, made.axis_names)


class InferenceCalls(services.InferenceServicer):
    """See `protocol/inference.proto`.

    Args:
        folder: for packages that come within a message.
    """

    def __init__(self, uploads: Uploads, leases: Leases, folder: Path):
        self._uploads, self._leases, self._folder = uploads, leases, folder
        self._models: dict[str, _Model] = {}

    def ListDevices(self, request: shared.Empty, context: grpc.ServicerContext) -> shared.Devices:
        return self._leases.told()

    def CreateModelSession(
        self, request: messages.CreateModelSessionRequest, context: grpc.ServicerContext
    ) -> shared.ModelSession:
        id_ = secrets.token_hex(16)
        devices = self._leases.lease(request.deviceIds or ["cpu"], id_)
        try:
            if request.WhichOneof("model") == "model_blob":
                path = self._folder / f"{id_}.zip"
                path.write_bytes(request.model_blob.content)
                try:
                    model = _opened(path, devices[0])
                finally:
                    path.unlink()
            elif request.model_uri.startswith(_UPLOAD):
                model = _opened(self._uploads.path(request.model_uri.removeprefix(_UPLOAD)), devices[0])
            else:
                raise InputError(f"{request.model_uri!r:.80} came as a model; give {_UPLOAD}ID, or its bytes")
        except BaseException:
            self._leases.free(id_)
            raise
        self._models[id_] = model
        log.info("%s is open for predictions on %s", model.description.name, devices[0])
        return shared.ModelSession(id=id_)

    def CloseModelSession(self, request: shared.ModelSession, context: grpc.ServicerContext) -> shared.Empty:
        if self._models.pop(request.id, None) is None:
            raise InputError("Unknown session")
        self._leases.free(request.id)
        return shared.Empty()

    def CreateDatasetDescription(
        self, request: messages.CreateDatasetDescriptionRequest, context: grpc.ServicerContext
    ) -> messages.DatasetDescription:
        """Changes nothing: the networks here normalise by constants of their own."""
        self._get(request.modelSessionId)
        return messages.DatasetDescription(id=secrets.token_hex(16))

    def Predict(
        self, request: shared.PredictRequest, context: grpc.ServicerContext
    ) -> shared.PredictResponse:
        model = self._get(request.modelSessionId.id)
        if len(request.tensors) != 1:
            raise InputError(f"{len(request.tensors)} tensors came; this network takes one")
        return shared.PredictResponse(tensors=[model.predict(request.tensors[0])])

    def GetLogs(self, request: shared.Empty, context: grpc.ServicerContext) -> Iterator[messages.LogEntry]:
        """What is logged from now on, until the client leaves."""
        entries = _Entries()
        logger = logging.getLogger("shallow2deep")
        logger.addHandler(entries)
        try:
            while context.is_active():
                try:
                    yield entries.queue.get(timeout=_POLL)
                except queue.Empty:
                    continue
        finally:
            logger.removeHandler(entries)

    def _get(self, id_: str) -> _Model:
        if id_ not in self._models:
            raise UnknownSessionError(id_)
        return self._models[id_]


def _opened(path: Path, device: str) -> _Model:
    network, spec = load_package(path)
    return _Model(network.to(device), spec, read_description(path), device, threading.Lock())


class _Entries(logging.Handler):
    """Keeps log lines for one client; the newest are lost if it takes none."""

    def __init__(self) -> None:
        super().__init__()
        self.queue: queue.Queue[messages.LogEntry] = queue.Queue(_KEPT)

    def emit(self, record: logging.LogRecord) -> None:
        level = {10: 1, 20: 2, 30: 3, 40: 4, 50: 5}.get(record.levelno, 0)
        entry = messages.LogEntry(
            timestamp=int(record.created),
            level=messages.LogEntry.Level.Name(level),
            content=record.getMessage(),
        )
        if not self.queue.full():
            self.queue.put_nowait(entry)


class FlightCalls(services.FlightControlServicer):
    """Ends the server when it is told to, or if no ping comes for a while.

    Args:
        end: ends the server; called once, from another thread. None if no client may.
        patience_s: how long a ping may be missing; None for ever.
    """

    def __init__(self, end: Callable[[], None] | None, patience_s: float | None):
        self._end, self._asked = end, threading.Event()
        self._pinged = time.monotonic()
        if end is not None:
            threading.Thread(target=self._watch, args=[end, patience_s], daemon=True).start()

    def Ping(self, request: shared.Empty, context: grpc.ServicerContext) -> shared.Empty:
        self._pinged = time.monotonic()
        return shared.Empty()

    def Shutdown(self, request: shared.Empty, context: grpc.ServicerContext) -> shared.Empty:
        if self._end is None:
            raise InputError("this server is not only for you, so that no client can end it")
        self._asked.set()
        return shared.Empty()

    def _watch(self, end: Callable[[], None], patience_s: float | None) -> None:
        while not self._asked.wait(_POLL):
            if patience_s is not None and time.monotonic() - self._pinged > patience_s:
                log.warning("no ping came for %g s; the server ends", patience_s)
                break
        end()
