from shallow2deep.service.tiktorch.protocol import utils_pb2 as _utils_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class TrainingConfig(_message.Message):
    __slots__ = ("yaml_content",)
    YAML_CONTENT_FIELD_NUMBER: _ClassVar[int]
    yaml_content: str
    def __init__(self, yaml_content: _Optional[str] = ...) -> None: ...

class SaveRequest(_message.Message):
    __slots__ = ("modelSessionId", "filePath")
    MODELSESSIONID_FIELD_NUMBER: _ClassVar[int]
    FILEPATH_FIELD_NUMBER: _ClassVar[int]
    modelSessionId: _utils_pb2.ModelSession
    filePath: str
    def __init__(self, modelSessionId: _Optional[_Union[_utils_pb2.ModelSession, _Mapping]] = ..., filePath: _Optional[str] = ...) -> None: ...

class ExportRequest(_message.Message):
    __slots__ = ("modelSessionId", "filePath")
    MODELSESSIONID_FIELD_NUMBER: _ClassVar[int]
    FILEPATH_FIELD_NUMBER: _ClassVar[int]
    modelSessionId: _utils_pb2.ModelSession
    filePath: str
    def __init__(self, modelSessionId: _Optional[_Union[_utils_pb2.ModelSession, _Mapping]] = ..., filePath: _Optional[str] = ...) -> None: ...

class GetStatusResponse(_message.Message):
    __slots__ = ("state",)
    class State(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        Idle: _ClassVar[GetStatusResponse.State]
        Running: _ClassVar[GetStatusResponse.State]
        Paused: _ClassVar[GetStatusResponse.State]
        Failed: _ClassVar[GetStatusResponse.State]
        Finished: _ClassVar[GetStatusResponse.State]
    Idle: GetStatusResponse.State
    Running: GetStatusResponse.State
    Paused: GetStatusResponse.State
    Failed: GetStatusResponse.State
    Finished: GetStatusResponse.State
    STATE_FIELD_NUMBER: _ClassVar[int]
    state: GetStatusResponse.State
    def __init__(self, state: _Optional[_Union[GetStatusResponse.State, str]] = ...) -> None: ...

class GetBestModelIdxResponse(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class Logs(_message.Message):
    __slots__ = ("mode", "eval_score", "loss", "iteration")
    class ModelPhase(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        Train: _ClassVar[Logs.ModelPhase]
        Eval: _ClassVar[Logs.ModelPhase]
    Train: Logs.ModelPhase
    Eval: Logs.ModelPhase
    MODE_FIELD_NUMBER: _ClassVar[int]
    EVAL_SCORE_FIELD_NUMBER: _ClassVar[int]
    LOSS_FIELD_NUMBER: _ClassVar[int]
    ITERATION_FIELD_NUMBER: _ClassVar[int]
    mode: Logs.ModelPhase
    eval_score: float
    loss: float
    iteration: int
    def __init__(self, mode: _Optional[_Union[Logs.ModelPhase, str]] = ..., eval_score: _Optional[float] = ..., loss: _Optional[float] = ..., iteration: _Optional[int] = ...) -> None: ...

class StreamUpdateResponse(_message.Message):
    __slots__ = ("best_model_idx", "logs")
    BEST_MODEL_IDX_FIELD_NUMBER: _ClassVar[int]
    LOGS_FIELD_NUMBER: _ClassVar[int]
    best_model_idx: int
    logs: Logs
    def __init__(self, best_model_idx: _Optional[int] = ..., logs: _Optional[_Union[Logs, _Mapping]] = ...) -> None: ...

class GetLogsResponse(_message.Message):
    __slots__ = ("logs",)
    LOGS_FIELD_NUMBER: _ClassVar[int]
    logs: _containers.RepeatedCompositeFieldContainer[Logs]
    def __init__(self, logs: _Optional[_Iterable[_Union[Logs, _Mapping]]] = ...) -> None: ...

class ValidationResponse(_message.Message):
    __slots__ = ("validation_score_average",)
    VALIDATION_SCORE_AVERAGE_FIELD_NUMBER: _ClassVar[int]
    validation_score_average: float
    def __init__(self, validation_score_average: _Optional[float] = ...) -> None: ...

class GetCurrentBestModelIdxResponse(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: int
    def __init__(self, id: _Optional[int] = ...) -> None: ...
