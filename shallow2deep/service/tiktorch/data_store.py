"""The service `DataStore`: packages that clients send in pieces."""

import hashlib
import re
import secrets
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import grpc

from shallow2deep.errors import InputError
from shallow2deep.io.atomic import room_for
from shallow2deep.service.tiktorch.protocol import data_store_pb2 as messages
from shallow2deep.service.tiktorch.protocol import data_store_pb2_grpc as services

MAX_BYTES = 2 * 2**30  # of all uploads together
_ID = re.compile("[0-9a-f]{32}")


class Uploads(services.DataStoreServicer):
    """See `protocol/data_store.proto`.

    Args:
        folder: is emptied, and gets a file for each upload.
        limit: bytes of all uploads together.
    """

    def __init__(self, folder: Path, limit: int = MAX_BYTES):
        self._folder, self._limit, self._used = folder, limit, 0
        self._lock = threading.Lock()
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)

    def path(self, id_: str) -> Path:
        """The file of an upload.

        Raises:
            InputError: there is none.
        """
        path = self._folder / f"{id_}.zip"
        if not _ID.fullmatch(id_) or not path.is_file():
            raise InputError(f"there is no upload {id_:.80}; send it first")
        return path

    def Upload(
        self, requests: Iterator[messages.UploadRequest], context: grpc.ServicerContext
    ) -> messages.UploadResponse:
        first = next(requests, None)
        if first is None or first.WhichOneof("payload") != "info":
            raise InputError("the first message of an upload must be its info, with the size")
        size, id_ = first.info.size, secrets.token_hex(16)
        partial = self._folder / f"{id_}.partial"
        self._reserve(size)
        try:
            digest = self._receive(requests, size, partial)
            partial.rename(self._folder / f"{id_}.zip")
        except BaseException:
            partial.unlink(missing_ok=True)
            self._reserve(-size)
            raise
        return messages.UploadResponse(id=id_, size=size, sha256=digest)

    def Remove(
        self, request: messages.RemoveRequest, context: grpc.ServicerContext
    ) -> messages.RemoveResponse:
        path = self.path(request.uploadId)
        size = path.stat().st_size
        path.unlink()
        self._reserve(-size)
        return messages.RemoveResponse()

    def _reserve(self, size: int) -> None:
        with self._lock:
            if self._used + size > self._limit:
                raise InputError(
                    f"an upload of {size} bytes came, and {self._used} of {self._limit} are used; remove some"
                )
            self._used += size

    def _receive(self, requests: Iterator[messages.UploadRequest], size: int, path: Path) -> str:
        """Writes what comes; gives its sha256."""
        digest, received = hashlib.sha256(), 0
        with room_for(path, size), path.open("xb") as file:
            for request in requests:
                if request.WhichOneof("payload") != "content":
                    raise InputError("a second info came; content was expected")
                received += len(request.content)
                if received > size:
                    raise InputError(f"more than the {size} bytes came that the info had said")
                file.write(request.content)
                digest.update(request.content)
        if received < size:
            raise InputError(f"{received} bytes came where the info had said {size}; send all of them")
        return digest.hexdigest()
