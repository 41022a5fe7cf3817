"""A server from Python: `s2d.connect(url)`. It needs nothing but the standard library and numpy."""

import hashlib
import io
import json
import os
import ssl
import time
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection, IncompleteRead
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote, urlencode, urlsplit

import numpy as np

from shallow2deep import errors
from shallow2deep.errors import InputError, Shallow2DeepError, TakenError, one_line
from shallow2deep.io.atomic import atomic_path, read_json, room_for

TOKEN = "S2D_TOKEN"  # environment variable
_TIMEOUT = 120.0  # seconds without a sign of life
_PATIENCE = 60.0  # seconds in which a server that has gone may come back
_PIECE = 2**20
_MAX_ANSWER = 2**30
Values = Mapping[str, Any]


def connect(url: str | Path, token: str | None = None) -> "Client":
    """A server that `s2d serve` has started.

    Args:
        url: such as "http://127.0.0.1:8765"; or the server's connection file.
        token: if the server asks for one; that of the environment variable S2D_TOKEN if not given.

    Raises:
        InputError: no such address, or nothing that answers there.
    """
    if "://" not in str(url) and Path(url).is_file():
        said = read_json(url)
        url, token = said["url"], token or said["token"]
    client = Client(str(url), token or os.environ.get(TOKEN))
    client.about()
    return client


