"""Files in pieces: whole or not at all, and no more than there is room for."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

grpc = pytest.importorskip("grpc", reason="the server needs grpcio, the extra serve")
from tiktorch_client import Client, message  # noqa: E402

from shallow2deep.errors import InputError  # noqa: E402
from shallow2deep.service.tiktorch.data_store import Uploads  # noqa: E402
from shallow2deep.service.tiktorch.protocol import data_store_pb2 as messages  # noqa: E402


def pieces(size: int, *contents: bytes) -> Iterator[messages.UploadRequest]:
    yield messages.UploadRequest(info=messages.UploadInfo(size=size))
    for content in contents:
        yield messages.UploadRequest(content=content)


def test_what_is_sent_is_kept_until_it_is_removed(client: Client, root: Path) -> None:
    content = bytes(range(256)) * 12_000  # three pieces
    found = client.upload(content)
    assert (found.size, found.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    assert (root / ".uploads" / f"{found.id}.zip").read_bytes() == content
    request = message("RemoveRequest", uploadId=found.id)
    client("DataStore", "Remove", request)
    assert not (root / ".uploads" / f"{found.id}.zip").exists()
    with pytest.raises(grpc.RpcError, match="there is no upload"):
        client("DataStore", "Remove", request)


@pytest.mark.parametrize(
    ("sentence", "requests"),
    {
        "must be its info": iter([]),
        "the first message": iter([messages.UploadRequest(content=b"1")]),
        "3 bytes came where": pieces(4, b"123"),
        "more than the 2 bytes": pieces(2, b"123"),
        "second info": iter([*pieces(3, b"1"), *pieces(3)]),
        "an upload of 11 bytes came, and 0 of 10": pieces(11, b"1" * 11),
    }.items(),
)
def test_uploads_that_are_refused_leave_nothing(tmp_path: Path, sentence: str, requests: Any) -> None:
    store = Uploads(tmp_path / "uploads", limit=10)
    with pytest.raises(InputError, match=sentence):
        store.Upload(requests, None)
    assert not list((tmp_path / "uploads").iterdir())
    assert store.Upload(pieces(10, b"1" * 10), None).size == 10  # all room is free again


def test_all_uploads_together_are_limited(tmp_path: Path) -> None:
    store = Uploads(tmp_path / "uploads", limit=10)
    first = store.Upload(pieces(6, b"123456"), None)
    with pytest.raises(InputError, match="6 of 10 are used"):
        store.Upload(pieces(5, b"12345"), None)
    store.Remove(messages.RemoveRequest(uploadId=first.id), None)
    store.Upload(pieces(5, b"12345"), None)


def test_what_another_server_has_left_is_gone(tmp_path: Path) -> None:
    first = Uploads(tmp_path / "uploads")
    first.Upload(pieces(1, b"1"), None)
    Uploads(tmp_path / "uploads")
    assert not list((tmp_path / "uploads").iterdir())
