"""The messages are tiktorch's, and the generated code is that of the .proto files."""

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

grpc = pytest.importorskip("grpc", reason="the server needs grpcio, the extra serve")
from google.protobuf.descriptor import Descriptor, FileDescriptor  # noqa: E402
from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorProto  # noqa: E402
from tiktorch_client import CALLS, FILES  # noqa: E402

import shallow2deep  # noqa: E402

ROOT = Path(shallow2deep.__file__).parent.parent
FOLDER = Path("shallow2deep/service/tiktorch/protocol")
NAMES = ("utils", "training", "inference", "data_store")


def ours(name: str) -> FileDescriptor:
    module = import_module(f"shallow2deep.service.tiktorch.protocol.{name}_pb2")
    found: FileDescriptor = module.DESCRIPTOR
    return found


def plain(message: Descriptor) -> DescriptorProto:
    found = DescriptorProto()
    message.CopyToProto(found)
    return found


def without_json_names(message: DescriptorProto) -> DescriptorProto:
    for field in message.field:
        field.ClearField("json_name")
    return message


def test_every_message_has_the_fields_that_the_independent_client_states() -> None:
    stated = {
        f"{file.package}.{message.name}".lstrip("."): without_json_names(message)
        for file in FILES
        for message in file.message_type
    }
    made = {
        message.full_name: without_json_names(plain(message))
        for name in NAMES
        for message in ours(name).message_types_by_name.values()
    }
    assert made.keys() == stated.keys()
    for name in made:
        assert made[name] == stated[name], name


def test_every_call_takes_and_gives_what_the_independent_client_states() -> None:
    made = {
        service.full_name: {
            method.name: (
                method.input_type.full_name,
                method.output_type.full_name,
                "request" if method.client_streaming else "response" if method.server_streaming else "",
            )
            for method in service.methods
        }
        for name in NAMES
        for service in ours(name).services_by_name.values()
    }
    assert made == CALLS
    assert len(made["training.Training"]) == 13


def test_the_generated_code_is_that_of_the_proto_files(tmp_path: Path) -> None:
    pytest.importorskip("grpc_tools", reason="protoc comes with grpcio-tools")
    protos = [str(FOLDER / f"{name}.proto") for name in NAMES]
    flags = ["-I.", f"--descriptor_set_out={tmp_path / 'set'}"]
    subprocess.run([sys.executable, "-m", "grpc_tools.protoc", *flags, *protos], cwd=ROOT, check=True)
    from google.protobuf.descriptor_pb2 import FileDescriptorSet

    files = FileDescriptorSet.FromString((tmp_path / "set").read_bytes()).file
    assert len(files) == len(NAMES)
    for file in files:
        found = FileDescriptorProto()
        ours(Path(file.name).stem).CopyToProto(found)
        for message in (*file.message_type, *found.message_type):
            without_json_names(message)
        assert found == file, file.name