class Client:
    """What a server does, by the names of the command line. A job is named by its id.

    Errors are those of the library, with the sentence that the server gave.
    """

    def __init__(self, url: str, token: str | None = None):
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InputError(
                f"{one_line(url)}: no address of a server; give one such as http://127.0.0.1:8765"
            )
        self.url, self._token, self._parts = url.rstrip("/"), token, parts
        self._limit = 0  # bytes of a file that the server takes; not known yet

    def about(self) -> Values:
        """The server's version and limits."""
        return self._json("GET", "/about")

    def start(self, command: str, settings: Values, name: str = "") -> Values:
        """Puts a run into the server's queue.

        Args:
            command: "adapt" or "enhancer-train".
            settings: as in a file of settings; names of data are those that `upload` gave.
        """
        return self._json("POST", "/jobs", {"command": command, "settings": settings, "name": name})

    def runs(self) -> list[Values]:
        """All jobs, the oldest first."""
        return self._json("GET", "/jobs")

    def standing(self, job: str) -> Values:
        """Where a job stands: `state`, `why`, `last` event."""
        return self._json("GET", f"/jobs/{quote(job, safe='')}")

    def pause(self, job: str) -> Values:
        return self._asked(job, "pause")

    def resume(self, job: str) -> Values:
        return self._asked(job, "resume")

    def abort(self, job: str, discard: bool = False) -> Values:
        return self._asked(job, f"abort?discard={str(discard).lower()}")

    def change(self, job: str, assignments: Sequence[str]) -> Values | None:
        """Changes settings of a training, as ["learning_rate=1e-4"]; None if that is still to be made."""
        path = f"/jobs/{quote(job, safe='')}/set"
        return self._json("POST", path, {"assignments": list(assignments)})["change"]

    def clean(self, job: str) -> None:
        """Removes a job with all that it has made on the server."""
        self._json("DELETE", f"/jobs/{quote(job, safe='')}")

    def follow(self, job: str, since: int = 0) -> Iterator[Values]:
        """Events as they come until the job has ended; also over breaks of the connection.

        Yields:
            each event, with its `position`: `since` that, the next one is the first.
        """
        path = f"/jobs/{quote(job, safe='')}/events"
        lost_at: float | None = None
        while True:
            try:
                with self._asking("GET", f"{path}?since={since}") as answer:
                    for event in _server_sent(answer):
                        lost_at = None
                        if event is None:
                            return
                        since = event["position"]
                        yield event
            except (OSError, HTTPException) as error:
                lost_at = lost_at or time.monotonic()
                if time.monotonic() - lost_at > _PATIENCE:
                    raise self._silence(error) from None
            else:
                lost_at = lost_at or time.monotonic()  # it ended without having said that the job has
            time.sleep(0.5)

    def log(self, job: str, console: bool = False) -> str:
        """The last of a job's log, or of what its process has said."""
        path = f"/jobs/{quote(job, safe='')}/log?console={str(console).lower()}"
        return self._bytes("GET", path).decode()

    def results(
        self, job: str, folder: str | Path, leave_out: Iterable[str] = ("checkpoints",)
    ) -> list[Path]:
        """Brings the files of a job's run into a folder.

        Args:
            leave_out: names of folders and files.
        """
        path, left_out = f"/jobs/{quote(job, safe='')}/files", set(leave_out)
        brought = []
        for file in self._json("GET", path):
            parts = file["name"].split("/")
            target = Path(folder).joinpath(*parts)
            if not _is_plain(parts):
                raise Shallow2DeepError(f"{self.url} names a file {one_line(file['name'])}, which is refused")
            if left_out.isdisjoint(parts):
                self._fetch(f"{path}/{quote(file['name'])}", target)
                brought.append(target)
        return brought

    def models(self) -> list[Values]:
        """The enhancers that settings can name."""
        return self._json("GET", "/models")

    def upload_model(self, path: str | Path, name: str = "") -> str:
        """Sends a bioimage.io package of an enhancer, and gives the name for settings."""
        path = Path(path)
        self._send(f"/models/{quote(name or path.stem, safe='')}", path)
        return name or path.stem

    def upload(self, path: str | Path, only: Container[str] | None = None) -> str:
        """Sends a file, or a folder such as `a.zarr`, and gives its name there, for settings.

        It is kept by its content: what is there already is not sent again.

        Args:
            only: names of the files of a folder; all if not given.
        """
        path = Path(path)
        if not path.exists():
            raise errors.MissingDataError(f"{path}: there is no such file; check the path")
        inside = sorted(path.rglob("*")) if path.is_dir() else [path]
        files = [file for file in inside if file.is_file() and (only is None or file.name in only)]
        digest = hashlib.sha256()
        for file in files:
            with file.open("rb") as opened:
                content = hashlib.file_digest(opened, "sha256").hexdigest()
            digest.update(f"{file.relative_to(path.parent)} {content}\n".encode())
        place = f"sent/{digest.hexdigest()[:20]}"
        for file in files:
            there = f"/files/{quote(f'{place}/{file.relative_to(path.parent)}')}"
            if not self._has(there):
                with suppress(TakenError):  # sent by somebody else meanwhile
                    self._send(there, file)
        return f"data/{place}/{path.name}"

    def predict(
        self,
        job: str,
        image: str,
        y: tuple[int, int] | None = None,
        x: tuple[int, int] | None = None,
        z: int | None = None,
        step: str = "recommended",
    ) -> np.ndarray:
        """The map of a part of an image by a finished job, float32 `(K, y, x)`."""
        asked = {"job": job, "image": image, "y": y, "x": x, "z": z, "step": step}
        data = self._bytes("POST", "/predict", asked)
        return np.load(io.BytesIO(data), allow_pickle=False)

    def thumbnail(self, image: str, size: int = 256) -> bytes:
        """A small picture of an image, PNG."""
        return self._bytes("GET", f"/images/thumbnail?{urlencode({'name': image, 'size': size})}")

    def _asked(self, job: str, what: str) -> Values:
        return self._json("POST", f"/jobs/{quote(job, safe='')}/{what}")

    def _json(self, method: str, path: str, values: Values | None = None) -> Any:
        data = self._bytes(method, path, values)
        return json.loads(data) if data else None

    def _bytes(self, method: str, path: str, values: Values | None = None) -> bytes:
        body = None if values is None else json.dumps(values).encode()
        try:
            with self._asking(method, path, body) as answer:
                return _whole(answer)
        except (OSError, HTTPException) as error:
            raise self._silence(error) from None

    def _has(self, path: str) -> bool:
        try:
            self._bytes("HEAD", path)
        except errors.MissingDataError:
            return False
        return True

    def _send(self, path: str, file: Path) -> None:
        size = file.stat().st_size
        self._limit = self._limit or self.about()["max_upload"]
        if size > self._limit:
            raise errors.TooLargeError(
                f"{file} has {size} bytes, but {self.url} takes at most {self._limit}; give less"
            )
        try:
            with file.open("rb") as opened, self._asking("PUT", path, opened, size) as answer:
                _whole(answer)
        except (OSError, HTTPException) as error:
            raise self._silence(error) from None

    def _fetch(self, path: str, target: Path) -> None:
        with atomic_path(target) as temporary:
            try:
                with self._asking("GET", path) as answer, temporary.open("wb") as file, room_for(target):
                    while piece := answer.read(_PIECE):
                        file.write(piece)
                    if answer.length:
                        raise IncompleteRead(b"", answer.length)
            except HTTPException as error:
                raise self._silence(error) from None

    @contextmanager
    def _asking(
        self, method: str, path: str, body: bytes | BinaryIO | None = None, size: int | None = None
    ) -> Iterator[HTTPResponse]:
        """An answer with status 2xx.

        Raises:
            Shallow2DeepError: what the server has refused, as the class that it names.
            OSError, HTTPException: it does not answer.
        """
        secure = self._parts.scheme == "https"
        kind = HTTPSConnection if secure else HTTPConnection
        assert self._parts.hostname
        connection = kind(self._parts.hostname, self._parts.port, timeout=_TIMEOUT)
        headers = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        if body is not None:
            is_json = isinstance(body, bytes)
            headers["Content-Type"] = "application/json" if is_json else "application/octet-stream"
        if size is not None:
            headers["Content-Length"] = str(size)
        try:
            with suppress(BrokenPipeError, ConnectionResetError):  # it may have refused what was being sent
                connection.request(method, f"{self._parts.path.rstrip('/')}{path}", body, headers)
            answer = connection.getresponse()
            if answer.status >= 300:
                raise _refusal(answer.status, answer.read(_PIECE))
            yield answer
        finally:
            connection.close()

    def _silence(self, error: Exception) -> Shallow2DeepError:
        hint = "; the certificate is not known here" if isinstance(error, ssl.SSLError) else ""
        return InputError(
            f"{self.url} does not answer ({one_line(error)}{hint}); start it with s2d serve, or check the "
            "address"
        )


