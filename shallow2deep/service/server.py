"""`s2d serve`: one process that answers, while jobs work in processes of their own."""

import logging
import os
import secrets
import signal
import socket
import ssl
import threading
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import uvicorn

from shallow2deep.errors import InputError, SettingsError
from shallow2deep.inputs.models import OWN_FOLDERS
from shallow2deep.io.atomic import write_json
from shallow2deep.service.app import create_app
from shallow2deep.service.guards import LOOPBACK, Rules
from shallow2deep.service.jobs import Jobs
from shallow2deep.service.live import Live
from shallow2deep.service.painting import Painting
from shallow2deep.service.places import MODELS, Places
from shallow2deep.service.slots import slots_of

log = logging.getLogger(__name__)

_GRACE = 3  # seconds in which answers that are being sent can end
_MAX_CONNECTIONS = 500
_WAITING = 128
_LEAST_TOKEN = 16  # letters


@dataclass(frozen=True)
class Options:
    """How to serve.

    Attributes:
        root: folder of all that the server keeps.
        readable: further folders of data that clients may name.
        host: the address to listen at; others than this computer's own need a token.
        port: 0 for any that is free.
        token: that clients have to show; made, if none is given and the host is not loopback.
        certificate, key: PEM files for TLS.
        origins: of pages that may ask, beside the server's own.
        slots, cores: see `slots_of`.
        max_upload: bytes.
        connection_file: gets address and token, for clients of the same user.
        grpc_port: also answer tiktorch's clients there, by gRPC; 0 for any that is free.
        paint: images to paint on, with the root as the folder of their project.
        browser: whether the page is opened.
    """

    root: Path
    readable: tuple[Path, ...] = ()
    host: str = "127.0.0.1"
    port: int = 8765
    token: str | None = None
    certificate: Path | None = None
    key: Path | None = None
    origins: tuple[str, ...] = ()
    slots: int | None = None
    cores: int | None = None
    max_upload: int = field(default=4 * 2**30)
    connection_file: Path | None = None
    grpc_port: int | None = None
    paint: tuple[str, ...] = ()
    browser: bool = False


def serve(options: Options) -> None:
    """Answers until SIGTERM or SIGINT; jobs go on afterwards.

    Raises:
        InputError: options that cannot be used, or an address that is taken.
        RunBusyError: another server uses the root.
    """
    token = _token_of(options)
    painting = Painting(options.paint, options.root) if options.paint else None
    painted = {volume.file.resolve().parent for volume in painting.images} if painting else set()
    places = Places(options.root, (*options.readable, *sorted(painted)))
    os.environ[OWN_FOLDERS] = str(places.root / MODELS)
    live = Live(painting) if painting else None
    jobs = Jobs(places, slots_of(options.slots, options.cores))
    hosts = tuple(dict.fromkeys((options.host, *LOOPBACK)))
    rules = Rules(token, options.origins, hosts, options.max_upload)
    config = uvicorn.Config(
        create_app(jobs, rules, live),
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=_GRACE,
        limit_concurrency=_MAX_CONNECTIONS,
        ssl_certfile=options.certificate,
        ssl_keyfile=options.key,
    )
    with listening(options.host, options.port) as listener, jobs.serving():
        _load_certificate(config, options)
        url = _url_of(options, listener)
        log.warning("shallow2deep answers at %s (data in %s)", url, places.root)
        if token and not options.token:
            log.warning("token: %s", token)
        for name in (signal.SIGINT, signal.SIGTERM):
            signal.signal(name, lambda *_: None)  # the server takes them, and then ends as it should
        if live is not None:
            threading.Thread(target=live.warm_up, daemon=True).start()
        if options.browser:
            webbrowser.open(f"{url}/page/{f'#token={token}' if token else ''}")
        with _connection_file(options.connection_file, url, token), _grpc(options, jobs, token):
            uvicorn.Server(config).run([listener])


def _token_of(options: Options) -> str | None:
    """The token that clients have to show, if any."""
    if options.token is not None and len(options.token) < _LEAST_TOKEN:
        raise SettingsError(f"a token of {len(options.token)} letters came; give at least {_LEAST_TOKEN}")
    if options.token is None and options.host not in LOOPBACK:
        return secrets.token_urlsafe(32)
    return options.token


@contextmanager
def listening(host: str, port: int) -> Iterator[socket.socket]:
    """A socket that listens at an address.

    Raises:
        InputError: it is taken, or none of this computer.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
            listener.listen(_WAITING)  # who knows the address may ask, and is answered in a moment
        except (OSError, OverflowError) as error:
            raise InputError(f"cannot listen at {host}, port {port}: {error}; give others") from None
        yield listener
    finally:
        listener.close()


def _load_certificate(config: uvicorn.Config, options: Options) -> None:
    if (options.certificate is None) != (options.key is None):
        raise SettingsError("TLS needs a certificate and its key; give both")
    try:
        config.load()
    except (OSError, ssl.SSLError) as error:
        raise InputError(
            f"{options.certificate}, {options.key}: unusable for TLS: {error}; give PEM files"
        ) from None


def _url_of(options: Options, listener: socket.socket) -> str:
    host = f"[{options.host}]" if ":" in options.host else options.host
    return f"{'https' if options.certificate else 'http'}://{host}:{listener.getsockname()[1]}"


@contextmanager
def _grpc(options: Options, jobs: Jobs, token: str | None) -> Iterator[None]:
    """Also answers tiktorch's clients meanwhile, if that is wanted; a GPU is theirs or a job's."""
    if options.grpc_port is None:
        yield
        return
    from shallow2deep.service.tiktorch.grpc_server import TiktorchServer
    from shallow2deep.service.tiktorch.leases import Leases

    leases = Leases(jobs.gpus_at_work)
    jobs.gpus_of_others = leases.gpus
    tls = (options.certificate, options.key) if options.certificate and options.key else None
    server = TiktorchServer(
        jobs.places, options.host, options.grpc_port, token, tls=tls, ends=False, leases=leases
    )
    server.start()
    log.warning("and tiktorch's clients at %s, port %d", options.host, server.port)
    try:
        yield
    finally:
        server.stop()


@contextmanager
def _connection_file(path: Path | None, url: str, token: str | None) -> Iterator[None]:
    """Tells clients of this user where the server is, and its token, meanwhile."""
    if path is None:
        yield
        return
    before = os.umask(0o077)
    try:
        write_json(path, {"url": url, "token": token, "pid": os.getpid()})
    finally:
        os.umask(before)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
