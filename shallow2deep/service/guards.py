"""What stands before the routes: who may ask, from which pages, and how much may be sent."""

import hmac
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

LOOPBACK = ("localhost", "127.0.0.1", "::1")
MAX_PLAIN = 2 * 2**20  # bytes of a request that is no upload
_UPLOADS = ("/files/", "/models/", "/strokes/")


@dataclass(frozen=True)
class Rules:
    """Who may ask for what.

    Attributes:
        token: to be shown with each request; None if none is needed.
        origins: of pages, such as "https://example.org", that may ask beside the server's own.
        hosts: names by which the server may be called where no token is needed: any page could be told by
            its name server that it lives at this address.
        max_upload: bytes.
    """

    token: str | None = None
    origins: tuple[str, ...] = ()
    hosts: tuple[str, ...] = LOOPBACK
    max_upload: int = 4 * 2**30

    def refusal(self, headers: Mapping[str, str], open_to_all: bool = False) -> tuple[int, str] | None:
        """The status and sentence for a request that is refused by its headers.

        Args:
            open_to_all: whether it needs no token, as what it asks for holds nobody's data.
        """
        host = headers.get("host", "")
        known = {*self.hosts, *(urlsplit(origin).hostname for origin in self.origins)}
        if self.token is None and _hostname(host) not in known:
            return (
                403,
                f"this server was called {host:.80}, which it is not; use {self.hosts[0]}, or --allow-origin",
            )
        origin = headers.get("origin")
        if origin is not None and origin not in self.origins and origin.partition("://")[2] != host:
            return 403, f"a page of {origin:.80} asked, which may not; start the server with --allow-origin"
        foreign = headers.get("sec-fetch-site") in ("cross-site", "same-site")
        if origin is None and foreign and headers.get("sec-fetch-mode") != "navigate":
            return 403, "another page asked, which may not; start the server with --allow-origin"
        shown = headers.get("authorization", "").removeprefix("Bearer ")
        if (
            self.token is not None
            and not open_to_all
            and not hmac.compare_digest(shown.encode(), self.token.encode())
        ):
            return 401, "no token, or a wrong one, came; send the server's as Authorization: Bearer TOKEN"
        return None


def _hostname(host: str) -> str | None:
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None


class Guard:
    """Lets those requests through that the rules allow."""

    def __init__(self, app: App, rules: Rules):
        self._app, self._rules = app, rules

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        preflight = scope["method"] == "OPTIONS" and headers.get("origin") in self._rules.origins
        refusal = None if preflight else self._rules.refusal(headers, _is_of_page(scope))
        limit = self._rules.max_upload if _is_upload(scope) else MAX_PLAIN
        refusal = refusal or _too_long(headers.get("content-length", "0"), limit)
        if refusal:
            await _refuse(send, *refusal)
            return
        body = _Bounded(receive, send, limit)
        await self._app(scope, body.receive, body.send)


def _is_of_page(scope: Scope) -> bool:
    """A file of the page, which asks for the token itself when it runs."""
    return scope["method"] == "GET" and (scope["path"] == "/" or scope["path"].startswith("/page/"))


def _is_upload(scope: Scope) -> bool:
    return scope["method"] == "PUT" and scope["path"].startswith(_UPLOADS)


def _too_long(length: str, limit: int) -> tuple[int, str] | None:
    if length.isdecimal() and int(length) <= limit:
        return None
    return 413, f"{length:.20} bytes came, but at most {limit} are taken here; send less at once"


class _Bounded:
    """A request whose length is not stated, counted as it comes."""

    def __init__(self, receive: Receive, send: Send, limit: int):
        self._receive, self._send, self._limit = receive, send, limit
        self._came, self._refused = 0, False

    async def receive(self) -> Message:
        message = await self._receive()
        self._came += len(message.get("body", b""))
        if self._came > self._limit and not self._refused:
            self._refused = True
            await _refuse(self._send, 413, f"more than {self._limit} bytes came; send less at once")
        return {"type": "http.disconnect"} if self._refused else message

    async def send(self, message: Message) -> None:
        if not self._refused:
            await self._send(message)


async def _refuse(send: Send, status: int, sentence: str) -> None:
    body = json.dumps({"error": sentence, "kind": _KINDS[status], "exit_code": 2}).encode()
    headers = [(b"content-type", b"application/json"), (b"connection", b"close")]
    headers += [(b"www-authenticate", b"Bearer")] if status == 401 else []
    await send({"type": "http.response.start", "status": status, "headers": [*headers, *_length(body)]})
    await send({"type": "http.response.body", "body": body})


_KINDS = {401: "DeniedError", 403: "DeniedError", 413: "TooLargeError"}


def _length(body: bytes) -> Iterable[tuple[bytes, bytes]]:
    return [(b"content-length", str(len(body)).encode())]
