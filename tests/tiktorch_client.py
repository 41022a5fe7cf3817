"""A client of tiktorch's services with messages of its own: nothing of it is the server's."""

from collections.abc import Iterator
from typing import Any

import grpc
from google.protobuf.descriptor_pb2 import FieldDescriptorProto as Field
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

_MB = 1024 * 1024
_PLAIN = {
    "string": Field.TYPE_STRING,
    "bytes": Field.TYPE_BYTES,
    "uint32": Field.TYPE_UINT32,
    "float": Field.TYPE_FLOAT,
    "double": Field.TYPE_DOUBLE,
}
# "NAME = NUMBER TYPE"; a type in capitals is another message or enum, one behind | is part of the oneof
_SHARED = {
    "Empty": "",
    "ModelSession": "id = 1 string",
    "NamedInt": "size = 1 uint32; name = 2 string",
    "NamedFloat": "size = 1 float; name = 2 string",
    "NamedInts": "namedInts = 1 repeated NamedInt",
    "NamedFloats": "namedFloats = 1 repeated NamedFloat",
    "Tensor": "buffer = 1 bytes; dtype = 2 string; tensorId = 3 string; shape = 4 repeated NamedInt",
    "PredictRequest": "modelSessionId = 1 ModelSession; tensors = 2 repeated Tensor",
    "PredictResponse": "tensors = 1 repeated Tensor",
    "Device": "id = 1 string; status = 2 enum Status AVAILABLE=0,IN_USE=1",
    "Devices": "devices = 1 repeated Device",
    "UploadInfo": "size = 1 uint32",
    "UploadRequest": "payload| info = 1 UploadInfo; payload| content = 2 bytes",
    "UploadResponse": "id = 1 string; size = 2 uint32; sha256 = 3 string",
    "RemoveRequest": "uploadId = 1 string",
    "RemoveResponse": "",
}
_TRAINING = {
    "TrainingConfig": "yaml_content = 1 string",
    "SaveRequest": "modelSessionId = 1 ModelSession; filePath = 2 string",
    "ExportRequest": "modelSessionId = 1 ModelSession; filePath = 2 string",
    "GetStatusResponse": "state = 1 enum State Idle=0,Running=1,Paused=2,Failed=3,Finished=4",
    "GetBestModelIdxResponse": "id = 1 string",
    "Logs": "mode = 1 enum ModelPhase Train=0,Eval=1; eval_score = 2 double; loss = 3 double; "
    "iteration = 4 uint32",
    "StreamUpdateResponse": "best_model_idx = 1 uint32; logs = 2 training.Logs",
    "GetLogsResponse": "logs = 1 repeated training.Logs",
    "ValidationResponse": "validation_score_average = 1 double",
    "GetCurrentBestModelIdxResponse": "id = 1 uint32",
}
_INFERENCE = {
    "Blob": "format = 1 string; content = 2 bytes",
    "CreateModelSessionRequest": "model| model_uri = 1 string; model| model_blob = 2 inference.Blob; "
    "deviceIds = 5 repeated string",
    "CreateDatasetDescriptionRequest": "modelSessionId = 1 string; mean = 3 double; stddev = 4 double",
    "DatasetDescription": "id = 1 string",
    "LogEntry": "timestamp = 1 uint32; level = 2 enum Level "
    "NOTSET=0,DEBUG=1,INFO=2,WARNING=3,ERROR=4,CRITICAL=5; content = 3 string",
}
# request, response, and which of both is a stream
CALLS = {
    "training.Training": {
        "ListDevices": ("Empty", "Devices", ""),
        "Init": ("training.TrainingConfig", "ModelSession", ""),
        "Start": ("ModelSession", "Empty", ""),
        "Resume": ("ModelSession", "Empty", ""),
        "Pause": ("ModelSession", "Empty", ""),
        "StreamUpdates": ("ModelSession", "training.StreamUpdateResponse", "response"),
        "GetLogs": ("ModelSession", "training.GetLogsResponse", ""),
        "GetBestModelIdx": ("ModelSession", "training.GetBestModelIdxResponse", "response"),
        "Save": ("training.SaveRequest", "Empty", ""),
        "Export": ("training.ExportRequest", "Empty", ""),
        "Predict": ("PredictRequest", "PredictResponse", ""),
        "GetStatus": ("ModelSession", "training.GetStatusResponse", ""),
        "CloseTrainerSession": ("ModelSession", "Empty", ""),
    },
    "inference.Inference": {
        "CreateModelSession": ("inference.CreateModelSessionRequest", "ModelSession", ""),
        "CloseModelSession": ("ModelSession", "Empty", ""),
        "CreateDatasetDescription": (
            "inference.CreateDatasetDescriptionRequest",
            "inference.DatasetDescription",
            "",
        ),
        "GetLogs": ("Empty", "inference.LogEntry", "response"),
        "ListDevices": ("Empty", "Devices", ""),
        "Predict": ("PredictRequest", "PredictResponse", ""),
    },
    "inference.FlightControl": {"Ping": ("Empty", "Empty", ""), "Shutdown": ("Empty", "Empty", "")},
    "DataStore": {
        "Upload": ("UploadRequest", "UploadResponse", "request"),
        "Remove": ("RemoveRequest", "RemoveResponse", ""),
    },
}


