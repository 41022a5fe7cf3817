from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Empty(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ModelSession(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class NamedInt(_message.Message):
    __slots__ = ("size", "name")
    SIZE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    size: int
    name: str
    def __init__(self, size: _Optional[int] = ..., name: _Optional[str] = ...) -> None: ...

class NamedFloat(_message.Message):
    __slots__ = ("size", "name")
    SIZE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    size: float
    name: str
    def __init__(self, size: _Optional[float] = ..., name: _Optional[str] = ...) -> None: ...

class NamedInts(_message.Message):
    __slots__ = ("namedInts",)
    NAMEDINTS_FIELD_NUMBER: _ClassVar[int]
    namedInts: _containers.RepeatedCompositeFieldContainer[NamedInt]
    def __init__(self, namedInts: _Optional[_Iterable[_Union[NamedInt, _Mapping]]] = ...) -> None: ...

class NamedFloats(_message.Message):
    __slots__ = ("namedFloats",)
    NAMEDFLOATS_FIELD_NUMBER: _ClassVar[int]
    namedFloats: _containers.RepeatedCompositeFieldContainer[NamedFloat]
    def __init__(self, namedFloats: _Optional[_Iterable[_Union[NamedFloat, _Mapping]]] = ...) -> None: ...

class Tensor(_message.Message):
    __slots__ = ("buffer", "dtype", "tensorId", "shape")
    BUFFER_FIELD_NUMBER: _ClassVar[int]
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    TENSORID_FIELD_NUMBER: _ClassVar[int]
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    buffer: bytes
    dtype: str
    tensorId: str
    shape: _containers.RepeatedCompositeFieldContainer[NamedInt]
    def __init__(self, buffer: _Optional[bytes] = ..., dtype: _Optional[str] = ..., tensorId: _Optional[str] = ..., shape: _Optional[_Iterable[_Union[NamedInt, _Mapping]]] = ...) -> None: ...

class PredictRequest(_message.Message):
    __slots__ = ("modelSessionId", "tensors")
    MODELSESSIONID_FIELD_NUMBER: _ClassVar[int]
    TENSORS_FIELD_NUMBER: _ClassVar[int]
    modelSessionId: ModelSession
    tensors: _containers.RepeatedCompositeFieldContainer[Tensor]
    def __init__(self, modelSessionId: _Optional[_Union[ModelSession, _Mapping]] = ..., tensors: _Optional[_Iterable[_Union[Tensor, _Mapping]]] = ...) -> None: ...

class PredictResponse(_message.Message):
    __slots__ = ("tensors",)
    TENSORS_FIELD_NUMBER: _ClassVar[int]
    tensors: _containers.RepeatedCompositeFieldContainer[Tensor]
    def __init__(self, tensors: _Optional[_Iterable[_Union[Tensor, _Mapping]]] = ...) -> None: ...

class Device(_message.Message):
    __slots__ = ("id", "status")
    class Status(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        AVAILABLE: _ClassVar[Device.Status]
        IN_USE: _ClassVar[Device.Status]
    AVAILABLE: Device.Status
    IN_USE: Device.Status
    ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    id: str
    status: Device.Status
    def __init__(self, id: _Optional[str] = ..., status: _Optional[_Union[Device.Status, str]] = ...) -> None: ...

class Devices(_message.Message):
    __slots__ = ("devices",)
    DEVICES_FIELD_NUMBER: _ClassVar[int]
    devices: _containers.RepeatedCompositeFieldContainer[Device]
    def __init__(self, devices: _Optional[_Iterable[_Union[Device, _Mapping]]] = ...) -> None: ...
