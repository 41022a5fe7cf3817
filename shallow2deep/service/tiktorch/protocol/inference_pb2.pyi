from shallow2deep.service.tiktorch.protocol import utils_pb2 as _utils_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Blob(_message.Message):
    __slots__ = ("format", "content")
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    format: str
    content: bytes
    def __init__(self, format: _Optional[str] = ..., content: _Optional[bytes] = ...) -> None: ...

class CreateModelSessionRequest(_message.Message):
    __slots__ = ("model_uri", "model_blob", "deviceIds")
    MODEL_URI_FIELD_NUMBER: _ClassVar[int]
    MODEL_BLOB_FIELD_NUMBER: _ClassVar[int]
    DEVICEIDS_FIELD_NUMBER: _ClassVar[int]
    model_uri: str
    model_blob: Blob
    deviceIds: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, model_uri: _Optional[str] = ..., model_blob: _Optional[_Union[Blob, _Mapping]] = ..., deviceIds: _Optional[_Iterable[str]] = ...) -> None: ...

class CreateDatasetDescriptionRequest(_message.Message):
    __slots__ = ("modelSessionId", "mean", "stddev")
    MODELSESSIONID_FIELD_NUMBER: _ClassVar[int]
    MEAN_FIELD_NUMBER: _ClassVar[int]
    STDDEV_FIELD_NUMBER: _ClassVar[int]
    modelSessionId: str
    mean: float
    stddev: float
    def __init__(self, modelSessionId: _Optional[str] = ..., mean: _Optional[float] = ..., stddev: _Optional[float] = ...) -> None: ...

class DatasetDescription(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class LogEntry(_message.Message):
    __slots__ = ("timestamp", "level", "content")
    class Level(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        NOTSET: _ClassVar[LogEntry.Level]
        DEBUG: _ClassVar[LogEntry.Level]
        INFO: _ClassVar[LogEntry.Level]
        WARNING: _ClassVar[LogEntry.Level]
        ERROR: _ClassVar[LogEntry.Level]
        CRITICAL: _ClassVar[LogEntry.Level]
    NOTSET: LogEntry.Level
    DEBUG: LogEntry.Level
    INFO: LogEntry.Level
    WARNING: LogEntry.Level
    ERROR: LogEntry.Level
    CRITICAL: LogEntry.Level
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    LEVEL_FIELD_NUMBER: _ClassVar[int]
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    timestamp: int
    level: LogEntry.Level
    content: str
    def __init__(self, timestamp: _Optional[int] = ..., level: _Optional[_Union[LogEntry.Level, str]] = ..., content: _Optional[str] = ...) -> None: ...