def file_of(package: str, messages: dict[str, str]) -> FileDescriptorProto:
    """The description of a file of messages."""
    file = FileDescriptorProto(name=f"{package or 'shared'}.test.proto", package=package, syntax="proto3")
    if package:
        file.dependency.append("shared.test.proto")
    for name, fields in messages.items():
        message = file.message_type.add(name=name)
        for text in filter(None, fields.split("; ")):
            oneof, bar, text = text.rpartition("| ")
            field_name, _, number, *kind = text.split()
            field = message.field.add(name=field_name, number=int(number), label=Field.LABEL_OPTIONAL)
            if bar:
                if not message.oneof_decl:
                    message.oneof_decl.add(name=oneof)
                field.oneof_index = 0
            if kind[0] == "repeated":
                field.label = Field.LABEL_REPEATED
                kind = kind[1:]
            if kind[0] == "enum":
                enum = message.enum_type.add(name=kind[1])
                for value in kind[2].split(","):
                    enum.value.add(name=value.partition("=")[0], number=int(value.partition("=")[2]))
                path = ".".join(filter(None, (package, name, kind[1])))
                field.type, field.type_name = Field.TYPE_ENUM, f".{path}"
            elif kind[0] in _PLAIN:
                field.type = _PLAIN[kind[0]]
            else:
                field.type, field.type_name = Field.TYPE_MESSAGE, f".{kind[0]}"
    return file


FILES = [file_of("", _SHARED), file_of("training", _TRAINING), file_of("inference", _INFERENCE)]
_pool = DescriptorPool()
for _file in FILES:
    _pool.Add(_file)


def message(full_name: str, /, **values: Any) -> Any:
    """A message by its full name."""
    return GetMessageClass(_pool.FindMessageTypeByName(full_name))(**values)


class Client:
    """All calls of the services as methods of the service's name: `client("Training", "Init", …)`."""

    def __init__(self, port: int, token: str | None = None):
        self.port = port
        limits = [(f"grpc.max_{way}_message_length", 100 * _MB) for way in ("send", "receive")]
        self._channel = grpc.insecure_channel(f"127.0.0.1:{port}", limits)
        self._metadata = [("authorization", f"Bearer {token}")] if token else []

    def close(self) -> None:
        self._channel.close()

    def __call__(self, service: str, call: str, request: Any = None, timeout: float | None = 120) -> Any:
        """Sends a message, or an iterator of them; gives a message, or a stream of them."""
        full = next(name for name in CALLS if name.rpartition(".")[2] == service)
        takes, gives, streamed = CALLS[full][call]
        kind = {"": "unary_unary", "response": "unary_stream", "request": "stream_unary"}[streamed]
        made = getattr(self._channel, kind)(
            f"/{full}/{call}",
            request_serializer=lambda one: one.SerializeToString(),
            response_deserializer=GetMessageClass(_pool.FindMessageTypeByName(gives)).FromString,
        )
        return made(message(takes) if request is None else request, timeout, metadata=self._metadata)

    def train(self, call: str, session: Any, timeout: float | None = 120) -> Any:
        """A call of the training service that takes a session."""
        return self("Training", call, session, timeout)

    def upload(self, content: bytes, size: int | None = None) -> Any:
        """In pieces, as ilastik sends it."""

        def requests() -> Iterator[Any]:
            info = message("UploadInfo", size=len(content) if size is None else size)
            yield message("UploadRequest", info=info)
            for start in range(0, len(content), _MB):
                yield message("UploadRequest", content=content[start : start + _MB])

        return self("DataStore", "Upload", requests())