def _whole(answer: HTTPResponse) -> bytes:
    """All of an answer of bounded size."""
    if (answer.length or 0) > _MAX_ANSWER:
        raise Shallow2DeepError(
            f"the server answered with {answer.length} bytes; at most {_MAX_ANSWER} are taken"
        )
    return answer.read()


def _server_sent(answer: HTTPResponse) -> Iterator[dict[str, Any] | None]:
    """The events of a stream, each with its position; None when it says that there are no more."""
    fields: dict[str, str] = {}
    for line in answer:
        name, _, value = line.decode().rstrip("\n").partition(": ")
        if name:
            fields[name] = value
        elif fields.get("event") == "end":
            yield None
        elif "data" in fields:
            yield json.loads(fields["data"]) | {"position": int(fields["id"])}
        if not name:
            fields = {}


def _refusal(status: int, body: bytes) -> Shallow2DeepError:
    """What a server says, as the error that it names."""
    try:
        said = json.loads(body)
        kind, sentence = getattr(errors, str(said["kind"]), Shallow2DeepError), str(said["error"])
        if not issubclass(kind, Shallow2DeepError):
            raise ValueError
    except (ValueError, KeyError, TypeError):
        sort = errors.MissingDataError if status == 404 else Shallow2DeepError
        return sort(f"the server answered with status {status}: {one_line(body.decode(errors='replace'))}")
    code = said.get("exit_code")
    try:
        return kind(sentence)
    except TypeError:  # those that have an exit code of their own
        return kind(sentence, code if isinstance(code, int) else 1)


def _is_plain(parts: Sequence[str]) -> bool:
    """Whether a name stays in its folder."""
    return all(part not in ("", ".", "..") and "\\" not in part and "\0" not in part for part in parts)
