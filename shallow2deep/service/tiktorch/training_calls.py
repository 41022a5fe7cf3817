"""The service `training.Training`: each call finds its session and does what it says."""

import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import torch

from shallow2deep.errors import InputError
from shallow2deep.io.atomic import atomic_path
from shallow2deep.service.places import INCOMING, JOBS, Places
from shallow2deep.service.tiktorch.leases import Leases
from shallow2deep.service.tiktorch.logs import Line, Reader, lines_of
from shallow2deep.service.tiktorch.protocol import training_pb2 as messages
from shallow2deep.service.tiktorch.protocol import training_pb2_grpc as services
from shallow2deep.service.tiktorch.protocol import utils_pb2 as shared
from shallow2deep.service.tiktorch.sessions import SESSIONS, Session, Sessions, TrainerState
from shallow2deep.service.tiktorch.tensors import AXES, array_of, tensor_of
from shallow2deep.service.tiktorch.trained import predicted

_POLL = 1.0  # seconds
_WEIGHTS = (".pth", ".pt")
_OWN = (JOBS, SESSIONS, INCOMING)  # folders of the server's own


class TrainingCalls(services.TrainingServicer):
    """See `protocol/training.proto`."""

    def __init__(self, sessions: Sessions, leases: Leases, places: Places):
        self._sessions, self._leases, self._places = sessions, leases, places

    def ListDevices(self, request: shared.Empty, context: grpc.ServicerContext) -> shared.Devices:
        return self._leases.told()

    def Init(self, request: messages.TrainingConfig, context: grpc.ServicerContext) -> shared.ModelSession:
        return shared.ModelSession(id=self._sessions.new(request.yaml_content))

    def Start(self, request: shared.ModelSession, context: grpc.ServicerContext) -> shared.Empty:
        self._sessions.get(request.id).start()
        return shared.Empty()

    def Resume(self, request: shared.ModelSession, context: grpc.ServicerContext) -> shared.Empty:
        self._sessions.get(request.id).resume()
        return shared.Empty()

    def Pause(self, request: shared.ModelSession, context: grpc.ServicerContext) -> shared.Empty:
        self._sessions.get(request.id).pause()
        return shared.Empty()

    def GetStatus(
        self, request: shared.ModelSession, context: grpc.ServicerContext
    ) -> messages.GetStatusResponse:
        state = self._sessions.get(request.id).state()
        return messages.GetStatusResponse(state=messages.GetStatusResponse.State.Name(state.value))

    def StreamUpdates(
        self, request: shared.ModelSession, context: grpc.ServicerContext
    ) -> Iterator[messages.StreamUpdateResponse]:
        """All lines from the first one on, until the training has ended."""
        session = self._sessions.get(request.id)
        reader = Reader(session.run)
        while context.is_active():
            ended = _has_ended(session)  # asked first, so that the last lines are not missed
            for line in reader.new():
                yield messages.StreamUpdateResponse(best_model_idx=line.best, logs=_told(line))
            if ended:
                return
            time.sleep(_POLL)

    def GetLogs(
        self, request: shared.ModelSession, context: grpc.ServicerContext
    ) -> messages.GetLogsResponse:
        lines = lines_of(self._sessions.get(request.id).run)
        return messages.GetLogsResponse(logs=[_told(line) for line in lines])

    def GetBestModelIdx(
        self, request: shared.ModelSession, context: grpc.ServicerContext
    ) -> Iterator[messages.GetBestModelIdxResponse]:
        """At once, and then whenever it changes, until the client leaves."""
        reader, told = Reader(self._sessions.get(request.id).run), -1
        while context.is_active():
            for _ in reader.new():
                pass
            if reader.best != told:
                told = reader.best
                yield messages.GetBestModelIdxResponse(id=str(told))
            time.sleep(_POLL)

    def Save(self, request: messages.SaveRequest, context: grpc.ServicerContext) -> shared.Empty:
        session = self._sessions.get(request.modelSessionId.id)
        path = self._place(request.filePath, ".pth")
        if path.exists() and path.suffix not in _WEIGHTS:
            raise InputError(
                f"{request.filePath}: there is a file that is none of weights; give another name"
            )
        with session.standing_still():
            weights = session.trained.network()[0].state_dict()
        with atomic_path(path) as temporary:
            torch.save(dict(weights), temporary)
        return shared.Empty()

    def Export(self, request: messages.ExportRequest, context: grpc.ServicerContext) -> shared.Empty:
        session = self._sessions.get(request.modelSessionId.id)
        path = self._place(request.filePath, ".zip")
        with session.standing_still():
            network, spec = session.trained.network()
        session.trained.export(network, spec, path)
        return shared.Empty()

    def Predict(
        self, request: shared.PredictRequest, context: grpc.ServicerContext
    ) -> shared.PredictResponse:
        session = self._sessions.get(request.modelSessionId.id)
        if len(request.tensors) != 1:
            raise InputError(f"{len(request.tensors)} tensors came; give one")
        images = array_of(request.tensors[0])
        with session.standing_still():
            network, spec = session.trained.network()
        found = np.stack([predicted(network, spec, image, session.device) for image in images])
        return shared.PredictResponse(tensors=[tensor_of("output", found, AXES)])

    def CloseTrainerSession(
        self, request: shared.ModelSession, context: grpc.ServicerContext
    ) -> shared.Empty:
        self._sessions.close(request.id)
        return shared.Empty()

    def _place(self, name: str, ending: str) -> Path:
        """Where a file goes that a client names; with an ending, if it has none."""
        root = self._places.root
        path = root / name
        path = (path if path.suffix else path.with_name(path.name + ending)).resolve()
        inner = path.relative_to(root).parts if path.is_relative_to(root) else ()
        if not inner or inner[0] in _OWN or any(part.startswith(".") for part in inner):
            raise InputError(
                f"{name!r:.200} is no place for a file of a client; give one below {root}, but not in "
                f"{', '.join(_OWN)}"
            )
        return path


def _told(line: Line) -> messages.Logs:
    phase = messages.Logs.ModelPhase.Train if line.score is None else messages.Logs.ModelPhase.Eval
    return messages.Logs(mode=phase, eval_score=line.score or 0.0, loss=line.loss, iteration=line.iteration)


def _has_ended(session: Session) -> bool:
    return session.state() in (TrainerState.FAILED, TrainerState.FINISHED)
